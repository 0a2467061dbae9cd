// Who is waited for, once something has been made known: everybody that may write on the strength of before.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { awaitWriters } from '../../src/db/await-writers.ts'
import type { Tables } from '../../src/db/tables.ts'
import { createTestDatabase, testDatabase } from '../support/postgres.ts'

/** Milliseconds, generous: it bounds a test that hangs and judges nothing. */
const PATIENCE = 60_000
const NEW_ID = `'ten_' || left(md5(random()::text), 22)`
const TENANT = `insert into tenants (id, name) values (${NEW_ID}, 'Contest')`

const database = await createTestDatabase()
const pool = new pg.Pool(database.connection)
/** Called after each statement of `awaitWriters`. */
let looked = () => {}
const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }), log: () => looked() })
const clients: pg.Client[] = []
after(async () => {
  for (const client of clients) await client.end()
  await db.destroy()
  await database.drop()
})

/** A connection of its own. */
async function connect(connection: pg.ClientConfig = database.connection): Promise<pg.Client> {
  const client = new pg.Client(connection)
  client.on('error', () => undefined)
  clients.push(client)
  await client.connect()
  return client
}

/** Whether somebody is waited for: one look, without patience. */
const isQuiet = () => awaitWriters(db, 0)

test('nobody writes: nothing is waited for', async () => {
  assert.equal(await isQuiet(), true)
})

for (const [who, statement] of [
  ['has written', TENANT],
  ['holds a row', 'select from tenants for share'],
  ['has written nothing, for there was nothing', `update users set name = 'x' where id = 'none'`],
] as const) {
  test(`a transaction that ${who} is waited for until it commits`, async () => {
    const writer = await connect()
    await writer.query('begin')
    await writer.query(statement)
    assert.equal(await isQuiet(), false)
    const waiting = awaitWriters(db, PATIENCE)
    await writer.query('commit')
    assert.equal(await waiting, true)
    assert.equal(await isQuiet(), true)
  })
}

test('one of several is enough, the newest as well as the oldest, and a rollback is an end too', async () => {
  const [one, two, three] = [await connect(), await connect(), await connect()]
  for (const writer of [one, two, three]) {
    await writer.query('begin')
    await writer.query(TENANT)
  }
  for (const writer of [two, one, three]) {
    assert.equal(await isQuiet(), false)
    await writer.query(writer === one ? 'rollback' : 'commit')
  }
  assert.equal(await isQuiet(), true)
})

test('a statement that has looked and waits for its first row is waited for', async () => {
  const [holder, mint] = [await connect(), await connect()]
  await holder.query('begin')
  await holder.query('select pg_advisory_xact_lock(4)')
  // It has read what was true when it began, and has no transaction id yet.
  const minted = mint.query(`
    with looked as materialized (select pg_advisory_xact_lock(4))
    insert into tenants (id, name) select ${NEW_ID}, 'Contest' from looked`)
  const patience = AbortSignal.timeout(PATIENCE)
  while (!(await waitsForALock())) assert.ok(!patience.aborted, 'it does not wait')
  const { rows } = await pool.query(
    `select backend_xid from pg_stat_activity
     where datname = current_database() and wait_event = 'advisory'`,
  )
  assert.deepEqual(rows, [{ backend_xid: null }])
  assert.equal(await isQuiet(), false)
  const waiting = awaitWriters(db, PATIENCE)
  await holder.query('rollback')
  assert.equal(await waiting, true)
  await minted
})

async function waitsForALock(): Promise<boolean> {
  const { rows } = await pool.query(
    `select from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`,
  )
  return rows.length > 0
}

test('whoever only reads is not waited for, whatever it reads by', async () => {
  const reader = await connect()
  await reader.query('begin isolation level repeatable read')
  await reader.query('select from tenants, users, signing_keys')
  assert.equal(await isQuiet(), true)
  await reader.query('commit')
})

test('who begins to write afterwards is not waited for', async () => {
  const [before, later] = [await connect(), await connect()]
  await before.query('begin')
  await before.query(TENANT)
  const marked = new Promise<void>((resolve) => {
    looked = resolve
  })
  const waiting = awaitWriters(db, PATIENCE)
  await marked
  await later.query('begin')
  await later.query(TENANT)
  await before.query('commit')
  assert.equal(await waiting, true)
  await later.query('commit')
})

test('nor who writes in another database of the same server', async (t) => {
  const elsewhere = await testDatabase(t)
  const stranger = await connect(elsewhere.connection)
  await stranger.query('begin')
  await stranger.query(TENANT)
  assert.equal(await isQuiet(), true)
  await stranger.query('rollback')
})

test('what was written by whoever was waited for is seen afterwards', async () => {
  const writer = await connect()
  await writer.query('begin')
  await writer.query(
    `insert into tenants (id, name) values ('ten_SSSSSSSSSSSSSSSSSSSSSS', 'Contest')`,
  )
  const seen = () => sql`select from tenants where id = 'ten_SSSSSSSSSSSSSSSSSSSSSS'`.execute(db)
  assert.equal((await seen()).rows.length, 0)
  const waiting = awaitWriters(db, PATIENCE)
  await writer.query('commit')
  await waiting
  assert.equal((await seen()).rows.length, 1)
})

test('a server that is to stop waits for nobody', async () => {
  const writer = await connect()
  await writer.query('begin')
  await writer.query(TENANT)
  assert.equal(await awaitWriters(db, PATIENCE, AbortSignal.abort()), false)
  await writer.query('rollback')
  assert.equal(await awaitWriters(db, PATIENCE, AbortSignal.abort()), true)
})
