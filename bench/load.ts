/**
 * The load itself: keeps a number of connections busy with requests for some seconds and measures.
 * It shares the machine with what it measures, so it spends little: sockets rather than an HTTP client.
 * It talks to loopback only, and the process it runs in ends by itself.
 */
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuSeconds, machineCpuSeconds, privateDirtyMb } from './processes.ts'

export interface Load {
  connections: number
  seconds: number
  warmup: number
  serverPid: number
  /** Of none, its time counts as somebody else's. */
  postgresPid?: number
}

export interface Figures {
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
}

export interface Faults {
  errorCount: number
  /** The first few of them. */
  errors: string[]
}

export type Measured = Figures & Faults

/** The request of a turn, word for word, and what to remember of it until its answer is there. */
export type Ask<Asked> = (turn: number, measuring: boolean) => { message: string; asked: Asked }

export interface Loaded<Asked> {
  figures: Figures
  faults: Faults
  /** The first few answers, then one here and there, so that every phase of the run is looked at. */
  samples: { asked: Asked; body: string }[]
  /** Counts one more error, of what a sample turned out to be. */
  fail(error: string): void
}

interface Connection<Asked> {
  socket: net.Socket
  received: Buffer | undefined
  asked: { of: Asked; at: number } | undefined
}

const SAMPLE = 200
const SHOWN_ERRORS = 5
export const MAX_REQUESTS = 2_000_000

/** `expected` is the status that every answer has to have. */
export async function load<Asked>(
  door: URL,
  expected: '200' | '304',
  plan: Load,
  ask: Ask<Asked>,
): Promise<Loaded<Asked>> {
  if (door.hostname !== '127.0.0.1') throw new Error('the bench talks to 127.0.0.1 only')
  setTimeout(() => process.exit(3), (plan.warmup + plan.seconds + 90) * 1000).unref()

  let next = 0
  let measuring = false
  let stopping = false
  const latencies: number[] = []
  const faults: Faults = { errorCount: 0, errors: [] }
  const samples: Loaded<Asked>['samples'] = []

  const connections = Array.from({ length: plan.connections }, connect)
  await sleep(plan.warmup * 1000)
  const figures = await measure()
  stopping = true
  await sleep(200)
  for (const { socket } of connections) socket.destroy()
  return { figures, faults, samples, fail }

  async function measure(): Promise<Figures> {
    const cpuOf = () => ({
      server: cpuSeconds(plan.serverPid),
      postgres: plan.postgresPid === undefined ? 0 : cpuSeconds(plan.postgresPid),
      generator: process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6,
      machine: machineCpuSeconds(),
    })
    const before = cpuOf()
    const from = performance.now()
    measuring = true
    await sleep(plan.seconds * 1000)
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

  function connect(): Connection<Asked> {
    const socket = net.connect({ host: '127.0.0.1', port: Number(door.port), noDelay: true })
    const connection: Connection<Asked> = { socket, received: undefined, asked: undefined }
    socket.on('connect', () => send(connection))
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

  function send(connection: Connection<Asked>): void {
    if (stopping || next >= MAX_REQUESTS) return
    const { message, asked } = ask(next++, measuring)
    connection.received = undefined
    connection.asked = { of: asked, at: performance.now() }
    connection.socket.write(message, 'latin1')
  }

  function receive(connection: Connection<Asked>, chunk: Buffer): void {
    const received = connection.received ? Buffer.concat([connection.received, chunk]) : chunk
    connection.received = received
    const headEnd = received.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    const head = received.toString('latin1', 0, headEnd)
    const status = head.slice(9, 12)
    // Alone of what is answered here, this one has no body and need not say so (RFC 9110 §15.4.5).
    const declared = status === '304' ? ['', '0'] : /\r\ncontent-length: *(\d+)/i.exec(head)
    if (!declared) {
      fail(`an answer without content-length: ${head.slice(0, 300)}`)
      connection.socket.destroy()
      return
    }
    const end = headEnd + 4 + Number(declared[1])
    if (received.length < end) return
    answered(connection, status, received, headEnd + 4)
    send(connection)
  }

  function answered(
    connection: Connection<Asked>,
    status: string,
    received: Buffer,
    bodyAt: number,
  ): void {
    const { asked } = connection
    connection.asked = undefined
    const good = status === expected
    if (!good) fail(`${status} ${received.toString('utf8', bodyAt, bodyAt + 300)}`)
    if (!measuring || !asked) return
    latencies.push(performance.now() - asked.at)
    const due = samples.length < 10 || latencies.length % 61 === 0
    if (due && samples.length < SAMPLE && good) {
      samples.push({ asked: asked.of, body: received.toString('utf8', bodyAt) })
    }
  }

  function fail(error: string): void {
    faults.errorCount++
    if (faults.errors.length < SHOWN_ERRORS) faults.errors.push(error)
  }
}
