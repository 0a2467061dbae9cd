import { Counter, Gauge, type Registry } from 'prom-client'
import type { Deps } from '../deps.ts'
import { countAwaitingApproval } from './discovery-queries.ts'

export type CountReading = (outcome: 'same' | 'moved' | 'change' | 'failed') => void

/** What awaits approval is read from the database when scraped; readings are counted by who reads. */
export function watchDiscoveries(
  registry: Registry,
  { db, log }: Pick<Deps, 'db' | 'log'>,
): CountReading {
  const registers = [registry]
  new Gauge({
    name: 'audiences_awaiting_approval',
    help: 'Audiences whose documents say something that nobody has approved',
    registers,
    async collect() {
      const count = await countAwaitingApproval(db).catch((err) => {
        log.warn({ err }, 'audience.awaiting_uncounted')
        return Number.NaN
      })
      this.set(count)
    },
  })
  const readings = new Counter({
    name: 'audience_document_readings_total',
    help: 'Times that the documents of an audience were read again, by what came of it',
    labelNames: ['outcome'],
    registers,
  })
  return (outcome) => readings.inc({ outcome })
}
