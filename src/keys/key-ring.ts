import type { KeyObject } from 'node:crypto'
import type { Db, KeyPurpose } from '../db/tables.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import type { KeyLife, Step } from './schedule.ts'

export type Signed = { jws: string; kid: string }
type Claims = Record<string, unknown>

/** What the other rooms see of the keys. The private key stays behind `sign`. */
export type KeyRing = {
  /**
   * A compact JWS by the active key of that purpose and algorithm, `typ` and `kid` in its header.
   * @throws when no reading of the keys is recent enough, or the key is out of reach for now.
   */
  sign(purpose: KeyPurpose, alg: SigningAlg, typ: string, claims: object): Promise<Signed>
  /**
   * What to sign with for somebody who registered to get `wanted`. Where that is no longer signed with, or nobody
   * can know its first key yet, it is what every server signs with.
   */
  algFor(purpose: 'id_token' | 'id_jag', wanted: string): SigningAlg
  /** Whether each of these signs by what `db` has now: a replica may have missed a rotation. */
  stillSign(db: Db, kids: readonly string[]): Promise<boolean>
  /**
   * Resolves once what this ring knows is recent enough to be relied on. What verifies asks for it first,
   * for a replica that was stopped for a while does not know the keys that sign by now.
   */
  upToDate(): Promise<void>
  /** The public key, if a token of that purpose signed by it may still be accepted. */
  verificationKey(purpose: KeyPurpose, kid: string): { alg: SigningAlg; key: KeyObject } | undefined
  /** The claims of a token that this server itself signed as that `typ`, with a key for ID tokens. */
  verifyOwn(typ: string, token: string): Promise<Claims | undefined>
  /** Those of an access token of ours for that audience, if it is in time (RFC 9068 §4). */
  verifyAccessToken(audience: string, token: string): Promise<Claims | undefined>
  /** Every key that ever sealed, by `kid` and as `db` has them now: a seal outlives the key it was made with. */
  sealKeys(db: Db): Promise<ReadonlyMap<string, KeyObject>>
  /** The document at `jwks_uri` (DS-20) and its ETag, as last read. */
  jwks(): KeySet
  /** The same, read again first if that was too long ago and the database answers. */
  freshJwks(): Promise<KeySet>
  /** True while there are keys to sign with of each purpose, by ES256 and RS256. */
  ready(): boolean
  /** Reads the keys again, as after a rotation. */
  refresh(): Promise<void>
  /** Every key that is not yet removed, for metrics. */
  figures(): KeyFigures[]
  close(): void
}

/** `stale` while the database cannot be asked whether it still holds; `expired` once nobody may keep it any more. */
export type KeySet = { body: string; etag: string; stale: boolean; expired: boolean }

export type KeyFigures = KeyLife & {
  /** What becomes of it next, and when. */
  next: Step | undefined
  /** Signatures that this process made with it. */
  signatures: number
}
