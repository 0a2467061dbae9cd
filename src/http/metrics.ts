import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** What is counted. Label values come from closed sets: never an id, a URL or a scope. */
export type Metrics = {
  issued(profile: string): void
  refused(error: string, reason: string): void
  /** Seconds that one request took, by route pattern and status. */
  answered(method: string, route: string, status: number, seconds: number): void
  /** Rows of the audit log that no seal closes yet, and the age of the oldest in seconds. */
  unsealed(rows: number, oldestAge: number): void
  /** Where rooms put what they measure when it is asked for. */
  registry: Registry
  /** The document that Prometheus scrapes, and its content type. */
  expose(): Promise<{ contentType: string; body: string }>
}

type PoolCounts = { totalCount: number; idleCount: number; waitingCount: number }

/** A registry of its own, so that several servers in one process do not share counts. */
export function createMetrics({
  pool,
  hot,
}: {
  pool: PoolCounts
  hot?: PoolCounts | undefined
}): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const issuances = new Counter({
    name: 'issuances_total',
    help: 'ID-JAGs issued',
    labelNames: ['profile'],
    registers,
  })
  const refusals = new Counter({
    name: 'refusals_total',
    help: 'Requests refused, by the code told (sign_in for a sign-in, page for a page) and the true reason',
    labelNames: ['error', 'reason'],
    registers,
  })
  const durations = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time to answer a request',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers,
  })
  const unsealedRows = new Gauge({
    name: 'audit_unsealed_rows',
    help: 'Rows of the audit log under no seal yet',
    registers,
  })
  const unsealedAge = new Gauge({
    name: 'audit_unsealed_oldest_seconds',
    help: 'Age of the oldest row of the audit log under no seal yet',
    registers,
  })
  watchPools(registers, { pool, ...(hot && { hot }) })
  watchProcess(registers)

  // Finding a label's child costs more than counting with it.
  const issued = remember((profile) => issuances.labels(profile))
  const refused = remember((error) => remember((reason) => refusals.labels(error, reason)))
  const answered = remember((route) =>
    remember((method) => remember((status) => durations.labels(method, route, status))),
  )
  return {
    registry,
    issued: (profile) => issued(profile).inc(),
    refused: (error, reason) => refused(error)(reason).inc(),
    answered: (method, route, status, seconds) =>
      answered(route)(method)(statusClass(status)).observe(seconds),
    unsealed: (rows, oldestAge) => {
      unsealedRows.set(rows)
      unsealedAge.set(oldestAge)
    },
    expose: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  }
}

const statusClass = (status: number) => `${Math.floor(status / 100)}xx`

function remember<Value>(make: (key: string) => Value): (key: string) => Value {
  const made = new Map<string, Value>()
  return (key) => {
    let value = made.get(key)
    if (value === undefined) {
      value = make(key)
      made.set(key, value)
    }
    return value
  }
}

function watchPools(registers: Registry[], pools: Record<string, PoolCounts>): void {
  new Gauge({
    name: 'pg_pool_connections',
    help: 'Database connections of a pool, and callers waiting for one',
    labelNames: ['pool', 'state'],
    registers,
    collect() {
      for (const [name, { totalCount, idleCount, waitingCount }] of Object.entries(pools)) {
        this.set({ pool: name, state: 'total' }, totalCount)
        this.set({ pool: name, state: 'idle' }, idleCount)
        this.set({ pool: name, state: 'waiting' }, waitingCount)
      }
    },
  })
}

/** Read when scraped; what is told is about the time since the scrape before. */
function watchProcess(registers: Registry[]): void {
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  new Gauge({
    name: 'nodejs_eventloop_lag_seconds',
    help: 'Delay of the event loop beyond its timer',
    labelNames: ['quantile'],
    registers,
    collect() {
      for (const quantile of [50, 99]) {
        const beyond = delay.count === 0 ? 0 : delay.percentile(quantile) / 1e9 - 0.02
        this.set({ quantile: String(quantile / 100) }, Math.max(0, beyond))
      }
      delay.reset()
    },
  })
  let before = performance.eventLoopUtilization()
  new Gauge({
    name: 'nodejs_eventloop_utilization',
    help: 'Share of the time that the event loop was busy',
    registers,
    collect() {
      const now = performance.eventLoopUtilization()
      this.set(performance.eventLoopUtilization(now, before).utilization)
      before = now
    },
  })
  new Gauge({
    name: 'process_memory_bytes',
    help: 'Memory of the process',
    labelNames: ['kind'],
    registers,
    collect() {
      const { rss, heapUsed, heapTotal, external } = process.memoryUsage()
      this.set({ kind: 'resident' }, rss)
      this.set({ kind: 'heap_used' }, heapUsed)
      this.set({ kind: 'heap_total' }, heapTotal)
      this.set({ kind: 'external' }, external)
    },
  })
  new Gauge({
    name: 'process_cpu_seconds_total',
    help: 'Processor time used, user and system',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.set((user + system) / 1e6)
    },
  })
}
