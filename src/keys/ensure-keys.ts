import type { Deps } from '../deps.ts'
import { type Birth, type MakeKeyPair, makeKeyPair, newKey } from './new-key.ts'
import { KeyEncryptionError, requireKek } from './private-key-envelope.ts'
import { provenBy } from './proof.ts'
import { insertKeys, listSigningKeys, lockKeys } from './queries.ts'
import { KEY_SLOTS } from './schedule.ts'

type Surroundings = Pick<Deps, 'db' | 'now'>

/**
 * Makes what the first start lacks: an active and a next key for each purpose and algorithm. Replicas
 * that start at once wait for one another, and one of them makes the keys.
 * @throws {KeyEncryptionError} when a key that signs, or will, could not be opened or is not ours.
 */
export async function ensureKeys(
  { db, now }: Surroundings,
  keks: Buffer[],
  make: MakeKeyPair = makeKeyPair,
): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await lockKeys(tx)
    const there = (await listSigningKeys(tx)).filter((key) =>
      KEY_SLOTS.some((slot) => isOf(key, slot)),
    )
    for (const key of there) {
      requireKek(keks, key, key.private_key ?? '')
      requireKek(keks, key, key.proof)
      if (provenBy(keks, key)) continue
      throw new KeyEncryptionError(
        `The public key of signing key ${key.kid} (${key.purpose}, ${key.alg}) is not the one it was made with, or this server did not make it`,
      )
    }

    // Nothing was served before, so nothing is cached: these count as published at once.
    const at = now()
    const next: Birth = { status: 'next', created_at: at, published_at: at }
    const active: Birth = { ...next, status: 'active', activated_at: at }
    const missing = KEY_SLOTS.flatMap((slot) =>
      [active, next]
        .filter((birth) => !there.some((key) => isOf(key, slot) && key.status === birth.status))
        .map(async (birth) => newKey(keks, slot, birth, await make(slot.alg))),
    )
    await insertKeys(tx, await Promise.all(missing))
  })
}

const isOf = (key: { purpose: string; alg: string }, slot: { purpose: string; alg: string }) =>
  key.purpose === slot.purpose && key.alg === slot.alg
