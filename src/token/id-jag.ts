import type { AgentFacts } from '../agents/authenticate.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import { type ClaimName, isAuthMd } from '../oauth/profile.ts'
import { joinScope } from '../oauth/scope.ts'
import type { Decision, UserFacts } from '../policy/decide.ts'
import type { Subject } from './subject.ts'

type Granted = Extract<Decision, { granted: true }>

/** Strings that an agent may have copied into ID-JAGs for auth.md audiences, to correlate by; never to decide by. */
export type Correlation = {
  agent_platform?: string | undefined
  agent_context_id?: string | undefined
}

/** Bytes that a compact ID-JAG may have at the most (IJ-17). */
export const LARGEST_ID_JAG = 8 * 1024

/**
 * The claims of one ID-JAG: granted values only (TX-14), registered strings only, read from the database
 * and never from the request (TX-20, TX-25); of the user, what the decision says and no more (IJ-09).
 */
export function idJagClaims(
  issuer: string,
  agent: AgentFacts,
  { user, session }: Subject,
  { audience, entitlement, delegation, resources, scopes, claims, lifetime }: Granted,
  correlation: Correlation,
  jti: string,
  now: Date,
): Record<string, unknown> {
  const authMd = isAuthMd(audience.profile)
  const iat = numericDate(now)
  const tells = (claim: ClaimName) => claims.includes(claim)
  return {
    iss: issuer,
    sub: delegation.sub_asserted,
    aud: audience.issuer,
    client_id: authMd ? `${issuer}/agent-provider.json` : entitlement.client_id,
    jti,
    iat,
    exp: iat + lifetime,
    auth_time: numericDate(session.auth_time),
    ...(session.amr.length > 0 && { amr: session.amr }),
    ...(resources.length > 0 && { resource: resources.length === 1 ? resources[0] : resources }),
    ...(scopes.length > 0 && { scope: joinScope(scopes) }),
    ...contactClaims(user, authMd, tells),
    ...(tells('name') && { name: user.name }),
    ...(tells('tenant') && { tenant: user.tenant_id }),
    ...(tells('act') && { act: { sub: agent.id } }),
    ...(authMd && given(correlation)),
  }
}

/** Addresses, which the decision names when they are verified alone; auth.md audiences get the flag as JSON `true` (IJ-07). */
const contactClaims = (user: UserFacts, authMd: boolean, tells: (claim: ClaimName) => boolean) => ({
  ...(tells('email') && { email: user.email, ...(authMd && { email_verified: true }) }),
  ...(tells('phone') && {
    phone_number: user.phone_number,
    ...(authMd && { phone_number_verified: true }),
  }),
})

const given = (values: Record<string, string | undefined>) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
