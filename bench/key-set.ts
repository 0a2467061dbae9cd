/**
 * The key set beside plain Fastify routes that answer the same bytes with the same headers, without a log and
 * with one: the servers run side by side and are loaded in turn, whole answers first, then 304. Then Postgres
 * goes away, in the middle of a load, and the server is measured once more when it knows its key set to be stale.
 */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Measured } from './load.ts'
import { freePorts } from './ports.ts'
import { connectWhenUp, startPostgres } from './postgres.ts'
import { runProgram, type Server, startServer } from './processes.ts'
import type { ReadingPlan } from './reader.ts'
import { agentIdpAt, ROOT, startAgentIdp } from './targets.ts'

export interface Options {
  seconds: number
  warmup: number
  connections: number
  port: number
  verbose: boolean
}

export const READ = ['agent-idp', 'plain', 'plain-log'] as const
/** One load of each. */
export type Beside = Record<(typeof READ)[number], Measured>

export interface KeySetRound {
  keys: number
  bytes: number
  whole: Beside
  unchanged: Beside
  /** While the database goes away. */
  cut: Measured
  /** While it is away. */
  away: Beside
}

interface Reading {
  url: string
  known?: string
  body: string
}

interface Site {
  server: Server
  /** Where it has the document, whole and unchanged. */
  whole: Reading
  unchanged: Reading
}

const HEADERS = ['content-type', 'cache-control', 'etag', 'access-control-allow-origin']
const STALE = /max-age=10\b/

/** Another one of them begins each round, so that none always follows the same neighbour. */
export async function measureKeySet(options: Options, round: number): Promise<KeySetRound> {
  const port = await freePorts(options.port, 4)
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'agent-idp-bench-'))
  const postgres = await startPostgres(port, ROOT)
  const running: Server[] = []
  const keep = async (starting: Promise<Server>) => {
    const server = await starting
    running.push(server)
    return server
  }
  try {
    await (await connectWhenUp(postgres.url('postgres'))).end()
    const env: Record<string, string> = {
      ...agentIdpAt(port + 1, dir),
      DATABASE_URL: postgres.url('postgres'),
      ADMIN_API_KEY: randomBytes(32).toString('base64url'),
      KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    }
    const ours = await keep(startAgentIdp(env, options.verbose))
    const url = `${env.ISSUER}/.well-known/jwks.json`
    const document = await read(url)
    const { body, headers } = document
    const known = headers.etag ?? ''
    const plainSite = async (port: number, LOG: 'on' | 'off'): Promise<Site> => {
      const from = `http://127.0.0.1:${port}`
      const whole = { url: `${from}/document`, body }
      const unchanged = { url: `${from}/unchanged`, known, body: '' }
      const server = await keep(startPlain(port, { LOG, document }, whole.url, options.verbose))
      return { server, whole, unchanged }
    }
    const sites: Record<(typeof READ)[number], Site> = {
      'agent-idp': { server: ours, whole: { url, body }, unchanged: { url, known, body: '' } },
      plain: await plainSite(port + 2, 'off'),
      'plain-log': await plainSite(port + 3, 'on'),
    }

    const { warmup, connections } = options
    const get = async ({ server }: Site, reading: Reading, seconds = options.seconds) => {
      const plan: ReadingPlan = { ...reading, connections, seconds, warmup, serverPid: server.pid }
      return (await runProgram('reader.ts', plan)) as Measured
    }
    const order = READ.map((_, n) => READ[(n + round) % READ.length] as (typeof READ)[number])
    const beside = async (of: 'whole' | 'unchanged') => {
      const measured: Partial<Beside> = {}
      for (const name of order) measured[name] = await get(sites[name], sites[name][of])
      return measured as Beside
    }

    // Until the compiler is done with a server it costs more, and once for all that follows.
    for (const site of Object.values(sites)) await get(site, site.whole, 1)
    const whole = await beside('whole')
    const unchanged = await beside('unchanged')
    const cutting = get(sites['agent-idp'], sites['agent-idp'].whole)
    await sleep((warmup + options.seconds / 2) * 1000)
    await postgres.stop()
    const cut = await cutting
    while (!STALE.test((await read(url)).headers['cache-control'] ?? '')) await sleep(100)
    const away = await beside('whole')
    const { keys } = JSON.parse(body) as { keys: unknown[] }
    return { keys: keys.length, bytes: body.length, whole, unchanged, cut, away }
  } finally {
    for (const server of running) await server.stop()
    await postgres.stop()
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

type Document = { body: string; headers: Record<string, string> }

function startPlain(
  port: number,
  { LOG, document }: { LOG: 'on' | 'off'; document: Document },
  readyUrl: string,
  verbose: boolean,
): Promise<Server> {
  return startServer({
    args: [path.join(import.meta.dirname, 'peers/plain.ts')],
    cwd: import.meta.dirname,
    env: { PORT: String(port), LOG, DOCUMENT: JSON.stringify(document) },
    readyUrl,
    verbose,
  })
}

async function read(url: string): Promise<Document> {
  const answer = await fetch(url)
  const headers = HEADERS.map((name) => [name, answer.headers.get(name) ?? ''])
  return { body: await answer.text(), headers: Object.fromEntries(headers) }
}
