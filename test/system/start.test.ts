/** What an operator meets: a server that starts, or one that says in a line why it does not. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import pg from 'pg'
import { openPool } from '../../src/db/pool.ts'
import { exchange } from '../support/contestant-requests.ts'
import { makeContestants } from '../support/contestants.ts'
import { makeDataDir } from '../support/embedded-process.ts'
import { ADMIN_KEY, type Doors } from '../support/house.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { databaseSettings, freePort, runToEnd, startProcess } from '../support/server-process.ts'
import { tellStory } from '../support/story.ts'

const KEK = Buffer.alloc(32, 1).toString('base64')
/** Nobody listens on port 1. */
const NOWHERE = {
  DATABASE_URL: 'postgres://agent@127.0.0.1:1/agent',
  ADMIN_API_KEY: ADMIN_KEY,
  KEY_ENCRYPTION_KEY: KEK,
}

test('all that is wrong with the settings is said at once, before anything else is done', async (t) => {
  const wrong = { ISSUER: 'orbit', PORT: 'x', LOG_LEVEL: 'loud', ADMIN_API_KEY: 'hunter2' }
  const output = await refusedStart(t, { ...NOWHERE, ...wrong })
  for (const name of Object.keys(wrong)) assert.match(output, new RegExp(`${name} must`))
  assert.doesNotMatch(output, /hunter2/)

  const wayOut = await refusedStart(t, { ...NOWHERE, OUTBOUND_ALLOW: 'a:b:c' })
  assert.match(wayOut, /OUTBOUND_ALLOW: "a:b:c" is not/)
})

test('a database that cannot be used is said to be that', async (t) => {
  const database = await createTestDatabase()
  const wrong = (change: (url: URL) => void) => {
    const url = new URL(database.url)
    change(url)
    return { ...NOWHERE, DATABASE_URL: url.href }
  }
  assert.match(await refusedStart(t, NOWHERE), /the database does not answer \(ECONNREFUSED\)/)
  const unnamed = { ...NOWHERE, DATABASE_URL: 'postgres://agent@nowhere.invalid/agent' }
  assert.match(await refusedStart(t, unnamed), /the database does not answer/)
  const password = wrong((url) => {
    url.password = 'guess'
  })
  assert.match(await refusedStart(t, password), /the database refused: password authentication/)
  const name = wrong((url) => {
    url.pathname = '/no_such_database'
  })
  assert.match(await refusedStart(t, name), /the database refused: database .* does not exist/)
  await database.drop()
})

test('an address that cannot be listened on is said to be that', async (t) => {
  const database = await createTestDatabase()
  const settings = { ...databaseSettings(), DATABASE_URL: database.url }
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as { port: number }
  t.after(() => taken.close())
  const busy = await refusedStart(t, { ...settings, PORT: String(port) })
  assert.match(busy, new RegExp(`cannot listen on 127.0.0.1, port ${port} .*EADDRINUSE.*PORT`))
  const elsewhere = { ...settings, HOST: '192.0.2.1', PORT: String(await freePort()) }
  assert.match(await refusedStart(t, elsewhere), /cannot listen on 192.0.2.1, port \d+ .*HOST/)
  await database.drop()
})

test('a wrong KEY_ENCRYPTION_KEY is refused, and a new one before the old is not', async (t) => {
  const database = await createTestDatabase()
  const settings = { DATABASE_URL: database.url, ADMIN_API_KEY: ADMIN_KEY }
  const [first, second] = [0, 1].map(() => randomBytes(32).toString('base64')) as [string, string]
  const server = await startProcess(t, { ...settings, KEY_ENCRYPTION_KEY: first })
  assert.equal(await server.stop(), 0)

  const output = await refusedStart(t, { ...settings, KEY_ENCRYPTION_KEY: second })
  assert.match(output, /KEY_ENCRYPTION_KEY .*does not hold the key .*Add the earlier value/)
  const changed = { ...settings, KEY_ENCRYPTION_KEY: `${second},${first}` }
  assert.equal(await (await startProcess(t, changed)).stop(), 0)
  await database.drop()
})

test('a second start on one DATA_DIR is refused; a later one finds everything again', async (t) => {
  const { dataDir } = await makeDataDir(t)
  const settings = { DATA_DIR: dataDir, ADMIN_API_KEY: ADMIN_KEY, PORT: String(await freePort()) }
  const first = await startProcess(t, { ...settings, LOG_LEVEL: 'info' })
  const lines = first.output().split('\n')
  const hello = lines.filter((line) => line.includes('listens on'))
  assert.equal(hello.length, 1)
  const { msg } = JSON.parse(hello[0] as string)
  assert.equal(
    msg.replace(/\d+\.\d+ in/, 'N in'),
    `agent-idp listens on http://127.0.0.1:${settings.PORT} as http://localhost:${settings.PORT}, with embedded PostgreSQL N in ${dataDir}`,
  )

  const story = await tellStory(first)
  const delegation = await story.delegate()
  const minted = await story.exchange()
  assert.equal(minted.status, 200, minted.text)
  const before = await kept(first)

  const beside = { ...settings, PORT: String(await freePort()) }
  assert.match(await refusedStart(t, beside), /Another agent-idp .* is running on/)
  assert.deepEqual(await kept(first), before, 'the first still serves')
  assert.equal(await first.stop(), 0)

  const second = await startProcess(t, settings)
  assert.deepEqual(await kept(second), before)
  assert.ok(before.users.includes(story.user.id) && before.delegations.includes(delegation.id))
  assert.ok(before.agents.includes(story.agent.id))
  // Also the session and the keys: the ID token of before is still good for an exchange.
  const again = await story.exchange()
  assert.equal(again.status, 200, again.text)
  assert.equal(await second.stop(), 0)
})

