import { performance } from 'node:perf_hooks'
import { createShares } from './fair-share.ts'

/** Milliseconds: an answer that takes longer keeps others waiting. */
const GOOD_TIME = 2_000

/** Attempts under way in this process. Each party has its share of the room, by how it has answered so far. */
export function createAttempts(most: number, mostOfOne: number) {
  const shares = createShares(most, Math.min(most, mostOfOne))
  const underWay = new Set<Promise<void>>()

  async function follow(party: string, attempt: () => Promise<boolean>): Promise<void> {
    const began = performance.now()
    let answered = false
    try {
      answered = await attempt()
    } finally {
      shares.ended(party, answered && performance.now() - began < GOOD_TIME)
    }
  }

  return {
    allot: shares.allot,
    /**
     * Resolves when the attempt has ended and its place is free.
     * @param attempt whether the party answered, as one that can. It must not reject: what breaks is its own to tell
     */
    begin(party: string, attempt: () => Promise<boolean>): Promise<void> {
      shares.began(party)
      const one = follow(party, attempt).finally(() => underWay.delete(one))
      underWay.add(one)
      return one
    },
    size: () => underWay.size,
    async allEnd(): Promise<void> {
      await Promise.all(underWay)
    },
  }
}
