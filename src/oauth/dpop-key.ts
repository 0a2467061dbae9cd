import { createPublicKey, type KeyObject } from 'node:crypto'
import { isObject } from './is-object.ts'
import { keyMembers, thumbprint } from './jwk-thumbprint.ts'
import { isKeyFor, type VerificationAlg } from './jws.ts'
import { faultOfRsa } from './rsa-bounds.ts'

// The key that a DPoP proof brings along. It is known to nobody beforehand, so all that can be asked is
// that it is public, of the one kind that its algorithm takes, and written in the one way that gives it
// one thumbprint.

export type DpopKey = { alg: VerificationAlg; jkt: string; key: KeyObject }

/** As the metadata publishes them (`dpop_signing_alg_values_supported`). */
export const DPOP_ALGS: readonly VerificationAlg[] = ['ES256', 'RS256', 'EdDSA']

/** Bits. Less than a registered key may have: a new one may come with each request, and be paid for here. */
const LARGEST_RSA = 4096

/** Any of them means a private or a symmetric key (RFC 7518 §6). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

export function readDpopKey(
  alg: string,
  jwk: unknown,
): DpopKey | { refused: 'wrong_alg' | 'private_key' | 'unusable_key' } {
  const accepted = DPOP_ALGS.find((name) => name === alg)
  if (accepted === undefined) return { refused: 'wrong_alg' }
  if (!isObject(jwk)) return { refused: 'unusable_key' }
  if (PRIVATE_MEMBERS.some((name) => Object.hasOwn(jwk, name))) return { refused: 'private_key' }
  if (!isMeantFor(accepted, jwk)) return { refused: 'unusable_key' }
  try {
    const members = keyMembers(jwk)
    const jkt = thumbprint(jwk)
    const key = remembered.get(jkt) ?? importKey(members)
    const usable = key !== undefined && isKeyFor(accepted, key) && !faultOfRsa(key, LARGEST_RSA)
    return usable ? { alg: accepted, jkt, key } : { refused: 'unusable_key' }
  } catch {
    return { refused: 'unusable_key' }
  }
}

/** Importing a key costs as much as a good part of a verification, and a client keeps its key. */
const MOST_REMEMBERED = 5_000
const remembered = new Map<string, KeyObject>()

/** For keys that have signed something: the others would only push these out. */
export function rememberDpopKey({ jkt, key }: DpopKey): void {
  if (remembered.has(jkt)) return
  if (remembered.size >= MOST_REMEMBERED) {
    remembered.delete(remembered.keys().next().value as string)
  }
  remembered.set(jkt, key)
}

/** What the key says of itself, where it says anything. */
const isMeantFor = (alg: VerificationAlg, jwk: Record<string, unknown>): boolean =>
  (jwk.use === undefined || jwk.use === 'sig') &&
  (jwk.alg === undefined || jwk.alg === alg || (alg === 'EdDSA' && jwk.alg === 'Ed25519'))

/** Undefined where a member could be written otherwise, with padding or a zero in front: node:crypto forgives that. */
function importKey(members: Record<string, unknown>): KeyObject | undefined {
  const key = createPublicKey({ key: members, format: 'jwk' })
  const written: Record<string, unknown> = { ...key.export({ format: 'jwk' }) }
  return Object.entries(members).every(([name, value]) => written[name] === value) ? key : undefined
}
