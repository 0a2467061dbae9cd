import { createMemory } from './memory.ts'
import { type Basis, type Revocation, reaches } from './revocation.ts'

/**
 * Remembers what was revoked, for as long as an ID-JAG of before may still be presented: it would bring back
 * what the event has ended. Replicas need one that they share.
 */
export type RevocationStore = {
  /** Remembered from `now` until `until`, both NumericDates. */
  add(revocation: Revocation, when: { until: number; now: number }): Promise<void>
  /** All that are remembered of this user of this issuer, whichever agent they name. */
  list(of: { iss: string; sub: string }, now: number): Promise<readonly Revocation[]>
}

/** For one process: what it remembers ends with it. */
export function createRevocationStore(): RevocationStore {
  const users = createMemory<{ revocation: Revocation; until: number }[]>()
  const idOf = ({ iss, sub }: { iss: string; sub: string }) => JSON.stringify([iss, sub])
  const find = (id: string, now: number) =>
    (users.get(id, now) ?? []).filter(({ until }) => until > now)
  return {
    async add(revocation, { until, now }) {
      const id = idOf(revocation)
      const all = [...find(id, now), { revocation, until }]
      users.set(id, all, Math.max(...all.map((one) => one.until)))
    },
    list: async (of, now) => find(idOf(of), now).map(({ revocation }) => revocation),
  }
}

/** Whether what this ID-JAG allows was revoked since it was made. */
export const isRevoked = async (
  basis: Basis,
  revocations: RevocationStore,
  now: number,
): Promise<boolean> =>
  (await revocations.list(basis, now)).some((revocation) => reaches(revocation, basis))
