import type { Deps } from '../deps.ts'
import { repeatedly, type Worker } from '../http/repeatedly.ts'
import { secondsBetween } from '../oauth/numeric-date.ts'
import { wasEndedIn } from './move.ts'
import { seal } from './seal.ts'
import { findBacklog, findLastSeal } from './seal-queries.ts'

type Surroundings = Pick<Deps, 'db' | 'keys' | 'now' | 'log' | 'metrics'>

/** Seals behind the writes, on every replica: whichever comes first does it. */
export const startSealer = (deps: Surroundings, { intervalMs = 1000 } = {}): Worker =>
  repeatedly(intervalMs, () => sealIfDue(deps), {
    // The lag is a metric.
    failed: (err) => deps.log.error({ err }, 'audit.seal_failed'),
    again: () => deps.log.info('audit.sealing_again'),
  })

/** An idle second costs two reads and no write. */
export async function sealIfDue(deps: Surroundings): Promise<void> {
  const last = await findLastSeal(deps.db)
  const backlog = await findBacklog(deps.db, last)
  const age = backlog.oldest ? secondsBetween(backlog.oldest, deps.now()) : 0
  deps.metrics.unsealed(backlog.rows, Math.max(0, age))
  const moved = last !== undefined && last.cluster !== backlog.here
  if (backlog.rows === 0 && !moved) return
  if (moved && !(await wasEndedIn(deps.db, backlog.here))) {
    deps.log.warn(
      { from: last.cluster, to: backlog.here },
      'audit.moved: the log was sealed in another database cluster. If this is a restored backup, what ended after it was made is live again: stop every server and run npm run after-restore',
    )
  }
  for (const { position, hash } of await seal(deps)) {
    deps.log.info({ position, hash }, 'audit.sealed')
  }
}
