import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import { invalid } from '../http/problem.ts'
import { faultOfRsa } from '../oauth/rsa-bounds.ts'

/** A key as it is kept: the members that make it, written the one canonical way, and its name. */
export type PublicJwk = { kid: string; jwk: Record<string, unknown> }

/** Any of them means a private or a symmetric key (RFC 7518 §6). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/**
 * Reads a public key that someone registers.
 * @throws {ProblemError} `validation_failed`, which never quotes the key
 */
export async function readPublicJwk(
  pointer: string,
  given: Record<string, unknown>,
): Promise<PublicJwk> {
  const secret = PRIVATE_MEMBERS.find((name) => Object.hasOwn(given, name))
  if (secret !== undefined) {
    throw invalid(`${pointer}/${secret}`, 'is part of a private key: send the public key alone')
  }
  const alg = algorithmOf(given)
  if (alg === undefined) throw invalid(pointer, 'must be an EC P-256, RSA or Ed25519 key')
  if (given.alg !== undefined && !alg.includes(String(given.alg))) {
    throw invalid(`${pointer}/alg`, `must be ${alg[0]} for this kind of key`)
  }
  if (given.use !== undefined && given.use !== 'sig') {
    throw invalid(`${pointer}/use`, 'must be sig')
  }
  const key = importKey(pointer, given)
  const odd = faultOfRsa(key)
  if (odd) throw invalid(`${pointer}/${odd.member}`, odd.fault)
  const jwk = key.export({ format: 'jwk' })
  const kid = given.kid ?? (await calculateJwkThumbprint(jwk))
  if (typeof kid !== 'string' || kid === '') throw invalid(`${pointer}/kid`, 'must be a text')
  return { kid, jwk: { ...jwk, kid } }
}

/** The names that the one algorithm for this kind of key goes by. */
function algorithmOf({ kty, crv }: Record<string, unknown>): string[] | undefined {
  if (kty === 'EC' && crv === 'P-256') return ['ES256']
  if (kty === 'OKP' && crv === 'Ed25519') return ['EdDSA', 'Ed25519']
  return kty === 'RSA' ? ['RS256'] : undefined
}

function importKey(pointer: string, given: Record<string, unknown>): KeyObject {
  const { kty, crv, x, y, n, e } = given
  try {
    return createPublicKey({ key: { kty, crv, x, y, n, e } as JsonWebKey, format: 'jwk' })
  } catch {
    // The error of the crypto library says nothing that an administrator could use.
    throw invalid(pointer, 'is not a key that can be read: check its members')
  }
}
