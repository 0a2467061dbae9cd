import { SKEW } from './times.ts'

/**
 * Remembers which ID-JAGs were presented (IJ-56). Replicas need one that they share, and it has to look and
 * write in one step: `SET key 1 NX EX …` in Redis, `insert … on conflict do nothing` in SQL.
 */
export type ReplayStore = {
  /** True the first time; remembered from `now` until `until`, both NumericDates. */
  firstUse(of: { iss: string; jti: string }, when: { until: number; now: number }): Promise<boolean>
}

/** For one process: what it remembers ends with it. */
export function createReplayStore(): ReplayStore {
  const ends = new Map<string, number>()
  let sweptAt = Number.NEGATIVE_INFINITY
  const sweep = (now: number) => {
    if (now < sweptAt + SKEW) return
    sweptAt = now
    for (const [id, end] of ends) if (end <= now) ends.delete(id)
  }
  return {
    async firstUse({ iss, jti }, { until, now }) {
      sweep(now)
      // By issuer too: none of them can use up the identifiers of another.
      const id = JSON.stringify([iss, jti])
      if (ends.has(id)) return false
      ends.set(id, until)
      return true
    },
  }
}
