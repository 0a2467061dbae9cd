import { createMemory } from './memory.ts'

/**
 * Remembers which events were acted on. Looking and writing are two steps, for what lies between them is the
 * work: of two copies that come at once both may be acted on, which does no harm. Replicas need one that
 * they share.
 */
export type SeenEvents = {
  has(of: { iss: string; jti: string }, now: number): Promise<boolean>
  /** Remembered from `now` until `until`, both NumericDates. */
  add(of: { iss: string; jti: string }, when: { until: number; now: number }): Promise<void>
}

/** For one process: what it remembers ends with it. */
export function createSeenEvents(): SeenEvents {
  const seen = createMemory<true>()
  // By issuer too: none of them can use up the identifiers of another.
  const idOf = ({ iss, jti }: { iss: string; jti: string }) => JSON.stringify([iss, jti])
  return {
    has: async (of, now) => seen.get(idOf(of), now) === true,
    add: async (of, { until }) => seen.set(idOf(of), true, until),
  }
}
