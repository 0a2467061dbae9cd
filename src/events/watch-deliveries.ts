import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Deps } from '../deps.ts'
import { addSeconds, secondsBetween } from '../oauth/numeric-date.ts'
import type { Attempt } from './deliver.ts'
import { GIVE_UP_AFTER } from './delivery.ts'
import type { Count } from './log-attempt.ts'
import { type Backlog, findBacklog } from './watch-queries.ts'

const WAITING = ['queued', 'failed', 'superseded'] as const

/**
 * What waits is read from the database when scraped, and is the same at every replica; attempts are counted by the
 * process that makes them.
 */
export function watchDeliveries(registry: Registry, deps: Pick<Deps, 'db' | 'now' | 'log'>): Count {
  const registers = [registry]
  const backlog = readOnce(deps)
  new Gauge({
    name: 'event_deliveries',
    help: 'Events that are not delivered, by state',
    labelNames: ['status'],
    registers,
    async collect() {
      const counts = (await backlog())?.counts
      this.reset()
      if (!counts) return
      for (const status of WAITING) this.set({ status }, 0)
      for (const { status, count } of counts) this.set({ status }, count)
    },
  })
  new Gauge({
    name: 'event_oldest_undelivered_seconds',
    help: 'How long the event has waited that was queued first and is not delivered yet',
    registers,
    async collect() {
      const found = await backlog()
      const oldest = found?.oldest
      this.set(oldest ? Math.max(0, secondsBetween(oldest, deps.now())) : found ? 0 : Number.NaN)
    },
  })
  new Gauge({
    name: 'event_failing_audiences',
    help: 'Events that an audience has not taken, of audiences that did not take the last one they were sent',
    labelNames: ['audience_id'],
    registers,
    async collect() {
      const failing = (await backlog())?.failing ?? []
      this.reset()
      for (const { audience_id, count } of failing) this.set({ audience_id }, count)
    },
  })
  const attempts = new Counter({
    name: 'event_attempts_total',
    help: 'Attempts to deliver an event, by what became of the event and what was answered',
    labelNames: ['status', 'answer'],
    registers,
  })
  const acknowledged = new Histogram({
    name: 'event_acknowledgement_seconds',
    help: 'Time from an event being queued to its audience having taken it',
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 14_400, 86_400, 259_200],
    registers,
  })
  return (attempt) => {
    const { event, status, at } = attempt
    attempts.inc({ status, answer: answerOf(attempt) })
    if (status === 'delivered')
      acknowledged.observe(Math.max(0, secondsBetween(event.created_at, at)))
  }
}

/** One reading for all that ask while it is under way. Nothing is said while the database is away. */
function readOnce({ db, now, log }: Pick<Deps, 'db' | 'now' | 'log'>) {
  let reading: Promise<Backlog | undefined> | undefined
  return () => {
    reading ??= findBacklog(db, addSeconds(now(), -GIVE_UP_AFTER))
      .catch((err) => {
        log.warn({ err }, 'the outbox could not be measured')
        return undefined
      })
      .finally(() => {
        reading = undefined
      })
    return reading
  }
}

const ERRORS = [
  'invalid_request',
  'invalid_key',
  'invalid_issuer',
  'invalid_audience',
  'authentication_failed',
  'access_denied',
]

/** A word of a closed set, whatever the audience said. */
function answerOf({ answer: { status, err, failure } = {} }: Attempt): string {
  if (failure !== undefined) return failure
  if (err !== undefined && ERRORS.includes(err)) return err
  return status === undefined ? 'none' : `${Math.floor(status / 100)}xx`
}
