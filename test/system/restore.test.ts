/**
 * A backup is loaded after things have ended that it knows nothing of: first to show what that would bring back,
 * then as docs/backup.md has it, with the commands of that page.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, copyFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import pg from 'pg'
import { GRANT } from '../../src/oauth/names.ts'
import { makeDataDir } from '../support/embedded-process.ts'
import { ADMIN_KEY, type Doors } from '../support/house.ts'
import { testDatabase } from '../support/postgres.ts'
import { freePort, type ServerProcess, startProcess } from '../support/server-process.ts'
import { clientAuthentication, type Story, tellStory } from '../support/story.ts'
import { databaseUrl } from '../support/test-server.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const BIN = process.env.PG15_BIN ?? '/usr/lib/postgresql/15/bin'
const guide = await readFile(join(ROOT, 'docs/backup.md'), 'utf8')
const blocks = [...guide.matchAll(/^```bash\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block)
const ran = new Set<string>()

/** The one block of the guide that says so. */
function blockWith(words: string): string {
  const found = blocks.filter((block) => block.includes(words))
  assert.equal(found.length, 1, `${found.length} blocks with ${words}`)
  ran.add(found[0] as string)
  return found[0] as string
}

test('what a backup brings back is real, and ends before a server answers (GR-06, GR-08)', async (t) => {
  const place = await openPlace(t)
  const app = await openApp(t)
  let server = await place.start(place.url)
  const story = (audience: object = {}, entitlement: object = {}) =>
    tellStory(server, {
      audience: { events_endpoint: app.endpoint, events_dialect: 'set', ...audience },
      entitlement,
    })
  const [live, silent, single, stopped, suspended, policy] = [
    await story(),
    await story(),
    await story(),
    await story(),
    await story(),
    await story({}, { consent: 'admin' }),
  ]
  const stories = [live, silent, single, stopped, suspended, policy]
  const tokens = new Map<Story, Awaited<ReturnType<Story['signIn']>>>()
  for (const one of stories) tokens.set(one, await one.signIn())
  for (const one of [live, silent, suspended]) await one.delegate()
  await single.delegate({ mode: 'once' })
  const { id: ended } = await stopped.delegate()
  const minted = [await mint(live), await mint(stopped), await mint(suspended), await mint(policy)]
  const kids = await publishedKids(server)
  await sealed(server)
  await place.run(blockWith('/seals?limit=1'), server)
  await place.run(blockWith('pg_dump --format'), server)

  // What the backup will know nothing of.
  minted.push(await mint(silent), await mint(single))
  assert.equal((await server.admin('DELETE', `/delegations/${ended}`)).status, 204)
  const suspension = { status: 'suspended' }
  assert.equal((await server.admin('PATCH', `/users/${suspended.user.id}`, suspension)).status, 200)
  const { kid } = decodeProtectedHeader(minted[0] ?? '')
  assert.equal((await server.admin('POST', `/keys/${kid}/compromise`, {})).status, 200)
  for (const one of [stopped, single, suspended])
    assert.equal((await one.exchange()).status, 400, 'it has ended')
  kids.push(...(await publishedKids(server)))
  await server.kill()

  // Without the command: all of that is alive again.
  server = await place.start(await place.load())
  for (const one of [stopped, single, suspended]) await mint(one)
  assert.equal((await refresh(server, stopped, tokens.get(stopped))).status, 200)
  assert.ok((await publishedKids(server)).includes(kid ?? ''))
  assert.equal(await server.stop(), 0)
  app.received.length = 0

  const url = await place.load()
  const told = await place.type(blockWith('npm run after-restore'), { DATABASE_URL: url }, 'yes\n')
  const revocation = /GET \/revocations\/(rev_\S+)/.exec(told)?.[1] ?? assert.fail(told)
  server = await place.start(url)

  const now = await publishedKids(server)
  assert.deepEqual(
    now.filter((one) => kids.includes(one)),
    [],
  )
  const jwks = createLocalJWKSet(await keySet(server))
  for (const idJag of minted)
    await assert.rejects(jwtVerify(idJag, jwks), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
  for (const one of stories) {
    assert.equal((await one.exchange()).body.error, 'invalid_grant')
    assert.equal((await refresh(server, one, tokens.get(one))).body.error, 'invalid_grant')
    assert.match((await one.browser.get('/account')).url, /^\/sign-in/)
    one.browser.cookies.clear()
    await one.signIn()
    const { body } = await one.exchange()
    assert.equal(body.error, one === policy ? 'invalid_target' : 'interaction_required')
  }

  const pairs = stories.map(({ audience, user }) => `${audience.issuer} ${user.id}`).sort()
  await until(
    () => new Set(app.received.map(subjectOf)).size === pairs.length,
    () => app.received.map(subjectOf).join('\n'),
  )
  assert.deepEqual([...new Set(app.received.map(subjectOf))].sort(), pairs)
  for (const event of app.received) await jwtVerify(event, jwks, { typ: 'secevent+jwt' })
  const read = () => server.admin('GET', `/revocations/${revocation}`)
  await until(async () => (await read()).body.events.pending === 0)
  const proof = await read()
  assert.deepEqual(proof.body.events, { delivered: pairs.length, pending: 0, failed: 0 })
  assert.equal(proof.body.reason, 'The disk failed on 22 November')
  assert.equal(proof.body.events_queued, pairs.length)
  const looked = await place.run(blockWith('/audit-events/verify?head='), server)
  assert.match(looked, /"ok":true/)
  assert.match(await place.run(blockWith('/revocations?limit=1'), server), new RegExp(revocation))
  assert.equal(await server.stop(), 0)
})

test('killed in the middle it has done nothing, and the next run does all of it', async (t) => {
  const place = await openPlace(t)
  let server = await place.start(place.url)
  const story = await tellStory(server)
  await story.signIn()
  await story.delegate()
  const idJag = await mint(story)
  assert.equal(await server.stop(), 0)

  // Under another role, so that it is nobody of ours: holds up the command shortly before it is done.
  const holder = await place.holder(place.url)
  await holder.query('begin; lock table idempotency_keys in access exclusive mode')
  const child = place.spawn('npm run after-restore -- --yes', { DATABASE_URL: place.url })
  await until(async () => {
    await holder.query('select pg_stat_clear_snapshot()')
    return (await holder.query(WAITING)).rowCount === 1
  })
  process.kill(-(child.pid as number), 'SIGKILL')
  await once(child, 'close')
  await holder.query('rollback')
  await until(async () => (await holder.query(OURS)).rowCount === 0)
  const state = async () =>
    (
      await holder.query(`select
        (select count(*) from revocations)::integer as revocations,
        (select count(*) from signing_keys where status = 'compromised')::integer as dropped,
        (select count(*) from delegations where status = 'active')::integer as delegations,
        (select count(*) from sessions where ended_at is null)::integer as sessions`)
    ).rows[0]
  assert.deepEqual(await state(), { revocations: 0, dropped: 0, delegations: 1, sessions: 1 })

  const told = await place.run('npm run after-restore -- --yes', undefined, {
    DATABASE_URL: place.url,
  })
  assert.match(told, /Start the server now/)
  const { dropped, ...after } = await state()
  assert.deepEqual(after, { revocations: 1, delegations: 0, sessions: 0 })
  assert.ok(dropped > 0)
  server = await place.start(place.url)
  const jwks = createLocalJWKSet(await keySet(server))
  await assert.rejects(jwtVerify(idJag, jwks), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
  assert.equal((await story.exchange()).body.error, 'invalid_grant')
  assert.equal(await server.stop(), 0)
})

test('a server that is started too early waits, and answers only from what was ended', async (t) => {
  const place = await openPlace(t)
  const server = await place.start(place.url)
  const story = await tellStory(server)
  await story.signIn()
  await story.delegate()
  const before = await publishedKids(server)
  assert.equal(await server.stop(), 0)

  const holder = await place.holder(place.url)
  await holder.query('begin; lock table idempotency_keys in access exclusive mode')
  const waiting = async (count: number) => {
    await holder.query('select pg_stat_clear_snapshot()')
    const { rowCount } = await holder.query(`select from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'
        and application_name like 'agent-idp%'`)
    return (rowCount ?? 0) >= count
  }
  const running = place.run('npm run after-restore -- --yes', undefined, {})
  await until(() => waiting(1))
  let up = false
  const starting = place.start(place.url).then((early) => {
    up = true
    return early
  })
  await until(() => waiting(2))
  assert.equal(up, false)
  await holder.query('rollback')
  assert.match(await running, /ended 1 delegations, 1 sessions/)
  const early = await starting
  assert.deepEqual(
    (await publishedKids(early)).filter((kid) => before.includes(kid)),
    [],
  )
  assert.equal((await story.exchange()).body.error, 'invalid_grant')
  assert.equal(await early.stop(), 0)
})

test('asked in a terminal, anything but yes changes nothing', async (t) => {
  const place = await openPlace(t)
  const server = await place.start(place.url)
  const before = await publishedKids(server)
  assert.equal(await server.stop(), 0)
  const command = 'npm run after-restore || true'
  for (const answer of ['no\n', '\n', '\u0004'])
    assert.match(
      await place.type(command, { DATABASE_URL: place.url }, answer),
      /nothing was changed/,
    )
  const again = await place.start(place.url)
  assert.deepEqual(await publishedKids(again), before)
  assert.equal(await again.stop(), 0)
})

test('where the tables have a role of their own, that role loads them', async (t) => {
  const place = await openPlace(t)
  const names = ['owner', 'app', 'restored'].map(
    (name) => `agent_idp_${name}_${randomBytes(3).toString('hex')}`,
  )
  const [owner = '', app = '', restored = ''] = names
  t.after(async () => {
    for (const name of [owner, restored])
      await onServer(place.url, `drop database if exists ${name} with (force)`)
    for (const name of [owner, app]) await onServer(place.url, `drop role if exists ${name}`)
  })
  for (const name of [owner, app])
    await onServer(place.url, `create role ${name} login password '${name}'`)
  await onServer(place.url, `create database ${owner} owner ${owner}`)
  const url = (role: string, database: string) => {
    const as = new URL(databaseUrl(place.url, database))
    as.username = as.password = role
    return as.href
  }
  const settings = (database: string) => ({
    DATABASE_URL: url(app, database),
    MIGRATION_DATABASE_URL: url(owner, database),
  })
  await place.run('npm run migrate', undefined, settings(owner))
  await place.run(blockWith('pg_dump --format'), undefined, settings(owner))
  const load = blockWith('$SUPERUSER_URL')
    .replaceAll('agent_idp_restored', restored)
    .replaceAll('agent_idp_owner', owner)
  await place.run(load, undefined, { ...settings(owner), SUPERUSER_URL: place.url })
  const { DATABASE_URL } = settings(restored)
  const told = await place.run('npm run after-restore -- --yes', undefined, { DATABASE_URL })
  assert.match(told, /Start the server now/)
})

test('a backup of the embedded database, with its secrets kept elsewhere', async (t) => {
  const place = await openPlace(t)
  const { dataDir } = await makeDataDir(t)
  const port = String(await freePort())
  const environment = { SIGNING_ALGS: 'ES256,RS256', PORT: port, DATA_DIR: dataDir }
  const start = () => startProcess(t, { ...environment, ADMIN_API_KEY: ADMIN_KEY })
  const server = await start()
  const story = await tellStory(server)
  await story.signIn()
  await story.delegate()
  const idJag = await mint(story)
  const before = await publishedKids(server)
  const settings = { ...environment, DATABASE_URL: undefined, KEY_ENCRYPTION_KEY: undefined }
  const refused = '! npm run after-restore -- --yes'
  assert.match(await place.run(refused, undefined, settings), /Another agent-idp .*is running on/)
  assert.equal(await server.stop(), 0)

  const inPlace = (block: string) => block.replaceAll(/(?<= )data(?=$|[ .])/gm, dataDir)
  await place.run(inPlace(blockWith('tar --create')), undefined)
  const kept = join(place.folder, 'kept')
  await copyFile(join(dataDir, 'key-encryption-key'), kept)
  await place.run(inPlace(blockWith('tar --extract')), undefined)
  t.after(() => rm(`${dataDir}.lost`, { recursive: true, maxRetries: 5 }))
  await assert.rejects(readFile(join(dataDir, 'key-encryption-key')), { code: 'ENOENT' })
  // Neither makes another key, under which nothing in there would open.
  for (const command of ['npm run after-restore -- --yes', 'npm start'])
    assert.match(
      await place.run(`! ${command}`, undefined, settings),
      /the key that belongs to it is not there: .*key-encryption-key/,
    )
  await assert.rejects(readFile(join(dataDir, 'key-encryption-key')), { code: 'ENOENT' })
  await copyFile(kept, join(dataDir, 'key-encryption-key'))
  const told = await place.run('npm run after-restore -- --yes', undefined, settings)
  assert.match(told, /ended 1 delegations, 1 sessions/)
  const again = await start()
  assert.deepEqual(
    (await publishedKids(again)).filter((kid) => before.includes(kid)),
    [],
  )
  const jwks = createLocalJWKSet(await keySet(again))
  await assert.rejects(jwtVerify(idJag, jwks), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
  assert.equal((await story.exchange()).body.error, 'invalid_grant')
  assert.equal(await again.stop(), 0)

  await rm(join(dataDir, 'key-encryption-key'))
  await place.run('npm run after-restore -- --yes --new-key', undefined, settings)
  assert.equal(await (await start()).stop(), 0)
})

test('the commands of docs/backup.md are those that were run here', () => {
  const others = blocks.filter((block) => !ran.has(block))
  assert.deepEqual(others, ['npm start\n'], 'which is what startProcess does')
})

const OURS = `select from pg_stat_activity
  where datname = current_database() and application_name = 'agent-idp after-restore'`
const WAITING = `${OURS} and wait_event_type = 'Lock'`

/** A folder, a database and one way to start servers and commands with the same settings. */
async function openPlace(t: TestContext) {
  const { url } = await testDatabase(t)
  const folder = await mkdtemp(join(tmpdir(), 'agent-idp-restore-'))
  await chmod(folder, 0o711)
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  const port = String(await freePort())
  const settings: Record<string, string | undefined> = {
    PORT: port,
    ISSUER: `http://localhost:${port}`,
    ADMIN_API_KEY: ADMIN_KEY,
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    SIGNING_ALGS: 'ES256,RS256',
    OUTBOUND_ALLOW: '127.0.0.0/8',
  }
  const launch = (script: string, changes: object, command = 'bash', args: string[] = []) => {
    const { PATH, HOME } = process.env
    const setup = `admin() { curl -sS --fail-with-body -H "Authorization: Bearer $ADMIN_API_KEY" -X $1 "$ISSUER/admin/v1$2"; }`
    const child = spawn(
      command,
      command === 'bash' ? ['-euo', 'pipefail', '-c', `${setup}\n${script}`] : args,
      {
        cwd: /\bnpm\b/.test(script) ? ROOT : folder,
        env: { PATH: `${BIN}:${PATH}`, HOME, ...settings, ...changes },
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: true,
      },
    )
    t.after(() => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    })
    return child
  }
  const finish = async (child: ChildProcess, input: string) => {
    child.stdin?.end(input)
    const [out, err, [code]] = await Promise.all([
      text(child.stdout as NonNullable<typeof child.stdout>),
      text(child.stderr as NonNullable<typeof child.stderr>),
      once(child, 'close'),
    ])
    assert.equal(code, 0, `${out}\n${err}`)
    return `${out}${err}`
  }
  return {
    url,
    folder,
    start: (DATABASE_URL: string): Promise<ServerProcess> =>
      startProcess(t, { ...settings, DATABASE_URL }),
    spawn: (script: string, changes: object) => launch(script, changes),
    /** What it printed; it has to succeed. */
    run: (script: string, at: Doors | undefined, changes: object = {}) =>
      finish(
        launch(script, {
          DATABASE_URL: url,
          ISSUER: at?.config.issuer ?? settings.ISSUER,
          ...changes,
        }),
        '',
      ),
    /** In a terminal, where somebody types. */
    type: (script: string, changes: object, typed: string) =>
      finish(launch(script, changes, 'script', ['-qec', script, '/dev/null']), typed),
    /** The backup in a new database, by the commands of the guide. */
    async load(): Promise<string> {
      const name = `${new URL(url).pathname.slice(1)}_${randomBytes(3).toString('hex')}`
      const block = blockWith('--dbname="$DATABASE_URL"').replaceAll('agent_idp_restored', name)
      await this.run(block, undefined)
      t.after(() => onServer(url, `drop database if exists ${name} with (force)`))
      return databaseUrl(url, name)
    },
    async holder(of: string): Promise<pg.Client> {
      const name = `holder_${randomBytes(4).toString('hex')}`
      await onServer(url, `create role ${name} login superuser password '${name}'`)
      const as = new URL(of)
      as.username = as.password = name
      const client = new pg.Client(as.href)
      // Its database is dropped under it.
      client.on('error', () => undefined)
      await client.connect()
      t.after(async () => {
        await client.end()
        await onServer(url, `drop role ${name}`)
      })
      return client
    },
  }
}

async function onServer(url: string, statement: string): Promise<void> {
  const client = new pg.Client(databaseUrl(url, 'postgres'))
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

/** A relying app that takes every event, whoever it is for. */
async function openApp(t: TestContext) {
  const received: string[] = []
  const server = createServer(async (request, response) => {
    received.push(await text(request))
    response.writeHead(202).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  return { received, endpoint: `http://127.0.0.1:${port}/events` }
}

function subjectOf(event: string): string {
  const { aud, sub } = JSON.parse(Buffer.from(event.split('.')[1] ?? '', 'base64url').toString())
  return `${aud} ${sub}`
}

async function mint(story: Story): Promise<string> {
  const answer = await story.exchange()
  assert.equal(answer.status, 200, answer.text)
  return answer.body.access_token
}

const refresh = async (
  at: Doors,
  { agent }: Story,
  { refresh_token }: { refresh_token: string } = { refresh_token: '' },
) =>
  at.form('/oauth2/token', {
    grant_type: GRANT.refreshToken,
    refresh_token,
    ...(await clientAuthentication(at, agent)),
  })

const keySet = async (at: Doors) =>
  (await at.inject({ method: 'GET', url: '/.well-known/jwks.json' })).body

const publishedKids = async (at: Doors): Promise<string[]> =>
  (await keySet(at)).keys.map(({ kid }: { kid: string }) => kid).sort()

/** Waits until the log is sealed: then there is a head to keep. */
const sealed = (at: Doors) =>
  until(async () => (await at.admin('GET', '/seals?limit=1')).body.data.length > 0)

async function until(
  condition: () => boolean | Promise<boolean>,
  told: () => string = () => 'it never came about',
): Promise<void> {
  const patience = AbortSignal.timeout(60_000)
  while (!(await condition())) {
    assert.ok(!patience.aborted, told())
    await pause(20)
  }
}
