import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { DecodedJws, VerificationAlg } from '../oauth/jws.ts'
import { faultOfRsa } from '../oauth/rsa-bounds.ts'
import { rememberPublished } from './published.ts'

/** Somebody's public key, imported, with the one algorithm it may be used with. */
export type PublicKey = { kid: string | undefined; alg: VerificationAlg; key: KeyObject }

/** Undefined for a key that is private, symmetric, out of bounds or of another kind than we verify with. */
export function importKey(jwk: JsonWebKey, kid: string | undefined): PublicKey | undefined {
  const alg = algorithmOf(jwk)
  if (alg === undefined || jwk.d !== undefined) return undefined
  const named = jwk.alg === 'Ed25519' ? 'EdDSA' : jwk.alg
  if (named !== undefined && named !== alg) return undefined
  if (jwk.use !== undefined && jwk.use !== 'sig') return undefined
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    return faultOfRsa(key) ? undefined : { kid, alg, key }
  } catch {
    return undefined
  }
}

function algorithmOf({ kty, crv }: JsonWebKey): VerificationAlg | undefined {
  if (kty === 'EC' && crv === 'P-256') return 'ES256'
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA'
  return kty === 'RSA' ? 'RS256' : undefined
}

/** Keys of one set that are looked at at the most, and of those the ones that one token is tried with. */
const MOST_KEYS = 20
const MOST_TRIED = 4

const documents = rememberPublished('a jwks_uri', keysOf)

/**
 * The keys of a published set that a token with this header may be signed with, fetched by the guarded way
 * out. None when the set cannot be had or has no key that fits: `current` tells the two apart.
 */
export async function findPublishedKeys(
  deps: Parameters<typeof documents>[0],
  uri: string,
  header: DecodedJws['header'],
): Promise<{ keys: PublicKey[]; current: boolean }> {
  const serves = (keys: PublicKey[]) => keysFor(header, keys).length > 0
  const { value = [], current } = await documents(deps, uri, serves)
  return { keys: keysFor(header, value), current }
}

/** Those that a token with this header may be signed with. */
export const keysFor = <Key extends PublicKey>(
  header: DecodedJws['header'],
  keys: readonly Key[],
): Key[] =>
  keys
    .filter(
      ({ alg, kid }) => alg === header.alg && (header.kid === undefined || kid === header.kid),
    )
    .slice(0, MOST_TRIED)

/** The keys of a set that can be used. @throws {TypeError} when it is not a JWKS at all */
export function keysOf(document: Record<string, unknown>): PublicKey[] {
  if (!Array.isArray(document.keys)) throw new TypeError('The document has no list of keys')
  return document.keys.slice(0, MOST_KEYS).flatMap((jwk) => {
    if (typeof jwk !== 'object' || jwk === null) return []
    const kid = typeof jwk.kid === 'string' ? jwk.kid : undefined
    return importKey(jwk, kid) ?? []
  })
}
