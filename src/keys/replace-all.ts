import type { Transaction } from 'kysely'
import { recordEvents } from '../audit/record.ts'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { KeyRing } from './key-ring.ts'
import { type Birth, bearKeys, confirmBirth, type NewKey, withNewKeys } from './new-key.ts'
import { openKeyRing } from './open-key-ring.ts'
import { clearAllKeys, compromiseAllKeys, holdSigningKeys } from './replace-queries.ts'
import { slotsOf } from './schedule.ts'

export type Surroundings = Pick<Deps, 'db' | 'config' | 'now' | 'custody' | 'log'>
export type FreshKeys = readonly (NewKey & Birth)[]

/**
 * Makes an active and a next key for every purpose and algorithm, for work that puts them in the place of all
 * the others. If that fails, they are destroyed.
 */
export async function withFreshKeys(
  deps: Surroundings,
  work: (fresh: FreshKeys) => Promise<void>,
): Promise<void> {
  const wanted = slotsOf(deps.config.signingAlgs).flatMap((slot) =>
    (['active', 'next'] as const).map((status) => ({ ...slot, status })),
  )
  const born = await withNewKeys(deps, wanted, async (made) => {
    await work(made.map((key, index) => ({ ...key, status: wanted[index]?.status ?? 'next' })))
    return made
  })
  await confirmBirth(deps, born)
}

/**
 * Drops every key there is, whatever it was for and wherever its private part is, and puts fresh ones in their
 * place; none of the old ones is opened, for it may be gone. Sealing keys too: their public halves go on verifying
 * the seals they made. Whoever asks ends what rests on all of them in the same transaction, and so none is left
 * to be cleared.
 *
 * Until the transaction ends nobody else reads the keys: a server that starts meanwhile waits.
 * @returns a ring that signs with the fresh keys, inside this transaction alone, and how many were dropped
 */
export async function replaceKeys(
  tx: Transaction<Tables>,
  deps: Surroundings,
  fresh: FreshKeys,
  reason: string,
): Promise<{ keys: KeyRing; dropped: number }> {
  await holdSigningKeys(tx)
  const at = deps.now()
  const dropped = await compromiseAllKeys(tx, { at, reason })
  await clearAllKeys(tx, at)
  await recordEvents(
    tx,
    dropped.map((detail) => ({ type: 'key.compromised', at, actor: { kind: 'system' }, detail })),
  )
  await bearKeys(tx, deps, fresh)
  // It has none to make: no clock is asked for.
  const inside = { ...deps, db: tx, clockSkew: async () => 0 }
  return { keys: await openKeyRing(inside, false), dropped: dropped.length }
}
