import { recordEvent } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { resealHeaders } from '../streams/reseal-headers.ts'
import { kekId } from './private-key-envelope.ts'
import { provenBy } from './proof.ts'
import { lockKeys, lockPrivateKeys, replacePrivateKey } from './queries.ts'
import { renewProofs } from './renew-proofs.ts'
import type { By } from './rotate.ts'

export type Rewrapped = {
  /** Private keys that are under the newest key encryption key now and were not before. */
  private_keys: number
  /** The same of the proofs that tell keys of this server from others. */
  proofs: number
  /** The same of the headers that receivers of Shared Signals want to see. */
  stream_headers: number
  /** Keys that no value here proves ours, and that stay as they are: somebody else's, or a value is missing. */
  unproven: string[]
  /** Name of the newest key encryption key; every value that does not begin with it may be dropped. */
  key_encryption_key: string
}

/**
 * Puts every private key and every proof, and what else is kept under it, under the newest key encryption key,
 * while the server runs: what was opened stays open, and the other replicas need the newest key at their next
 * start at the latest.
 * @throws {KeyEncryptionError} when something is under a key that is not in KEY_ENCRYPTION_KEY; nothing is changed.
 */
export async function rewrapKeys(
  { db, config, custody, now, keys }: Pick<Deps, 'db' | 'config' | 'custody' | 'now' | 'keys'>,
  by: By,
): Promise<Rewrapped> {
  const keks = config.keyEncryptionKeys ?? []
  const key_encryption_key = kekId(keks[0] as Buffer)
  const stream_headers = await resealHeaders({ db, config })
  const done = await db.transaction().execute(async (tx) => {
    await lockKeys(tx)
    const { renewed, unproven } = await renewProofs(tx, keks)
    const counts = { private_keys: 0, proofs: renewed, stream_headers, unproven }
    for (const { private_key, ...key } of await lockPrivateKeys(tx)) {
      // What somebody else wrote is not made ours by this.
      if (!provenBy(keks, key)) continue
      const held = { ...key, alg: key.alg as SigningAlg, reference: private_key ?? '' }
      const resealed = custody.reseal(held)
      if (resealed === undefined) continue
      await replacePrivateKey(tx, key.kid, resealed)
      counts.private_keys += 1
    }
    const detail = { ...counts, key_encryption_key }
    await recordEvent(tx, { type: 'key.rewrapped', at: now(), detail, ...by })
    return counts
  })
  await keys.refresh()
  return { ...done, key_encryption_key }
}
