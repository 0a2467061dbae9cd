import { createClockGate } from '../db/clock.ts'
import type { Deps } from '../deps.ts'
import { createAttempts } from '../events/attempts.ts'
import { repeatedly, type Worker } from '../http/repeatedly.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { listDueStreams, type Push, takeDue } from './event-queries.ts'
import { pushEvent } from './push.ts'
import { watchStreams } from './watch-streams.ts'

/** Milliseconds between two looks for events that are due. */
const EVERY = 1_000
/** Under way at a time: of one replica, and of one stream. */
const MOST = 32
const MOST_OF_ONE = 8
/** Streams that are looked at in one round. */
const MOST_STREAMS = 200
/** Milliseconds for which a clock is believed that was right. */
const CLOCK_HOLDS = 10_000
/** Seconds after which somebody else sends an event that was taken: longer than any attempt takes. */
const TAKEN_FOR = 60

export type Pusher = {
  /** Begins what may begin; returns how many attempts. */
  begin(): Promise<number>
  /** Resolves when nothing is under way. */
  idle(): Promise<void>
}

/**
 * Sends what is due. Each stream has its share, so that one whose endpoint is slow leaves the others their turn;
 * of several replicas whoever takes an event sends it.
 */
export function createPusher(deps: Deps, { most = MOST, mostOfOne = MOST_OF_ONE } = {}): Pusher {
  const attempts = createAttempts(most, mostOfOne)

  const push = (event: Push) =>
    pushEvent(deps, event).catch((error) => {
      const { stream_id, jti } = event
      // It comes again when nobody holds it any more.
      deps.log.warn({ err: error, stream_id, jti }, 'an event was left half done')
      return false
    })

  return {
    async begin() {
      const now = deps.now()
      const waiting = await listDueStreams(deps.db, { now, limit: MOST_STREAMS })
      let begun = 0
      for (const [stream_id, limit] of attempts.allot(waiting)) {
        const until = addSeconds(now, TAKEN_FOR)
        for (const event of await takeDue(deps.db, { stream_id, now, until, limit })) {
          begun += 1
          void attempts.begin(stream_id, () => push(event))
        }
      }
      return begun
    },
    idle: attempts.allEnd,
  }
}

export function startPushing(deps: Deps): Worker {
  const { log } = deps
  watchStreams(deps.metrics.registry, deps)
  const pusher = createPusher(deps)
  // By a wrong clock events would be given up that have days left.
  const requireTime = createClockGate(deps, CLOCK_HOLDS)
  const round = async () => {
    await requireTime()
    await pusher.begin()
  }
  const rounds = repeatedly(EVERY, round, {
    failed: (err) => log.warn({ err }, 'events could not be pushed'),
    again: () => log.info('events are pushed again'),
  })
  return {
    async stop() {
      await rounds.stop()
      await pusher.idle()
    },
  }
}
