import { createHash } from 'node:crypto'

type Jwk = Record<string, unknown>

/** The members that make a public key, in the order that RFC 7638 §3.2 hashes them. */
const MEMBERS: Record<string, readonly string[]> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
}

/** The SHA-256 thumbprint (RFC 7638), base64url. @throws {TypeError} for other kinds of keys */
export const thumbprint = (jwk: Jwk): string =>
  createHash('sha256')
    .update(JSON.stringify(keyMembers(jwk)))
    .digest('base64url')

/** Whether this can be one: 32 bytes, written in the one way. */
export const isThumbprint = (value: string): boolean => {
  const bytes = Buffer.from(value, 'base64url')
  return bytes.length === 32 && bytes.toString('base64url') === value
}

/** The key without anything that was said beside it. @throws {TypeError} for other kinds of keys */
export function keyMembers(jwk: Jwk): Jwk {
  const { kty } = jwk
  const names = typeof kty === 'string' && Object.hasOwn(MEMBERS, kty) ? MEMBERS[kty] : undefined
  if (!names) throw new TypeError('Not a key of a kind that signs here')
  return Object.fromEntries(names.map((name) => [name, jwk[name]]))
}
