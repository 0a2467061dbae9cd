import type { Db } from '../db/tables.ts'
import { kekId } from './private-key-envelope.ts'
import { proveKey, provenBy } from './proof.ts'
import { listPublicKeys, replaceProof } from './queries.ts'

/**
 * Proves every key of ours anew that is proved under an earlier key encryption key: retired keys and old sealing
 * keys need theirs as long as they verify anything. Returns how many, and those that nothing here proves.
 */
export async function renewProofs(
  tx: Db,
  keks: Buffer[],
): Promise<{ renewed: number; unproven: string[] }> {
  const [newest] = keks
  const unproven: string[] = []
  if (!newest) return { renewed: 0, unproven }
  // There are more keys every month, and others wait for this: those under the newest are not even read.
  const earlier = listPublicKeys(tx).where('proof', 'not like', `%.${kekId(newest)}.%`)
  let renewed = 0
  for (const key of await earlier.execute()) {
    if (!provenBy(keks, key)) {
      unproven.push(key.kid)
      continue
    }
    await replaceProof(tx, key.kid, proveKey(keks, key))
    renewed += 1
  }
  return { renewed, unproven }
}
