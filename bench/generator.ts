/**
 * One load run: reads a plan from standard input, keeps a number of connections busy with exchanges for some
 * seconds, verifies a sample of the answers as the relying app would, and prints what it measured.
 *
 * It shares the machine with what it measures, so it spends little: sockets rather than an HTTP client,
 * assertions signed before the first request. It talks to loopback only, and ends by itself.
 */
import type { KeyObject } from 'node:crypto'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Case, exchangeForm, type Fixture, ID_JAG } from './fixture.ts'
import {
  assertionHeader,
  clientAssertion,
  dpopHeader,
  dpopProof,
  type Jwk,
  privateKeyOf,
  publicKeyOf,
  readJwt,
  signatureHolds,
} from './jwt.ts'
import { cpuSeconds, machineCpuSeconds, privateDirtyMb } from './processes.ts'

export interface Plan {
  fixture: Fixture
  connections: number
  seconds: number
  warmup: number
  serverPid: number
  postgresPid: number
}

export interface Measured {
  requests: number
  seconds: number
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  maxMs: number
  /** CPU microseconds per request. */
  cpu: { server: number; postgres: number; generator: number }
  /** Cores that something outside this run, or the kernel on nobody's account, kept busy. */
  coresElsewhere: number
  loadedMb: number
  /** Should be 0: assertions that had to be signed while measuring. */
  signedLate: number
  verified: number
  errors: string[]
  errorCount: number
}

interface Exchange {
  of: Case
  key: KeyObject
  assertionHeader: string
  dpopHeader: string
  head: string
  form: string
}

interface Connection {
  socket: net.Socket
  received: Buffer | undefined
  asked: Exchange | undefined
  askedAt: number
}

const SAMPLE = 200
const SHOWN_ERRORS = 5
const MAX_REQUESTS = 2_000_000

const plan: Plan = JSON.parse(await text(process.stdin))
const { fixture } = plan
const door = new URL(fixture.token_endpoint)
if (door.hostname !== '127.0.0.1') throw new Error('the bench talks to 127.0.0.1 only')
setTimeout(() => process.exit(3), (plan.warmup + plan.seconds + 90) * 1000).unref()

const exchanges = fixture.cases.map(prepare)
const assertions = signAhead(sign)
// Proofs are good for a minute after they were made, which a run is shorter than.
const proofs = fixture.dpop ? signAhead(prove) : undefined
let next = 0
let signedLate = 0

let measuring = false
let stopping = false
let latencies: number[] = []
let errorCount = 0
const errors: string[] = []
const samples: { of: Case; body: string }[] = []

const connections = Array.from({ length: plan.connections }, connect)
await sleep(plan.warmup * 1000)
const measured = await measure(plan.seconds)
stopping = true
await sleep(200)
for (const { socket } of connections) socket.destroy()
const verified = await verifySamples()
process.stdout.write(JSON.stringify({ ...measured, signedLate, verified, errors, errorCount }))
process.exit()

async function measure(seconds: number) {
  const cpuOf = () => ({
    server: cpuSeconds(plan.serverPid),
    postgres: cpuSeconds(plan.postgresPid),
    generator: process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6,
    machine: machineCpuSeconds(),
  })
  const before = cpuOf()
  const from = performance.now()
  latencies = []
  signedLate = 0
  measuring = true
  await sleep(seconds * 1000)
  measuring = false
  const elapsed = (performance.now() - from) / 1000
  const after = cpuOf()

  const requests = latencies.length
  const sorted = Float64Array.from(latencies).sort()
  const quantile = (q: number) => sorted[Math.min(requests - 1, Math.floor(q * requests))] ?? NaN
  const spent = (who: keyof typeof before) => after[who] - before[who]
  const perRequest = (who: keyof typeof before) => (spent(who) * 1e6) / requests
  const ours = spent('server') + spent('postgres') + spent('generator')
  return {
    requests,
    seconds: elapsed,
    requestsPerSecond: requests / elapsed,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    maxMs: quantile(1),
    cpu: {
      server: perRequest('server'),
      postgres: perRequest('postgres'),
      generator: perRequest('generator'),
    },
    coresElsewhere: Math.max(0, spent('machine') - ours) / elapsed,
    loadedMb: privateDirtyMb(plan.serverPid),
  }
}

function prepare(of: Case): Exchange {
  const head = [
    `POST ${door.pathname} HTTP/1.1`,
    `host: ${door.host}`,
    'accept: application/json',
    'content-type: application/x-www-form-urlencoded',
    'content-length: ',
  ]
  return {
    of,
    key: privateKeyOf(of.jwk),
    assertionHeader: assertionHeader(of.jwk),
    dpopHeader: dpopHeader(of.jwk),
    head: head.join('\r\n'),
    form: exchangeForm(of),
  }
}

function signAhead(one: (exchange: Exchange) => string): string[] {
  const count = Math.min(MAX_REQUESTS, fixture.expected_rps * (plan.warmup + plan.seconds) * 1.25)
  return Array.from({ length: Math.ceil(count) }, (_, i) => one(exchangeAt(i)))
}

function exchangeAt(turn: number): Exchange {
  return exchanges[turn % exchanges.length] as Exchange
}

