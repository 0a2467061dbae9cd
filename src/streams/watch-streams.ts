import { Gauge, type Registry } from 'prom-client'
import type { Deps } from '../deps.ts'
import { secondsBetween } from '../oauth/numeric-date.ts'
import { countStreams, type StreamCount } from './stream-queries.ts'

/** Read from the database when scraped, and the same at every replica. */
export function watchStreams(
  registry: Registry,
  { db, now, log }: Pick<Deps, 'db' | 'now' | 'log'>,
): void {
  const registers = [registry]
  const labelNames = ['method', 'status'] as const
  const read = async (): Promise<StreamCount[]> => {
    try {
      return await countStreams(db)
    } catch (error) {
      // Nothing is said while the database is away.
      log.warn({ err: error }, 'streams could not be counted')
      return []
    }
  }
  const gauge = (name: string, help: string, of: (count: StreamCount) => number) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      async collect() {
        const counts = await read()
        this.reset()
        for (const count of counts) {
          this.set({ method: count.method, status: count.status }, of(count))
        }
      },
    })
  gauge('ssf_streams', 'Streams of Shared Signals', ({ streams }) => streams)
  gauge('ssf_events_waiting', 'Events on streams that nobody has taken', ({ waiting }) => waiting)
  gauge(
    'ssf_oldest_event_seconds',
    'How long the event has waited that was queued first of those that nobody has taken',
    ({ oldest }) => (oldest ? Math.max(0, secondsBetween(oldest, now())) : 0),
  )
}
