import { keyMembers, thumbprint } from '../oauth/jwk-thumbprint.ts'

type Jwk = Record<string, unknown>

// A key's thumbprint is also its `kid` (DS-23).
export { thumbprint }

/** As the JWKS shows it: the public members, and what the key is for (DS-20). */
export const publicJwk = (jwk: Jwk, alg: string): Jwk => ({
  ...keyMembers(jwk),
  kid: thumbprint(jwk),
  use: 'sig',
  alg,
})
