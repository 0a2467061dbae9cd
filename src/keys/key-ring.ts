import type { KeyObject } from 'node:crypto'
import type { Db, KeyPurpose } from '../db/tables.ts'

export type SigningAlg = 'ES256' | 'RS256'
export const SIGNING_ALGS: readonly SigningAlg[] = ['ES256', 'RS256']

/** What the other rooms see of the keys. The private key stays behind `sign`. */
export type KeyRing = {
  /** A compact JWS by the active key of that purpose and algorithm, `typ` and `kid` in its header. */
  sign(
    purpose: KeyPurpose,
    alg: SigningAlg,
    typ: string,
    claims: object,
  ): Promise<{ jws: string; kid: string }>
  /** The public key, if a token of that purpose signed by it may still be accepted. */
  verificationKey(purpose: KeyPurpose, kid: string): { alg: SigningAlg; key: KeyObject } | undefined
  /** Every key that ever sealed, by `kid` and as `db` has them now: a seal outlives the key it was made with. */
  sealKeys(db: Db): Promise<ReadonlyMap<string, KeyObject>>
  /** The document at `jwks_uri` (DS-20) and its ETag. */
  jwks(): { body: string; etag: string }
  /** True once there is an active key of each algorithm and purpose. */
  ready(): boolean
  /** Reads the keys again, as after a rotation. */
  refresh(): Promise<void>
  close(): void
}
