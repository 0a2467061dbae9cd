/**
 * Servers as an operator runs them: `node src/main.ts`, a process of its own, reached by HTTP alone. Several
 * may share a database and an issuer, as replicas do.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { Agent, type IncomingHttpHeaders, request as send } from 'node:http'
import { createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ADMIN_KEY, type Answer, type Ask, callsBy, type Doors } from './house.ts'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))
/** Milliseconds, generous: it bounds a test that hangs and judges nothing. */
const PATIENCE = 60_000

export type ServerProcess = Doors & {
  child: ChildProcess
  port: number
  /** Everything it printed. */
  output(): string
  /** Its exit code, once it has ended. */
  ended: Promise<number | null>
  /** Asks it to end in good order and returns its exit code. */
  stop(): Promise<number | null>
  /** Ends it without a word. */
  kill(): Promise<void>
}

type Environment = Record<string, string | undefined>
type Surroundings = { after(end: () => Promise<void>): void }

/** A server that is up. What is not set in the environment given has a value that fits a test. */
export async function startProcess(
  t: Surroundings,
  environment: Environment,
): Promise<ServerProcess> {
  const port = Number(environment.PORT ?? (await freePort()))
  const issuer = environment.ISSUER ?? `http://localhost:${port}`
  const { child, output, ended } = launch({ ...environment, PORT: String(port), ISSUER: issuer })
  const agent = new Agent({ keepAlive: true, maxSockets: 256 })
  const inject = (ask: Ask) => exchangeMessages(agent, port, ask)
  const kill = async () => {
    child.kill('SIGKILL')
    await ended
    agent.destroy()
  }
  t.after(kill)

  const patience = AbortSignal.timeout(PATIENCE)
  for (;;) {
    const up = await inject({ method: 'GET', url: '/readyz' }).catch(() => undefined)
    if (up?.status === 200) break
    const last = await Promise.race([ended, pause(30)])
    assert.equal(last, undefined, `the server ended: ${output()}`)
    assert.ok(!patience.aborted, `the server is not ready: ${up?.text} ${output()}`)
  }
  return {
    child,
    port,
    config: { issuer },
    clock: {
      get now() {
        return new Date()
      },
    },
    output,
    inject,
    ...callsBy(inject),
    kill,
    ended: ended.then(({ code }) => code),
    async stop() {
      child.kill('SIGTERM')
      const { code } = await ended
      agent.destroy()
      return code
    },
  }
}

/** Two servers on one database and of one issuer. */
export async function startReplicas(
  t: Surroundings,
  environment: Environment,
): Promise<[ServerProcess, ServerProcess]> {
  const [one, two] = [await freePort(), await freePort()]
  const shared = { ...databaseSettings(), ISSUER: `http://localhost:${one}`, ...environment }
  return Promise.all([
    startProcess(t, { ...shared, PORT: String(one) }),
    startProcess(t, { ...shared, PORT: String(two) }),
  ])
}

/** What a server on DATABASE_URL has to be told besides. */
export const databaseSettings = () => ({
  ADMIN_API_KEY: ADMIN_KEY,
  KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
})

/** A start that is expected to end by itself: its exit code and all it printed. */
export async function runToEnd(
  t: Surroundings,
  environment: Environment,
): Promise<{ code: number | null; output: string }> {
  const { child, output, ended } = launch(environment)
  t.after(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const patience = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
  const { code, signal } = await ended
  clearTimeout(patience)
  assert.equal(signal, null, `it did not end by itself: ${output()}`)
  return { code, output: output() }
}

/**
 * Below 32768, where Linux starts handing out ports to outgoing connections. It is given once: what is told of an
 * issuer stays in a database when its server is gone, and many a server starts to listen only a second later.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000)
    if ((await reserve(port)) && (await isFree(port))) return port
  }
}

/** Keeps others who ask here from it, until this process ends: by holding it for UDP, which no server wants. */
function reserve(port: number): Promise<boolean> {
  const socket = createSocket('udp4')
  return new Promise((resolve) => {
    socket.once('error', () => socket.close(() => resolve(false)))
    socket.bind(port, '127.0.0.1', () => {
      socket.unref()
      resolve(true)
    })
  })
}

function isFree(port: number): Promise<boolean> {
  const probe = createServer()
  return new Promise((resolve) => {
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

function launch(environment: Environment) {
  const { PATH, TMPDIR } = process.env
  const child = spawn(process.execPath, ['src/main.ts'], {
    cwd: REPOSITORY,
    // Bare otherwise: no setting of whoever runs the tests reaches the server.
    env: { PATH, TMPDIR, RATE_LIMITS: 'off', LOG_LEVEL: 'warn', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const chunks: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk))
  }
  // `close`, not `exit`: then everything it printed has arrived.
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
  }))
  return { child, ended, output: () => chunks.join('') }
}

function exchangeMessages(agent: Agent, port: number, ask: Ask): Promise<Answer> {
  const payload = (ask.payload as string | undefined) ?? ''
  return new Promise((resolve, reject) => {
    const request = send(
      {
        agent,
        host: '127.0.0.1',
        port,
        method: ask.method as string,
        path: ask.url as string,
        headers: {
          ...(ask.headers as IncomingHttpHeaders),
          ...(payload !== '' && { 'content-length': Buffer.byteLength(payload) }),
        },
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
        })
        response.on('error', reject)
        response.on('end', () => {
          const json = /json/.test(response.headers['content-type'] ?? '')
          resolve({
            status: response.statusCode ?? 0,
            body: json && text !== '' ? JSON.parse(text) : undefined,
            headers: response.headers,
            text,
          })
        })
      },
    )
    request.on('error', reject)
    request.end(payload)
  })
}
