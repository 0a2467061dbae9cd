/**
 * How many attempts are under way at a time, all in all and for each party, so that one that is slow or does not
 * answer leaves the others their turn.
 *
 * A party begins with a few at a time. Each answer in good time gives it one more, trouble leaves it one. And
 * those in trouble never have more than half of all places, however many they are.
 */
export type Shares = {
  /** How many of each party may begin now, of those that wait: the one that waits longest first. */
  allot(waiting: readonly string[]): Map<string, number>
  began(party: string): void
  ended(party: string, inGoodTime: boolean): void
}

type Share = { underWay: number; window: number; troubled: boolean }

const AT_FIRST = 2

export function createShares(most: number, mostOfOne: number): Shares {
  const shares = new Map<string, Share>()
  const find = (party: string): Share =>
    shares.get(party) ?? { underWay: 0, window: Math.min(AT_FIRST, mostOfOne), troubled: false }

  const sum = (of: (share: Share) => boolean) =>
    [...shares.values()].filter(of).reduce((total, { underWay }) => total + underWay, 0)

  return {
    allot(waiting) {
      let free = most - sum(() => true)
      let freeForTroubled = Math.max(1, Math.floor(most / 2)) - sum(({ troubled }) => troubled)
      const allotted = new Map<string, number>()
      const occupied = (party: string) => find(party).underWay + (allotted.get(party) ?? 0)
      const open = (party: string) =>
        occupied(party) < find(party).window && (freeForTroubled > 0 || !find(party).troubled)
      while (free > 0) {
        const next = waiting.filter(open).reduce<string | undefined>(
          // The one with the fewest, and of several the first.
          (best, one) => (best === undefined || occupied(one) < occupied(best) ? one : best),
          undefined,
        )
        if (next === undefined) break
        allotted.set(next, (allotted.get(next) ?? 0) + 1)
        free -= 1
        if (find(next).troubled) freeForTroubled -= 1
      }
      return allotted
    },
    began(party) {
      const share = find(party)
      shares.set(party, { ...share, underWay: share.underWay + 1 })
    },
    ended(party, inGoodTime) {
      const { underWay, window } = find(party)
      shares.set(party, {
        underWay: underWay - 1,
        window: inGoodTime ? Math.min(window + 1, mostOfOne) : 1,
        troubled: !inGoodTime,
      })
    },
  }
}
