// `npm run after-restore`, as a terminal would run it.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { sql } from 'kysely'
import pg from 'pg'
import { newId } from '../../src/db/ids.ts'
import { openPool } from '../../src/db/pool.ts'
import { type Ran, runCommand } from '../commands/run-command.ts'
import { makeContestants } from '../support/contestants.ts'
import { ADMIN_KEY } from '../support/house.ts'
import { asLesserRole } from '../support/lesser-role.ts'
import { testDatabase } from '../support/postgres.ts'
import { freePort } from '../support/server-process.ts'
import { LISTENS } from './restored.ts'

const settings = {
  ADMIN_API_KEY: ADMIN_KEY,
  KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
  SIGNING_ALGS: 'ES256,RS256',
}

/** A backup that was just loaded, with one of everything in it. */
async function openBackup(t: TestContext) {
  const database = await testDatabase(t)
  const ask = async <Answer>(look: (db: ReturnType<typeof openPool>['db']) => Promise<Answer>) => {
    const { db } = openPool(database.connection, () => undefined, 1)
    try {
      return await look(db)
    } finally {
      await db.destroy()
    }
  }
  const [of] = await ask((db) => makeContestants(db, 1, { audience: LISTENS, consent: 'admin' }))
  return {
    database,
    of: of ?? assert.fail(),
    live: () =>
      ask(async (db) => {
        const rows = await db.selectFrom('delegations').select('status').execute()
        const keys = await db.selectFrom('signing_keys').select('kid').execute()
        return { status: rows[0]?.status, keys: keys.length }
      }),
    /** Of one user: a password, an account upstream and one at an app. */
    accounts: () =>
      ask(async (db) => {
        const { tenant_id, user_id, audience_id } = of ?? assert.fail()
        const [whose, at] = [{ tenant_id, user_id }, new Date()]
        const hash = '$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA'
        await db
          .insertInto('user_passwords')
          .values({ ...whose, hash, changed_at: at })
          .execute()
        const upstream = { issuer: 'https://login.example', subject: 'ada', created_at: at }
        await db
          .insertInto('upstream_accounts')
          .values({ ...whose, ...upstream, created_by: 'environment' })
          .execute()
        const account = { audience_id, aud_sub: 'ada', created_at: at, updated_at: at }
        await db
          .insertInto('audience_accounts')
          .values({ ...whose, ...account })
          .execute()
      }),
    stream: () =>
      ask(async (db) => {
        const { tenant_id } = of ?? assert.fail()
        const [id, stream_id, at] = [newId('rcv'), newId('str'), new Date()]
        const made = { created_at: at, created_by: 'environment', secret_hash: randomBytes(32) }
        const receiver = { id, tenant_id, name: 'Desk', audience: 'https://desk.example', ...made }
        await db
          .insertInto('ssf_receivers')
          .values({ ...receiver, scopes: ['ssf.read'] })
          .execute()
        const stream = { id: stream_id, tenant_id, receiver_id: id, events_requested: [] }
        const when = { active_at: at, created_at: at, updated_at: at }
        await db
          .insertInto('streams')
          .values({ ...stream, method: 'poll', ...when })
          .execute()
        return stream_id
      }),
    revocations: () => ask((db) => db.selectFrom('revocations').selectAll().execute()),
    run: (...args: string[]) =>
      runCommand('after-restore', args, { ...settings, DATABASE_URL: database.url }),
  }
}

const UNTOUCHED = { status: 'active', keys: 0 }

function assertRefused({ code, out, err }: Ran, expected: number, words: RegExp): void {
  assert.match(err, words)
  assert.match(err, /^after-restore: /)
  assert.doesNotMatch(err, /\n\s+at |node:internal/, 'a stack')
  assert.equal(out, '')
  assert.equal(code, expected)
}

test('it ends everything, and says what a person has to look at', async (t) => {
  const backup = await openBackup(t)
  await backup.accounts()
  const { code, out, err } = await backup.run('--yes', '--reason', 'The disk is gone')
  assert.equal(err, '')
  assert.equal(code, 0)
  const [revocation] = await backup.revocations()
  assert.equal(revocation?.reason, 'The disk is gone')
  assert.match(out, new RegExp(`GET /revocations/${revocation?.id}\n`))
  assert.match(out, /ended 1 delegations, 1 sessions, 1 refresh tokens and 1 entitlements/)
  assert.match(out, /queued 1 events/)
  for (const [name, count] of Object.entries({
    admin_keys: 0,
    users: 2,
    passwords: 1,
    upstream_accounts: 1,
    audience_accounts: 1,
    agents: 1,
    credentials: 1,
    actor_permissions: 0,
    blocks: 0,
  }))
    assert.match(out, new RegExp(`^  ${name} +${count}  GET /`, 'm'))
  assert.match(out, /^ {2}blocks .*; those made since are missing/m)
  assert.match(out, new RegExp(`^  told by events  ${backup.of.issuer}$`, 'm'))
  assert.match(out, /Its last seal is none\./)
  assert.match(out, /^Shared Signals\. .* 0 events of before were dropped\.\n.*\n {2}none$/m)
  const { status, keys } = await backup.live()
  assert.deepEqual([status, keys], ['revoked', 10])
})

