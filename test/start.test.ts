// The server as a whole: how it stops.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Transaction } from 'kysely'
import { loadConfig } from '../src/config.ts'
import { openPool } from '../src/db/pool.ts'
import type { Tables } from '../src/db/tables.ts'
import { queueEvents } from '../src/events/queue.ts'
import { createLogger } from '../src/http/logging.ts'
import { startServer } from '../src/start.ts'
import { openApp } from './events/apps.ts'
import { someEvents } from './events/outbox.ts'
import { ADMIN_KEY } from './support/house.ts'
import { makeParties } from './support/parties.ts'
import { testDatabase } from './support/postgres.ts'

const settings = (url: string) => ({
  DATABASE_URL: url,
  PORT: '0',
  ADMIN_API_KEY: ADMIN_KEY,
  KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
})

test('connections that break while it stops are no news', async (t) => {
  const database = await testDatabase(t)
  const logs: string[] = []
  const config = loadConfig(settings(database.url))
  const log = createLogger(config, { write: (line: string) => void logs.push(line) })
  const { deps, stop } = await startServer(config, log)
  // The database goes first, as on a terminal's Ctrl+C or a host that shuts down.
  const { close } = deps.keys
  deps.keys.close = () => {
    close()
    return endSessions(deps) as unknown as undefined
  }
  await stop()
  assert.deepEqual(
    logs.filter((line) => line.includes('connection was lost')),
    [],
  )
})

test('while it runs, it shares with other replicas what it counts', async (t) => {
  const database = await testDatabase(t)
  const config = loadConfig(settings(database.url))
  const log = createLogger(config, { write: () => undefined })
  const { deps, stop } = await startServer(config, log)
  await new Promise<void>((resolve) => {
    deps.tally.share = async () => resolve()
  })
  await stop()
})

/** A server with a delivery under way, to an app that has not answered yet. */
async function deliverSlowly(t: TestContext) {
  const database = await testDatabase(t)
  const config = loadConfig(settings(database.url))
  const log = createLogger(config, { write: () => undefined })
  const server = await startServer(config, log)
  const held = Promise.withResolvers<ServerResponse>()
  const slow = await openApp(t, held.resolve, 202)
  const { deps } = server
  const { audience_id } = await makeParties(
    { deps },
    { audience: { events_endpoint: slow.url, events_dialect: 'set' } },
  )
  const queue = (tx: Transaction<Tables>) => queueEvents(tx, deps, someEvents(audience_id, 1))
  await deps.db.transaction().execute(queue)
  return {
    ...server,
    slow,
    response: await held.promise,
    /** When the server has let go of its own connections. */
    async outcome() {
      const { db } = openPool(database.connection, () => undefined, 1)
      const row = db
        .selectFrom('event_deliveries')
        .select(['status', 'attempts', 'outcome_unknown', 'last_answer'])
        .executeTakeFirstOrThrow()
      return row.finally(() => db.destroy())
    },
  }
}

test('the door shuts first, while a delivery under way still waits for its answer, which is written (EV-10)', async (t) => {
  const { app, address, response, stop, outcome } = await deliverSlowly(t)
  const shut = once(app.server, 'close')
  const stopped = stop()
  await shut
  await assert.rejects(fetch(`${address}/livez`))
  assert.equal(response.socket?.destroyed, false, 'it still waits')
  response.writeHead(202).end()
  await stopped
  assert.equal((await outcome()).status, 'delivered')
})

test('a server that stops waits five seconds for whoever does not answer, and writes that nobody knows (EV-12)', async (t) => {
  const { deps, slow, stop, outcome } = await deliverSlowly(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const stopped = stop()
  t.mock.timers.tick(5_000)
  t.mock.timers.reset()
  const another = { url: slow.url, method: 'POST', headers: {}, body: '', maxBytes: 10 } as const
  await assert.rejects(deps.outbound.request(another), { reason: 'timeout' })
  assert.equal(slow.received.length, 1)
  await stopped
  const { last_answer, ...known } = await outcome()
  assert.deepEqual(known, { status: 'queued', attempts: 1, outcome_unknown: true })
  assert.equal(last_answer?.failure, 'timeout')
})

/** Resolves when the pool has noticed. */
async function endSessions({ pool }: Awaited<ReturnType<typeof startServer>>['deps']) {
  const client = await pool.connect()
  const noticed = new Promise((resolve) => pool.once('error', resolve))
  const other = await pool.connect()
  other.release()
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid()`,
  )
  await noticed
  client.release()
}

test('a second signal does not cut the requests in flight short', async (t) => {
  const database = await testDatabase(t)
  const child = spawn(process.execPath, ['src/main.ts'], {
    cwd: fileURLToPath(new URL('../', import.meta.url)),
    env: { PATH: process.env.PATH, LOG_FORMAT: 'json', ...settings(database.url) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const ended = once(child, 'close')
  let output = ''
  const says = (words: RegExp) =>
    new Promise<RegExpMatchArray>((resolve) => {
      const look = () => {
        const found = words.exec(output)
        if (found) resolve(found)
        else child.stdout.once('data', look)
      }
      look()
    })
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    output += chunk
  })
  const [, port] = await says(/"address":"http:\/\/[^:"]+:(\d+)"/)

  const body = 'grant_type=unknown'
  const socket = connect(Number(port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write(
    `POST /oauth2/token HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: ${body.length}\r\n` +
      'content-type: application/x-www-form-urlencoded\r\n\r\n',
  )
  // `100 Continue`: the request is being read.
  await once(socket, 'data')
  child.kill('SIGINT')
  await says(/stopping/)
  child.kill('SIGINT')
  child.kill('SIGTERM')
  socket.write(body)
  assert.match(await text(socket), /^HTTP\/1\.1 400 [\s\S]*unsupported_grant_type/)
  assert.deepEqual(await ended, [0, null])
  assert.equal(output.match(/"why":"SIG/g)?.length, 1)
})
