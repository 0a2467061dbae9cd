import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Tally } from './tally.ts'

type Surroundings = { tally: Tally; log: Logger }

/** Shares what was counted, again and again. Requests do not wait for it, nor fail with it. */
export function startSharing(
  deps: Surroundings,
  { intervalMs = 1000 }: { intervalMs?: number } = {},
): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const stopped = run(deps, intervalMs, stopping.signal)
  return {
    async stop() {
      stopping.abort()
      await stopped
    },
  }
}

async function run(
  { tally, log }: Surroundings,
  intervalMs: number,
  signal: AbortSignal,
): Promise<void> {
  let failing = false
  while (!signal.aborted) {
    try {
      await tally.share()
      if (failing) log.info('rate limits are counted over all replicas again')
      failing = false
    } catch (error) {
      // Once, not every second.
      if (!failing) log.warn({ err: error }, 'rate limits are counted by each replica alone')
      failing = true
    }
    await pause(intervalMs, undefined, { signal, ref: false }).catch(() => undefined)
  }
}
