// A key is dropped by a server that is killed before it has ended what rests on the key: another one does (DS-26).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { openPool } from '../../src/db/pool.ts'
import { exchange, redeem, refresh } from '../support/contestant-requests.ts'
import { type Contestant, makeContestants } from '../support/contestants.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { startReplicas } from '../support/server-process.ts'

test('a server is killed right after it dropped keys, and what rested on them ends all the same', async (t) => {
  const database = await createTestDatabase()
  const { db } = openPool(database.connection, () => undefined, 8)
  t.after(async () => {
    await db.destroy()
    await database.drop()
  })
  const [one, two] = await startReplicas(t, { DATABASE_URL: database.url })
  const [of] = (await makeContestants(db, 1, {
    audience: { events_endpoint: 'https://chat.example/events', events_dialect: 'set' },
  })) as [Contestant]
  const tokens = await redeem(one, of)
  assert.equal(tokens.status, 200, tokens.text)
  const minted = await exchange(one, of)
  assert.equal(minted.status, 200, minted.text)
  const kids = [tokens.body.id_token, minted.body.access_token].map(kidOf)

  // Somebody writes on, for as long as it takes: whoever is to clear the keys has to wait.
  const writer = new pg.Client(database.url)
  // A test that fails leaves it to the end of the database.
  writer.on('error', () => undefined)
  await writer.connect()
  await writer.query('begin')
  await writer.query('select from tenants for key share')
  const dropping = kids.map((kid) => one.admin('POST', `/keys/${kid}/compromise`, {}))
  const cut = Promise.allSettled(dropping)
  const dropped = () =>
    db.selectFrom('signing_keys').select('cleared_at').where('status', '=', 'compromised').execute()
  await until(async () => (await dropped()).length === kids.length)
  await one.kill()
  // On a slow machine it may have said before that it is not done.
  for (const one of await cut) {
    if (one.status === 'fulfilled') assert.equal(one.value.body.complete, false, one.value.text)
  }
  assert.deepEqual(
    (await dropped()).map(({ cleared_at }) => cleared_at),
    [null, null],
  )
  await writer.end()

  await until(async () => (await dropped()).every(({ cleared_at }) => cleared_at !== null))
  const sessions = await db.selectFrom('sessions').select('end_reason').execute()
  assert.deepEqual(sessions, [{ end_reason: 'key_compromised' }])
  const told = await db.selectFrom('event_deliveries').select(['sub', 'compromised_kid']).execute()
  assert.deepEqual(told, [{ sub: of.user_id, compromised_kid: kids[1] }])
  const cleared = await db
    .selectFrom('audit_events')
    .select('detail')
    .where('type', '=', 'key.cleared')
    .execute()
  assert.deepEqual(cleared.map(({ detail }) => detail?.kid).sort(), kids.toSorted())
  const late = await refresh(two, of, tokens.body.refresh_token)
  assert.equal(late.body.error, 'invalid_grant', late.text)
})

const kidOf = (jws: string): string =>
  JSON.parse(Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString()).kid

async function until(condition: () => Promise<boolean>): Promise<void> {
  const patience = AbortSignal.timeout(60_000)
  while (!(await condition())) {
    assert.ok(!patience.aborted, 'it never came about')
    await pause(20)
  }
}