function sign({ of, key, assertionHeader }: Exchange): string {
  return clientAssertion(assertionHeader, of.client_id, fixture.assertion_audience, key)
}

function prove({ key, dpopHeader }: Exchange): string {
  return dpopProof(dpopHeader, fixture.token_endpoint, key)
}

function connect(): Connection {
  const socket = net.connect({ host: '127.0.0.1', port: Number(door.port), noDelay: true })
  const connection: Connection = { socket, received: undefined, asked: undefined, askedAt: 0 }
  socket.on('connect', () => ask(connection))
  socket.on('data', (chunk) => receive(connection, chunk))
  socket.on('error', () => {})
  socket.on('close', () => {
    if (stopping) return
    if (connection.asked) fail('connection lost')
    setTimeout(() => {
      if (!stopping) connections.push(connect())
    }, 50)
  })
  return connection
}

function ask(connection: Connection): void {
  if (stopping || next >= MAX_REQUESTS) return
  const turn = next++
  const exchange = exchangeAt(turn)
  let assertion = assertions[turn]
  if (assertion === undefined) {
    signedLate++
    assertion = sign(exchange)
  }
  const length = exchange.form.length + assertion.length
  const head = proofs
    ? `${exchange.head}${length}\r\ndpop: ${proofs[turn] ?? prove(exchange)}`
    : `${exchange.head}${length}`
  connection.received = undefined
  connection.asked = exchange
  connection.askedAt = performance.now()
  connection.socket.write(`${head}\r\n\r\n${exchange.form}${assertion}`, 'latin1')
}

function receive(connection: Connection, chunk: Buffer): void {
  const received = connection.received ? Buffer.concat([connection.received, chunk]) : chunk
  connection.received = received
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return
  const head = received.toString('latin1', 0, headEnd)
  const declared = /\r\ncontent-length: *(\d+)/i.exec(head)
  if (!declared) {
    fail(`an answer without content-length: ${head.slice(0, 300)}`)
    connection.socket.destroy()
    return
  }
  const end = headEnd + 4 + Number(declared[1])
  if (received.length < end) return
  answered(connection, head.slice(9, 12), received, headEnd + 4)
  ask(connection)
}

function answered(connection: Connection, status: string, received: Buffer, bodyAt: number): void {
  const { asked, askedAt } = connection
  connection.asked = undefined
  if (status !== '200') fail(`${status} ${received.toString('utf8', bodyAt, bodyAt + 300)}`)
  if (!measuring || !asked) return
  latencies.push(performance.now() - askedAt)
  // the first few, then one here and there, so that every phase of the run is looked at
  const due = samples.length < 10 || latencies.length % 61 === 0
  if (due && samples.length < SAMPLE && status === '200') {
    samples.push({ of: asked.of, body: received.toString('utf8', bodyAt) })
  }
}

function fail(error: string): void {
  errorCount++
  if (errors.length < SHOWN_ERRORS) errors.push(error)
}

/** Judges each sampled answer with the published keys; what does not hold is an error of the run. */
async function verifySamples(): Promise<number> {
  const { keys } = (await (await fetch(fixture.jwks_uri)).json()) as { keys: Jwk[] }
  const published = new Map(keys.map((jwk) => [jwk.kid, jwk]))
  const seen = new Set<unknown>()
  let verified = 0
  for (const { of, body } of samples) {
    try {
      const fault = faultOf(of, JSON.parse(body), published, seen)
      if (fault) fail(`a sampled answer: ${fault}`)
      else verified++
    } catch (error) {
      fail(`a sampled answer: ${error instanceof Error ? error.message : error}`)
    }
  }
  return verified
}

function faultOf(
  of: Case,
  answer: Record<string, unknown>,
  published: Map<string, Jwk>,
  seen: Set<unknown>,
): string | undefined {
  if (answer.issued_token_type !== ID_JAG || answer.token_type !== 'N_A') return 'token type'
  const idJag = String(answer.access_token)
  const { header, claims } = readJwt(idJag)
  const jwk = published.get(String(header.kid))
  if (!jwk) return 'kid not published'
  if (header.alg !== 'ES256' || header.typ !== 'oauth-id-jag+jwt') return 'header'
  if (!signatureHolds(idJag, publicKeyOf(jwk))) return 'signature'
  if (claims.iss !== fixture.issuer || claims.aud !== of.audience) return 'iss or aud'
  const subject = readJwt(of.subject_token).claims.sub
  if (claims.sub !== subject || !claims.client_id) return 'sub or client_id'
  if (!sameWords(claims.scope, of.scope) || !sameWords(answer.scope, of.scope)) return 'scope'
  if ([claims.resource].flat().join() !== of.resource) return 'resource'
  if ((fixture.dpop === true) !== (claims.cnf !== undefined)) return 'cnf'
  const now = Date.now() / 1000
  if (!(Number(claims.exp) > now) || Number(claims.exp) > now + 3600) return 'exp'
  if (!claims.jti || seen.has(claims.jti)) return 'jti'
  seen.add(claims.jti)
  return undefined
}

function sameWords(one: unknown, other: string): boolean {
  return String(one).split(' ').sort().join() === other.split(' ').sort().join()
}
