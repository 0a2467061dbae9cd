import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Row } from '../db/tables.ts'
import { deriveKey, KeyEncryptionError, kekId } from './private-key-envelope.ts'
import { publicJwk, thumbprint } from './public-jwk.ts'

// What tells a signing key of ours from a row that somebody wrote: a MAC under a key that the database does
// not hold, as `v1.<id of the key encryption key>.<MAC>`. A row without one is as good as not there: it is
// not published, verifies nothing and does not sign.
//
// It covers what a key is and what for, which never changes, and so outlives the private key. It does not
// cover the status, which does: whoever may update the table can still bring a key of ours back, or end it.

type ProvenKey = Pick<Row<'signing_keys'>, 'kid' | 'purpose' | 'alg' | 'public_jwk' | 'proof'>

const VERSION = 'v1'

/** Under the newest, that is the first, of the key encryption keys. */
export function proveKey(keks: Buffer[], key: Omit<ProvenKey, 'proof'>): string {
  const [newest] = keks
  if (!newest) throw new KeyEncryptionError('KEY_ENCRYPTION_KEY is not set')
  return [VERSION, kekId(newest), macOf(newest, key).toString('base64url')].join('.')
}

/** The key encryption key under which this one was proved; undefined if it is not ours. */
export function provenBy(keks: Buffer[], key: ProvenKey): Buffer | undefined {
  if (!isNamedByThumbprint(key)) return undefined
  const [version, id, mac = ''] = key.proof.split('.')
  const kek = version === VERSION ? keks.find((candidate) => kekId(candidate) === id) : undefined
  if (!kek) return undefined
  const [given, expected] = [Buffer.from(mac, 'base64url'), macOf(kek, key)]
  return given.length === expected.length && timingSafeEqual(given, expected) ? kek : undefined
}

/** The name of the key encryption key in `v1.<name>.…`. */
export const kekIn = (value: string): string | undefined => value.split('.')[1]

/** Whether the public key is the one that the `kid` names. */
export function isNamedByThumbprint({
  kid,
  public_jwk,
}: Pick<ProvenKey, 'kid' | 'public_jwk'>): boolean {
  try {
    return thumbprint(public_jwk) === kid
  } catch {
    return false
  }
}

const macOf = (kek: Buffer, { kid, purpose, alg, public_jwk }: Omit<ProvenKey, 'proof'>) =>
  createHmac('sha256', deriveKey(kek, 'agent-idp signing key proof'))
    .update([kid, purpose, alg, JSON.stringify(publicJwk(public_jwk, alg))].join('|'))
    .digest()
