/** What the profile of a relying app says about its ID-JAGs. */

export const isAuthMd = (profile: string): boolean => profile.startsWith('authmd-')

/** The claims about a user that an app may ask for, beside `sub`. */
const CLAIMS = ['email', 'phone', 'name', 'tenant', 'act', 'aud_sub', 'aud_tenant'] as const
export type ClaimName = (typeof CLAIMS)[number]

export const isContact = (claim: ClaimName): boolean => claim === 'email' || claim === 'phone'

/** What an app wants to be told: what its record lists, and contacts where its profile has them always (IJ-07). */
export const wantedClaims = (app: { profile: string; claims: readonly string[] }): ClaimName[] =>
  CLAIMS.filter(
    (claim) => app.claims.includes(claim) || (isAuthMd(app.profile) && isContact(claim)),
  )
