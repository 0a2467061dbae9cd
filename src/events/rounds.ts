import { addSeconds } from '../oauth/numeric-date.ts'
import { createAttempts } from './attempts.ts'
import { type Attempt, deliver, type Surroundings } from './deliver.ts'
import { type Claimed, claimDue, listWaiting, makeDue, type Party } from './delivery-queries.ts'
import { giveUpOverdue } from './give-up.ts'
import { type Count, logAttempt } from './log-attempt.ts'

/** Attempts under way at a time at one party. */
const MOST_OF_ONE = 8

/** Seconds after which somebody else may try an event if nothing was heard of an attempt: longer than one takes. */
const ATTEMPT_TAKES = 15

export type Rereading = {
  /** Reads again what an audience publishes about itself, and stores what needs no approval. */
  reread?: ((audience_id: string) => Promise<void>) | undefined
}
/** `most`: attempts under way at a time. */
export type Options = Rereading & { count?: Count; most: number }

/** Looks for what is due and begins it: attempts, and the readings that they ask for. */
export function createRounds(deps: Surroundings, { reread, count, most }: Options) {
  const { db, now, log } = deps
  const attempts = createAttempts(most, MOST_OF_ONE)
  const readings = new Set<Promise<void>>()
  const rereading = new Map<string, Claimed[]>()
  let told = () => {}
  let failure: unknown

  function brokenOff(err: unknown, { id, audience_id }: Claimed): void {
    // Once, not for each that waits.
    if (failure === undefined) log.error({ err, id, audience_id }, 'event.attempt_broken_off')
    failure = err
  }

  async function follow(claimed: Claimed): Promise<boolean> {
    try {
      const attempt = await deliver(deps, claimed)
      failure = undefined
      if (attempt !== undefined) logAttempt(log, count, attempt)
      if (attempt?.reread) rereadFor(claimed)
      if (attempt && isTrouble(attempt) && !isOurs(attempt))
        await giveUpOverdue(deps, attempt.event)
      return !isTrouble(attempt)
    } catch (err) {
      brokenOff(err, claimed)
      return false
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
      if (attempts.size() >= most) return 0
      const waiting = new Map((await listWaiting(db, now())).map((one) => [nameOf(one), one]))
      const wanted = [...attempts.allot([...waiting.keys()])].flatMap(([name, most]) => {
        const party = waiting.get(name)
        return party ? [{ ...party, most }] : []
      })
      if (wanted.length === 0) return 0
      const at = now()
      const claimed = await claimDue(db, { wanted, now: at, until: addSeconds(at, ATTEMPT_TAKES) })
      for (const one of claimed) {
        void attempts.begin(nameOf(one), () => follow(one)).then(() => told())
      }
      return claimed.length
    },
    underWay: () => attempts.size() + readings.size,
    /** What broke off the last attempt, if it did not get to its end. */
    failure: () => failure,
    whenOneEnds(tell: () => void) {
      told = tell
    },
    async allEnd(): Promise<void> {
      await attempts.allEnd()
      await Promise.all(readings)
    },
  }
}

const nameOf = ({ audience_id, aud, dialect }: Party) => `${audience_id} ${dialect} ${aud}`

/** Nothing was sent, for want of a key. */
const isOurs = (attempt: Attempt | undefined): boolean => attempt?.answer?.failure === 'not_signed'

/** It did not answer, or not as one that can. */
const isTrouble = (attempt: Attempt | undefined): boolean => {
  const { status, failure } = attempt?.answer ?? {}
  return failure !== undefined || (status !== undefined && status >= 500)
}