test('it lists the streams that wait for their receivers', async (t) => {
  const backup = await openBackup(t)
  const stream_id = await backup.stream()
  const { out } = await backup.run('--yes')
  const line = `^  ${stream_id}  poll, was enabled  GET /ssf-receivers/rcv_\\S+ \\[revocations:read\\]  Desk$`
  assert.match(out, new RegExp(line, 'm'))
  const { streams, signals_dropped } = JSON.parse((await backup.run('--yes', '--json')).out)
  assert.deepEqual(
    [streams.length, streams[0].stream_id, streams[0].status],
    [1, stream_id, 'paused'],
  )
  assert.equal(signals_dropped, 1, 'the word of before that it is paused')
})

test('--json says the same for machines, and --keep-policies leaves what asks no user', async (t) => {
  const backup = await openBackup(t)
  const { code, out } = await backup.run('--yes', '--keep-policies', '--json')
  assert.equal(code, 0)
  const { tenants, keys_dropped, live, apps, head } = JSON.parse(out)
  assert.equal(tenants.length, 1)
  assert.equal(tenants[0].entitlements_ended, 0)
  assert.equal(live.entitlements, 1)
  assert.deepEqual([keys_dropped, head], [0, null])
  assert.deepEqual(apps, [{ issuer: backup.of.issuer, name: 'Paperclip', told: true }])
})

test('what it is not told rightly it refuses, and changes nothing', async (t) => {
  const backup = await openBackup(t)
  assertRefused(await backup.run(), 2, /it asks before it ends everything.*--yes/)
  assertRefused(await backup.run('--yes', '--tenant', 'x'), 2, /Unknown option '--tenant'/)
  assertRefused(await backup.run('--yes', '--reason', ' '), 2, /--reason must say something/)
  assert.deepEqual(await backup.live(), UNTOUCHED)
  const help = await backup.run('--help')
  assert.equal(help.code, 0)
  assert.match(help.out, /--keep-policies/)
})

test('a narrower choice is refused, for no export proves that nothing is missing from it', async (t) => {
  const backup = await openBackup(t)
  assertRefused(
    await backup.run('--yes', '--audit-export', 'events.jsonl'),
    2,
    /--audit-export is refused, and nothing was changed/,
  )
  assert.deepEqual(await backup.live(), UNTOUCHED)
})

test('it refuses while a server is connected, whatever that calls itself', async (t) => {
  const backup = await openBackup(t)
  const client = new pg.Client({ connectionString: backup.database.url, application_name: 'other' })
  await client.connect()
  assertRefused(await backup.run('--yes'), 1, /Others are connected .*: other \(process \d+\)/)
  await client.end()
  assert.deepEqual(await backup.live(), UNTOUCHED)
})

test('a database that does not answer is named as the reason', async () => {
  for (const host of ['localhost', 'database.invalid']) {
    const ran = await runCommand('after-restore', ['--yes'], {
      ...settings,
      DATABASE_URL: `postgres://somebody:secret@${host}:${await freePort()}/agent_idp`,
    })
    assertRefused(ran, 1, /^after-restore: the database does not answer \(E\w+\)/)
    assert.doesNotMatch(ran.err, /secret/)
  }
})

test('in a database where nothing was restored it makes nothing', async (t) => {
  const backup = await openBackup(t)
  const client = new pg.Client({ connectionString: backup.database.url })
  await client.connect()
  await client.query('drop schema public cascade; create schema public')
  await client.end()
  assertRefused(await backup.run('--yes'), 2, /there are no tables of agent-idp/)
})

test('where migrations have a role of their own, the lesser one may do it', async (t) => {
  const backup = await openBackup(t)
  const { db, pool } = openPool(backup.database.connection, () => undefined, 2)
  await asLesserRole({ db, pool }, async (lesser) => {
    const { user } =
      (await sql<{ user: string }>`select current_user as user`.execute(lesser)).rows[0] ?? {}
    await lesser.destroy()
    const as = new URL(backup.database.url)
    as.username = as.password = user ?? assert.fail()
    await pool.end()
    // Whoever made the role is still there, under the name of a server.
    const maker = new URL(backup.database.url)
    maker.username = 'postgres'
    const client = new pg.Client(maker.href)
    await client.connect()
    await client.query(`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'agent-idp'`)
    await client.end()
    const ran = await runCommand('after-restore', ['--yes'], {
      ...settings,
      DATABASE_URL: as.href,
      MIGRATION_DATABASE_URL: backup.database.url,
    })
    assert.equal(ran.code, 0, ran.err)
    assert.equal((await backup.live()).status, 'revoked')
  })
})
