import type { Db } from '../db/tables.ts'
import { proveKey, provenBy } from './proof.ts'
import { listPublicKeys, replaceProof } from './queries.ts'

/**
 * Proves every key of ours anew that is proved under an earlier key encryption key: retired keys and old sealing
 * keys need theirs as long as they verify anything. Returns how many.
 */
export async function renewProofs(tx: Db, keks: Buffer[]): Promise<number> {
  let renewed = 0
  for (const key of await listPublicKeys(tx).execute()) {
    const kek = provenBy(keks, key)
    if (!kek || kek === keks[0]) continue
    await replaceProof(tx, key.kid, proveKey(keks, key))
    renewed += 1
  }
  return renewed
}
