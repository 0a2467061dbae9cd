import { createMemory } from './memory.ts'

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
  const used = createMemory<true>()
  return {
    async firstUse({ iss, jti }, { until, now }) {
      // By issuer too: none of them can use up the identifiers of another.
      const id = JSON.stringify([iss, jti])
      if (used.get(id, now)) return false
      used.set(id, true, until)
      return true
    },
  }
}
