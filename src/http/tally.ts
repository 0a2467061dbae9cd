/**
 * Requests counted in minutes of the clock, so that all replicas mean the same minute. A replica counts in
 * memory, for a statement at each request would cost more than the limit is worth, and shares what it counted
 * through the table `rate_limits`, in one statement now and then.
 *
 *  1. A replica alone never lets more through than the budget. What it refuses is neither counted nor shared.
 *  2. What it has counted of a key is shared once a fiftieth of the budget has gathered. So R replicas exceed a
 *     budget by less than R - 1 times that fiftieth and what one of them lets through between two calls of `share`.
 *  3. What cannot be shared is shared later; until then each replica goes by its own count.
 *
 * rate-limiter-flexible, which counts failures (rate-limit.ts), begins a window at the first use of each key, so that the
 * counts of replicas could not be added up, and in memory holds a timer for each key, of as many as strangers think of.
 */
import type pg from 'pg'
import type { Budget } from './budgets.ts'
import type { Exceeded } from './rate-limit.ts'
import { isSpent, isWorthSharing, MINUTE, newCount, type RequestCount } from './request-count.ts'
import { addCounts } from './share-counts.ts'

export type Tally = {
  /** Counts a request; undefined while within the budget. */
  take(budget: Budget, key: string): Exceeded | undefined
  /** Takes one back: it did not come from whom it was counted for. */
  giveBack(budget: Budget, key: string): void
  /** Tells the other replicas what was counted here, and learns what they counted of the same keys. One call at a time. */
  share(): Promise<void>
}

type Surroundings = { pool: pg.Pool; config: { rateLimits: boolean }; now: () => Date }

/**
 * Keys of one budget that are counted in a minute. Who has more addresses than that is not held back by a
 * limit for each of them, and memory ends somewhere: those that come later are let through.
 */
export const MOST_KEYS = 100_000

export function createTally({ pool, config, now }: Surroundings): Tally {
  if (!config.rateLimits) return UNLIMITED
  let minute = 0
  let counts = new Map<string, Map<string, RequestCount>>()
  let due: RequestCount[] = []

  /** @returns milliseconds until the minute ends. */
  function turnTo(at: number): number {
    const current = Math.floor(at / MINUTE)
    if (current !== minute) {
      minute = current
      counts = new Map()
      due = []
    }
    return (current + 1) * MINUTE - at
  }

  function find(budget: Budget, key: string): RequestCount | undefined {
    let keys = counts.get(budget.name)
    if (keys === undefined) {
      keys = new Map()
      counts.set(budget.name, keys)
    }
    const known = keys.get(key)
    if (known !== undefined || keys.size >= MOST_KEYS) return known
    const count = newCount(budget, key)
    keys.set(key, count)
    return count
  }

  function put(count: RequestCount): void {
    if (count.due || !isWorthSharing(count)) return
    count.due = true
    due.push(count)
  }

  async function share(): Promise<void> {
    turnTo(now().getTime())
    const of = minute
    for (const count of due) count.due = false
    const telling = due
      .filter(isWorthSharing)
      .map((count) => ({ count, points: count.taken - count.shared }))
    due = []
    if (telling.length === 0) return
    for (const { count, points } of telling) count.shared += points
    try {
      const totals = await addCounts(pool, of, telling)
      for (const [at, { count }] of telling.entries()) {
        count.elsewhere = (totals[at] ?? 0) - count.shared
      }
    } catch (error) {
      for (const { count, points } of telling) {
        count.shared -= points
        if (of === minute) put(count)
      }
      throw error
    }
  }

  return {
    take(budget, key) {
      const left = turnTo(now().getTime())
      const count = find(budget, key)
      if (count === undefined) return undefined
      if (isSpent(count)) {
        const first = !count.refused
        count.refused = true
        return { retryAfter: Math.ceil(left / 1000), first }
      }
      count.taken += 1
      put(count)
      return undefined
    },
    giveBack(budget, key) {
      turnTo(now().getTime())
      const count = counts.get(budget.name)?.get(key)
      if (count !== undefined && count.taken > 0) count.taken -= 1
    },
    share,
  }
}

const UNLIMITED: Tally = {
  take: () => undefined,
  giveBack: () => undefined,
  share: async () => undefined,
}
