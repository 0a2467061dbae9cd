import { type KeyObject, verify } from 'node:crypto'
import { TYP } from '../oauth/names.ts'
import { type SealContent, sameContent, sealHash } from './chain.ts'

/** A seal as it lies in the table, without the names of its members. Hashes in hexadecimal. */
export type StoredSeal = Omit<SealContent, 'position' | 'at'> & {
  position: string
  at: Date
  leaves: Buffer
  kid: string
  signature: string
  hash: string
}

/** The keys that count, by `kid`. */
export type SealKeys = ReadonlyMap<string, KeyObject>

/** Whether its hash is of what it says, and a seal key signed just that. */
export function sealIsGenuine(keys: SealKeys, seal: StoredSeal): boolean {
  const { at, snapshot, cluster, previous_hash, root, row_count } = seal
  // PostgreSQL knows instants that are none here, such as infinity.
  if (!(at instanceof Date) || Number.isNaN(at.getTime())) return false
  const content: SealContent = {
    position: Number(seal.position),
    at: at.toISOString(),
    snapshot,
    cluster,
    previous_hash,
    root,
    row_count,
  }
  if (sealHash(content) !== seal.hash) return false
  const claims = verifiedClaims(keys, seal.kid, seal.signature)
  return claims !== undefined && sameContent(claims, content)
}

/** The payload of a compact JWS of our own making: ES256, our `typ`, the key that the seal names. */
function verifiedClaims(
  keys: SealKeys,
  kid: string,
  jws: string,
): Record<string, unknown> | undefined {
  const key = keys.get(kid)
  const [header, payload, signature, ...more] = jws.split('.')
  if (!key || !header || !payload || !signature || more.length > 0) return undefined
  const given = readPart(header)
  if (given?.alg !== 'ES256' || given.typ !== TYP.seal || given.kid !== kid) return undefined
  const options = { key, dsaEncoding: 'ieee-p1363' } as const
  const signed = Buffer.from(`${header}.${payload}`)
  const genuine = verify('sha256', signed, options, Buffer.from(signature, 'base64url'))
  return genuine ? readPart(payload) : undefined
}

function readPart(part: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
