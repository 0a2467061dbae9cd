import type { Logger } from 'pino'
import { repeatedly, type Worker } from './repeatedly.ts'
import type { Tally } from './tally.ts'

/** Shares what was counted, again and again. Requests do not wait for it, nor fail with it. */
export const startSharing = (
  { tally, log }: { tally: Tally; log: Logger },
  { intervalMs = 1000 } = {},
): Worker =>
  repeatedly(intervalMs, () => tally.share(), {
    failed: (err) => log.warn({ err }, 'rate limits are counted by each replica alone'),
    again: () => log.info('rate limits are counted over all replicas again'),
  })
