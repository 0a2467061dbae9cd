import { performance } from 'node:perf_hooks'
import { createClockGate } from '../db/clock.ts'
import { listenOn } from '../db/listen.ts'
import { type Connection, openPool, poolConfig } from '../db/pool.ts'
import type { Deps } from '../deps.ts'
import { repeatedly, type Worker } from '../http/repeatedly.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { type Attempt, deliver, type Surroundings } from './deliver.ts'
import { type Claimed, claimDue, listWaiting, makeDue } from './delivery-queries.ts'
import { createShares } from './fair-share.ts'
import { type Count, logAttempt } from './log-attempt.ts'
import { watchDeliveries } from './watch-deliveries.ts'

/** Attempts under way at a time in this process, and at one audience. Each holds a database connection. */
const MOST = 12
const MOST_OF_ONE = 8

/** Seconds after which somebody else may try an event if nothing was heard of an attempt: longer than one takes. */
const ATTEMPT_TAKES = 15

/** Milliseconds: an answer that takes longer keeps others waiting. */
const GOOD_TIME = 2_000

/** Milliseconds between two looks at the outbox when nobody says that there is something in it. */
const EVERY = 1_000

/** Milliseconds that a transaction may hold an event and say nothing: the request it waits for has a limit of its own. */
const HOLDS = 20_000

/** Milliseconds for which a clock is believed that was right. */
const CLOCK_HOLDS = 10_000

export type Rereading = {
  /** Reads again what an audience publishes about itself, and stores what needs no approval. */
  reread?: ((audience_id: string) => Promise<void>) | undefined
}
type Options = Rereading & { count?: Count; most?: number }

/**
 * Delivers what is due, now and as soon as it comes, until stopped: on any number of replicas, each event by one of
 * them. It has connections of its own, since a relying app may take its time.
 */
export function startDelivering(
  deps: Deps,
  {
    connection,
    everyMs = EVERY,
    ...options
  }: Rereading & { connection: Connection; everyMs?: number },
): Worker {
  const { log } = deps
  let stopping = false
  const onIdleError = (error: Error) => {
    if (!stopping) log.warn({ err: error }, 'a database connection was lost')
  }
  const aside = {
    ...poolConfig(connection),
    application_name: 'agent-idp events',
    idle_in_transaction_session_timeout: HOLDS,
  }
  const { db } = openPool(aside, onIdleError, MOST + 1)
  const count = watchDeliveries(deps.metrics.registry, deps)
  const rounds = createRounds({ ...deps, db }, { ...options, count, most: MOST })

  // By a wrong clock events would be given up that have days left.
  const requireTime = createClockGate({ db, now: deps.now }, CLOCK_HOLDS)
  const round = async () => {
    await requireTime()
    await rounds.begin()
  }
  const worker = repeatedly(everyMs, round, {
    failed: (err) => log.error({ err }, 'event.delivery_stopped'),
    again: () => log.info('event.delivery_goes_on'),
  })
  rounds.whenOneEnds(worker.wake)
  const listening = listenOn(connection, 'event_deliveries', {
    heard: worker.wake,
    lost: (err) => log.warn({ err }, 'nobody says when an event is queued: it is looked for'),
  })
  return {
    async stop() {
      stopping = true
      await Promise.all([listening.stop(), worker.stop()])
      await rounds.ended()
      await db.destroy()
    },
  }
}

/** Tries all that is due, and what becomes due by that; resolves when nothing is. For one process and its own clock. */
export async function deliverDue(
  deps: Deps,
  { most = 4, ...options }: Options = {},
): Promise<void> {
  const rounds = createRounds(deps, { ...options, most })
  for (;;) {
    // What ends while it looks may have made something due that it has not seen.
    const idle = rounds.underWay() === 0
    const begun = await rounds.begin()
    if (begun === 0 && idle) break
    if (rounds.underWay() > 0) await rounds.oneEnds()
  }
  if (rounds.failure()) throw rounds.failure()
}

/** Attempts under way in this process, and readings that they asked for. */
function createRounds(deps: Surroundings, { reread, count, most }: Options & { most: number }) {
  const { db, now, log } = deps
  const shares = createShares(most, Math.min(most, MOST_OF_ONE))
  const underWay = new Set<Promise<void>>()
  const readings = new Set<Promise<void>>()
  const rereading = new Map<string, Claimed[]>()
  let told = () => {}
  let failure: unknown

  function brokenOff(err: unknown, { id, audience_id }: Claimed): void {
    // Once, not for each that waits.
    if (failure === undefined) log.error({ err, id, audience_id }, 'event.attempt_broken_off')
    failure = err
  }

  async function follow(claimed: Claimed): Promise<void> {
    const { audience_id } = claimed
    const began = performance.now()
    let inGoodTime = false
    try {
      const attempt = await deliver(deps, claimed)
      failure = undefined
      inGoodTime = !isTrouble(attempt) && performance.now() - began < GOOD_TIME
      if (attempt === undefined) return
      logAttempt(log, count, attempt)
      if (attempt.reread) rereadFor(claimed)
    } catch (err) {
      brokenOff(err, claimed)
    } finally {
      shares.ended(audience_id, inGoodTime)
    }
  }

  /**
   * Reads the metadata of an audience once for all events that ask for it at a time, and then has them tried. No
   * place is taken by it: an app that is slow with its documents would keep the others from their turn.
   */
  function rereadFor(claimed: Claimed): void {
    const { audience_id } = claimed
    const others = rereading.get(audience_id)
    if (others) {
      others.push(claimed)
      return
    }
    const asking = [claimed]
    rereading.set(audience_id, asking)
    const reading = (async () => reread?.(audience_id))()
      .catch((err) => log.warn({ err, audience_id }, 'metadata could not be read again'))
      .then(async () => {
        rereading.delete(audience_id)
        for (const one of asking) await makeDue(db, one)
      })
      .catch((err) => brokenOff(err, claimed))
      .finally(() => {
        readings.delete(reading)
        told()
      })
    readings.add(reading)
  }

  return {
    /** Begins an attempt at what is due, as far as there is room. @returns at how many */
    async begin(): Promise<number> {
      if (underWay.size >= most) return 0
      const wanted = shares.allot(await listWaiting(db, now()))
      if (wanted.size === 0) return 0
      const at = now()
      const claimed = await claimDue(db, { wanted, now: at, until: addSeconds(at, ATTEMPT_TAKES) })
      for (const one of claimed) {
        shares.began(one.audience_id)
        const attempt = follow(one).finally(() => {
          underWay.delete(attempt)
          told()
        })
        underWay.add(attempt)
      }
      return claimed.length
    },
    underWay: () => underWay.size + readings.size,
    oneEnds: () => Promise.race([...underWay, ...readings]),
    failure: () => failure,
    whenOneEnds(tell: () => void) {
      told = tell
    },
    async ended() {
      await Promise.all(underWay)
      await Promise.all(readings)
    },
  }
}

/** It did not answer, or not as one that can. */
const isTrouble = (attempt: Attempt | undefined): boolean => {
  const { status, failure } = attempt?.answer ?? {}
  return failure !== undefined || (status !== undefined && status >= 500)
}
