import { createHash } from 'node:crypto'

type Jwk = Record<string, unknown>

/** The members that make the key, in the order that RFC 7638 §3.2 hashes them. */
const MEMBERS: Record<string, readonly string[]> = {
  EC: ['crv', 'kty', 'x', 'y'],
  RSA: ['e', 'kty', 'n'],
}

/** The SHA-256 thumbprint (RFC 7638), which is also the key's `kid` (DS-23). */
export const thumbprint = (jwk: Jwk): string =>
  createHash('sha256')
    .update(JSON.stringify(keyMembers(jwk)))
    .digest('base64url')

/** As the JWKS shows it: the public members, and what the key is for (DS-20). */
export const publicJwk = (jwk: Jwk, alg: string): Jwk => ({
  ...keyMembers(jwk),
  kid: thumbprint(jwk),
  use: 'sig',
  alg,
})

function keyMembers(jwk: Jwk): Jwk {
  const names = MEMBERS[String(jwk.kty)]
  if (!names) throw new TypeError('Not a key of a kind that signs here')
  return Object.fromEntries(names.map((name) => [name, jwk[name]]))
}
