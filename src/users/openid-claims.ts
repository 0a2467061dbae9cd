import type { Row } from '../db/tables.ts'

export type OpenIdProfile = Pick<
  Row<'users'>,
  'name' | 'email' | 'email_verified_at' | 'phone_number' | 'phone_verified_at'
>

/**
 * The claims of a user that these scopes open (OIDC Core §5.4). Whether a contact was verified is said
 * as it is; an unknown value is left out.
 */
export function openIdClaims(user: OpenIdProfile, scope: readonly string[]) {
  return {
    ...(scope.includes('profile') && user.name !== null ? { name: user.name } : {}),
    ...(scope.includes('email') && user.email !== null
      ? { email: user.email, email_verified: user.email_verified_at !== null }
      : {}),
    ...(scope.includes('phone') && user.phone_number !== null
      ? {
          phone_number: user.phone_number,
          phone_number_verified: user.phone_verified_at !== null,
        }
      : {}),
  }
}
