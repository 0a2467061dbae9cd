import { createHash } from 'node:crypto'
import { numericDate } from '../oauth/numeric-date.ts'
import { joinScope } from '../oauth/scope.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { GRANT_CLAIM } from '../sessions/family.ts'
import { type OpenIdProfile, openIdClaims } from '../users/openid-claims.ts'

/** Seconds that an access token for userinfo lives. */
export const ACCESS_TOKEN_LIFETIME = 300

/** One answered grant: whom the tokens speak of, to whom, and since when. */
export type Grant = {
  issuer: string
  client_id: string
  user: OpenIdProfile & { id: string }
  session_id: string
  auth_time: Date
  amr: string[]
  family_id: string
  scope: readonly string[]
  nonce?: string | undefined
  /** Thumbprint of the key that the access token is bound to, where the request proved to hold one. */
  jkt?: string | undefined
}

/**
 * OP-20 and the table of §7.2. `auth_time`, `amr` and `sid` are those of the authentication that began
 * the grant, however often it was refreshed since (TX-28).
 */
export const idTokenClaims = (
  grant: Grant,
  {
    now,
    lifetime,
    alg,
    accessToken,
  }: { now: Date; lifetime: number; alg: SigningAlg; accessToken: string },
) => ({
  iss: grant.issuer,
  sub: grant.user.id,
  aud: grant.client_id,
  iat: numericDate(now),
  exp: numericDate(now) + lifetime,
  auth_time: numericDate(grant.auth_time),
  amr: grant.amr,
  sid: grant.session_id,
  ...(grant.nonce === undefined ? {} : { nonce: grant.nonce }),
  at_hash: leftHalf(HASH[alg], accessToken),
  [GRANT_CLAIM]: grant.family_id,
  ...openIdClaims(grant.user, grant.scope),
})

/** RFC 9068 §2.2 (OP-21), RFC 9449 §6.1. Its audience is this server: it opens userinfo, and what its scope names. */
export const accessTokenClaims = (grant: Grant, { now, jti }: { now: Date; jti: string }) => ({
  iss: grant.issuer,
  sub: grant.user.id,
  aud: grant.issuer,
  client_id: grant.client_id,
  scope: joinScope(grant.scope),
  iat: numericDate(now),
  exp: numericDate(now) + ACCESS_TOKEN_LIFETIME,
  jti,
  ...(grant.jkt === undefined ? {} : { cnf: { jkt: grant.jkt } }),
  [GRANT_CLAIM]: grant.family_id,
})

/** OIDC Core §3.1.3.6: the hash that the ID token is signed with. Ed25519 has SHA-512 inside. */
const HASH: Record<SigningAlg, string> = {
  ES256: 'sha256',
  RS256: 'sha256',
  EdDSA: 'sha512',
  PS256: 'sha256',
  ES384: 'sha384',
}

function leftHalf(algorithm: string, token: string): string {
  const digest = createHash(algorithm).update(token, 'ascii').digest()
  return digest.subarray(0, digest.length / 2).toString('base64url')
}
