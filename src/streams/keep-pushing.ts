import { createClockGate } from '../db/clock.ts'
import type { Deps } from '../deps.ts'
import { createShares } from '../events/fair-share.ts'
import { repeatedly, type Worker } from '../http/repeatedly.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { listDueStreams, takeDue } from './event-queries.ts'
import { pushEvent } from './push.ts'
import { watchStreams } from './watch-streams.ts'

/** Milliseconds between two looks for events that are due. */
const EVERY = 1_000
/** Under way at a time: of one replica, and of one stream. */
const MOST = 32
const MOST_OF_ONE = 8
/** Streams that are looked at in one round. */
const MOST_STREAMS = 200
/** Milliseconds: an answer that takes longer keeps others waiting. */
const GOOD_TIME = 2_000
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
  const shares = createShares(most, mostOfOne)
  const underWay = new Set<Promise<void>>()

  async function begin(): Promise<number> {
    const now = deps.now()
    const waiting = await listDueStreams(deps.db, { now, limit: MOST_STREAMS })
    let begun = 0
    for (const [stream_id, limit] of shares.allot(waiting)) {
      const until = addSeconds(now, TAKEN_FOR)
      for (const event of await takeDue(deps.db, { stream_id, now, until, limit })) {
        begun += 1
        shares.began(stream_id)
        const begunAt = performance.now()
        const attempt = pushEvent(deps, event)
          .catch((error) => {
            // It comes again when nobody holds it any more.
            deps.log.warn({ err: error, stream_id, jti: event.jti }, 'an event was left half done')
            return false
          })
          .then((answered) => {
            shares.ended(stream_id, answered && performance.now() - begunAt < GOOD_TIME)
            underWay.delete(attempt)
          })
        underWay.add(attempt)
      }
    }
    return begun
  }

  return {
    begin,
    async idle() {
      await Promise.all(underWay)
    },
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

/** Sends what is due now, until nothing is. Returns how many attempts it took. */
export async function pushDue(deps: Deps): Promise<number> {
  const pusher = createPusher(deps)
  for (let attempts = 0; ; ) {
    const begun = await pusher.begin()
    await pusher.idle()
    if (begun === 0) return attempts
    attempts += begun
  }
}