test('without ADMIN_API_KEY the embedded server makes one, prints where it is, and keeps it', async (t) => {
  const { dataDir } = await makeDataDir(t)
  const first = await startProcess(t, { DATA_DIR: dataDir, LOG_LEVEL: 'info' })
  const path = /the admin key is in ([^"]+)"/.exec(first.output())?.[1]
  assert.equal(path, `${dataDir}/admin-api-key`)
  const key = (await readFile(path, 'utf8')).trim()
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.ok(!first.output().includes(key))
  const ask = { method: 'GET', url: '/admin/v1/users' } as const
  const headers = { authorization: `Bearer ${key}` }
  assert.equal((await first.inject({ ...ask, headers })).status, 200)
  assert.equal(await first.stop(), 0)

  const second = await startProcess(t, { DATA_DIR: dataDir })
  assert.equal((await second.inject({ ...ask, headers })).status, 200)
  assert.equal(await second.stop(), 0)
})

test('with MIGRATION_DATABASE_URL the server serves as a lesser role, which cannot touch the log', async (t) => {
  const database = await createTestDatabase()
  const { pool, db } = openPool(database.connection, () => undefined)
  const role = `lesser_${randomBytes(6).toString('hex')}`
  const { rows: may } = await pool.query(
    'select rolsuper or rolcreaterole as roles from pg_roles where rolname = current_user',
  )
  assert.ok(
    may[0].roles,
    'needs a server whose role may make another: npm run test:system brings one',
  )
  await pool.query('drop schema public cascade')
  await pool.query('create schema public')
  await pool.query('grant usage on schema public to public')
  await pool.query(`create role ${role} login password 'lesser'`)
  const lesser = new URL(database.url)
  lesser.username = role
  lesser.password = 'lesser'
  const settings = { ...databaseSettings(), DATABASE_URL: lesser.href }

  assert.match(
    await refusedStart(t, settings),
    /the database role may not do this .*npm run migrate/,
  )
  const server = await startProcess(t, { ...settings, MIGRATION_DATABASE_URL: database.url })
  const [of] = await makeContestants(db, 1)
  assert.ok(of)
  const minted = await exchange(server, of)
  assert.equal(minted.status, 200, minted.text)
  const suspended = await server.admin('POST', `/agents/${of.agent_id}/suspend`)
  assert.equal(suspended.status, 200, suspended.text)
  assert.equal((await exchange(server, of)).body.error, 'unauthorized_client')
  const { rows: sessions } = await pool.query(
    `select distinct usename::text from pg_stat_activity
     where datname = current_database() and application_name like 'agent-idp%' and pid <> pg_backend_pid()
       and usename <> current_user`,
  )
  assert.deepEqual(sessions, [{ usename: role }])

  const client = new pg.Client(lesser.href)
  await client.connect()
  for (const table of ['issuances', 'audit_events', 'seals']) {
    for (const statement of [
      `update ${table} set tenant_id = tenant_id`,
      `delete from ${table}`,
      `truncate ${table}`,
      `alter table ${table} disable trigger all`,
      `drop table ${table}`,
    ]) {
      await assert.rejects(client.query(statement), { code: '42501' }, statement)
    }
  }
  await client.end()
  assert.equal(await server.stop(), 0)

  // Nothing is left to migrate: the lesser role alone is enough from now on.
  assert.equal(await (await startProcess(t, settings)).stop(), 0)
  await pool.query(`drop owned by ${role}`)
  await pool.query(`drop role ${role}`)
  await db.destroy()
  await database.drop()
})

/** What a start says that is refused: one line, no stack. */
async function refusedStart(t: TestContext, settings: Record<string, string | undefined>) {
  const { code, output } = await runToEnd(t, settings)
  assert.equal(code, 1, output)
  const said = output.split('\n').filter((line) => !line.startsWith('{') && line !== '')
  assert.equal(said.length, 1, output)
  assert.match(said[0] as string, /^agent-idp cannot start: /)
  return said[0] as string
}

const LISTS = ['users', 'agents', 'audiences', 'delegations', 'keys', 'issuances'] as const

/** The ids of what the admin API lists. */
async function kept(at: Doors): Promise<Record<(typeof LISTS)[number], string[]>> {
  const found = LISTS.map(async (name) => {
    const { status, body, text } = await at.admin('GET', `/${name}`)
    assert.equal(status, 200, text)
    type Listed = { id?: string; kid?: string; jti?: string }
    return [name, (body.data as Listed[]).map(({ id, kid, jti }) => id ?? jti ?? kid)]
  })
  return Object.fromEntries(await Promise.all(found)) as Awaited<ReturnType<typeof kept>>
}
