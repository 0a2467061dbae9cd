/**
 * How long a relying app that is well goes on after a revocation was answered: one delegation at a time, and a
 * thousand by one kill switch. Beside each, the same bytes are posted to the same app by nobody in
 * particular: what of the time is the way there and back, and nothing that a provider could do without.
 */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Taken } from './peers/events-app.ts'
import { freePorts } from './ports.ts'
import { connectWhenUp, startPostgres } from './postgres.ts'
import { type Server, startServer } from './processes.ts'
import { type Ask, openWorld } from './revocation-world.ts'
import { agentIdpAt, ROOT, startAgentIdp } from './targets.ts'

export interface Options {
  singles: number
  warmup: number
  rounds: number
  atOnce: number
  port: number
  verbose: boolean
}

/** Milliseconds. */
export interface CutOff {
  /** Of each revocation, until it was answered; and from then on until its event was accepted. */
  one: { answered: number[]; accepted: number[]; posted: number[] }
  /** Of each kill switch likewise; of each of its events, of each post since the first of them began. */
  many: { answered: number; accepted: number[]; posted: number[] }[]
  faults: string[]
  postgres: string
  onDisk: boolean
}

/** Posts under way at a time; as many as the server has with one audience. */
const LANES = 8
/** Milliseconds between two revocations of one delegation, so that none finds the server still busy. */
const REST = 20
/** Seconds. */
const PATIENCE = 120

export async function measureCutOff(
  options: Options,
  say: (line: string) => void,
): Promise<CutOff> {
  const port = await freePorts(options.port, 3)
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'agent-idp-bench-'))
  const postgres = await startPostgres(port, ROOT)
  const running: Server[] = []
  try {
    const db = await connectWhenUp(postgres.url('postgres'))
    const adminKey = randomBytes(32).toString('base64url')
    const env: Record<string, string> = {
      ...agentIdpAt(port + 1, dir),
      DATABASE_URL: postgres.url('postgres'),
      ADMIN_API_KEY: adminKey,
      KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    }
    running.push(await startAgentIdp(env, options.verbose))
    const app = `http://127.0.0.1:${port + 2}`
    running.push(await startApp(port + 2, app, options.verbose))
    const admin = administrator(env.ISSUER as string, adminKey)
    const world = await openWorld(db, admin, {
      issuer: 'https://app.bench.example',
      events_endpoint: `${app}/events`,
    })
    const measured: CutOff = {
      one: { answered: [], accepted: [], posted: [] },
      many: [],
      faults: [],
      postgres: postgres.version,
      onDisk: postgres.onDisk,
    }

    const { warmup, singles } = options
    const { delegationIds } = await world.delegate(warmup + singles)
    await db.query('analyze')
    for (const [n, id] of delegationIds.entries()) {
      const { answered, accepted, posted } = await revoke(app, measured, {
        ask: () => admin('DELETE', `/delegations/${id}`),
        count: 1,
      })
      if (n < warmup) continue
      measured.one.answered.push(answered)
      measured.one.accepted.push(...accepted)
      measured.one.posted.push(...posted)
      await sleep(REST)
    }
    say(`${singles} delegations, one at a time`)
    for (let round = 0; round < options.rounds; round++) {
      const { agentId } = await world.delegate(options.atOnce)
      await db.query('analyze')
      const body = { agent_id: agentId, reason: 'To be measured' }
      const ask = () => admin('POST', '/revocations', body)
      measured.many.push(await revoke(app, measured, { ask, count: options.atOnce }))
      say(`round ${round + 1}: ${options.atOnce} delegations by one kill switch`)
    }
    await requireAllDelivered(db, measured)
    await db.end()
    return measured
  } finally {
    for (const server of running) await server.stop()
    await postgres.stop()
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

/** One revocation, the events it leads to, and the same events once more by hand. */
async function revoke(
  app: string,
  { faults }: CutOff,
  { ask, count }: { ask: () => Promise<unknown>; count: number },
) {
  const from = process.hrtime.bigint()
  await ask()
  const answeredAt = process.hrtime.bigint()
  const events = await taken(app, count)
  const about = new Set(events.map(({ body }) => subjectOf(body)))
  if (events.length !== count || about.size !== count) {
    faults.push(`${events.length} events about ${about.size} users came, for ${count}`)
  }
  const began = process.hrtime.bigint()
  await post(
    app,
    events.map(({ body }) => body),
  )
  const posts = await taken(app, events.length)
  return {
    answered: milliseconds(from, answeredAt),
    accepted: events.map(({ at }) => milliseconds(answeredAt, BigInt(at))),
    posted: posts.map(({ at }) => milliseconds(began, BigInt(at))),
  }
}

const milliseconds = (from: bigint, to: bigint) => Number(to - from) / 1e6

async function taken(app: string, count: number): Promise<Taken[]> {
  const signal = AbortSignal.timeout(PATIENCE * 1000)
  const answer = await fetch(`${app}/taken?count=${count}`, { signal })
  return (await answer.json()) as Taken[]
}

/** Each over a connection of its own, as the server does it. */
async function post(app: string, bodies: string[]): Promise<void> {
  let next = 0
  const lane = async () => {
    for (let body = bodies[next++]; body !== undefined; body = bodies[next++]) {
      await postOne(app, body)
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
}

const AGENT = new http.Agent({ keepAlive: false })

const postOne = (app: string, body: string) =>
  new Promise<void>((resolve, reject) => {
    const headers = {
      'content-type': 'application/secevent+jwt',
      accept: 'application/json',
      'content-length': Buffer.byteLength(body),
    }
    http
      .request(`${app}/events`, { method: 'POST', headers, agent: AGENT })
      .on('response', (answer) => answer.resume().on('end', resolve))
      .on('error', reject)
      .end(body)
  })

function subjectOf(jws: string): string {
  const payload = Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString()
  return (JSON.parse(payload) as { sub: string }).sub
}

async function requireAllDelivered(
  db: Awaited<ReturnType<typeof connectWhenUp>>,
  { faults }: CutOff,
): Promise<void> {
  const { rows } = await db.query<{ status: string; attempts: number; count: number }>(
    `select status, attempts, count(*)::int from event_deliveries
     where (status, attempts) <> ('delivered', 1) group by status, attempts`,
  )
  for (const { status, attempts, count } of rows) {
    faults.push(`${count} events are ${status} after ${attempts} attempts`)
  }
}

function startApp(port: number, url: string, verbose: boolean): Promise<Server> {
  return startServer({
    args: [path.join(import.meta.dirname, 'peers/events-app.ts')],
    cwd: import.meta.dirname,
    env: { PORT: String(port) },
    readyUrl: `${url}/taken?count=0`,
    verbose,
  })
}

function administrator(issuer: string, key: string): Ask {
  return async (method, path, body) => {
    const answer = await fetch(`${issuer}/admin/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text.slice(0, 500)}`)
    return text === '' ? undefined : JSON.parse(text)
  }
}
