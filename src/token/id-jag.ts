import type { AgentFacts } from '../agents/authenticate.ts'
import { TYP } from '../oauth/names.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import { type ClaimName, isAuthMd } from '../oauth/profile.ts'
import { joinScope } from '../oauth/scope.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import type { Decision } from '../policy/decide.ts'
import type { AccountFacts, ActorFacts, UserFacts } from '../policy/facts.ts'
import type { Subject } from './subject.ts'

type Granted = Extract<Decision, { granted: true }>
type Tells = (claim: ClaimName) => boolean

/** Strings that an agent may have copied into ID-JAGs for auth.md audiences, to correlate by; never to decide by. */
export type Correlation = {
  agent_platform?: string | undefined
  agent_context_id?: string | undefined
}

/** What the request proved beside its subject. */
export type Proved = {
  agent: Pick<AgentFacts, 'id'>
  /** Newest first. */
  actors: readonly Pick<ActorFacts, 'id'>[]
  /** Thumbprint of the key whose proof came with the request. */
  jkt: string | undefined
}

/** Bytes that a compact ID-JAG may have at the most (IJ-17). */
export const LARGEST_ID_JAG = 8 * 1024

/** Whether it is the details, which are the agent's to choose, that made an ID-JAG too large. */
export const tooLarge = ({ details }: Pick<Granted, 'details'>) =>
  details.length > 0 ? 'details_too_large' : 'id_jag_too_large'

/** Bytes of the compact ID-JAG of these claims, which nobody has to sign for it. */
export function sizeOfIdJag(alg: SigningAlg, claims: object): number {
  const header = { typ: TYP.idJag, kid: 'x'.repeat(KID_LENGTH), alg }
  const parts = [header, claims].map((part) => Buffer.byteLength(JSON.stringify(part)))
  return [...parts, SIGNATURE_BYTES[alg]].reduce(
    (size, bytes) => size + 1 + Math.ceil((bytes * 4) / 3),
    -1,
  )
}

/** Characters of a thumbprint. */
const KID_LENGTH = 43
/** Of the keys that this server makes. */
const SIGNATURE_BYTES: Record<SigningAlg, number> = {
  ES256: 64,
  RS256: 256,
  EdDSA: 64,
  PS256: 256,
  ES384: 96,
}

/**
 * The claims of one ID-JAG: granted values only (TX-14), registered strings only, read from the database
 * and never from the request (TX-20, TX-25); of the user, what the decision says and no more (IJ-09).
 */
export function idJagClaims(
  issuer: string,
  proved: Proved,
  subject: Subject,
  account: AccountFacts | undefined,
  decision: Granted,
  correlation: Correlation,
  jti: string,
  now: Date,
): Record<string, unknown> {
  const { audience, client_id, delegation, resources, scopes, details, claims, lifetime } = decision
  const authMd = isAuthMd(audience.profile)
  const iat = numericDate(now)
  const tells: Tells = (claim) => claims.includes(claim)
  const { user, auth_time, amr, acr } = subject
  return {
    iss: issuer,
    sub: delegation.sub_asserted,
    aud: audience.issuer,
    client_id: authMd ? `${issuer}/agent-provider.json` : client_id,
    jti,
    iat,
    exp: iat + lifetime,
    // The clock of the replica that saw the sign-in may be ahead of this one's (IJ-08).
    ...(auth_time !== null && { auth_time: Math.min(numericDate(auth_time), iat) }),
    ...(amr.length > 0 && { amr }),
    ...(acr !== null && !authMd && { acr }),
    ...(resources.length > 0 && { resource: resources.length === 1 ? resources[0] : resources }),
    ...(scopes.length > 0 && { scope: joinScope(scopes) }),
    ...(details.length > 0 && { authorization_details: details }),
    ...contactClaims(user, authMd, tells),
    ...(tells('name') && { name: user.name }),
    ...(tells('tenant') && { tenant: user.tenant_id }),
    ...accountClaims(account, tells),
    ...actorClaims(proved, audience.event_names_agent || tells('act')),
    ...(proved.jkt !== undefined && { cnf: { jkt: proved.jkt } }),
    ...(authMd && given(correlation)),
  }
}

/**
 * Addresses, which the decision names when they are verified alone; auth.md audiences get the flag as JSON
 * `true` (IJ-07).
 */
const contactClaims = (user: UserFacts, authMd: boolean, tells: Tells) => ({
  ...(tells('email') && { email: user.email, ...(authMd && { email_verified: true }) }),
  ...(tells('phone') && {
    phone_number: user.phone_number,
    ...(authMd && { phone_number_verified: true }),
  }),
})

/** Of the account that an administrator entered (IJ-36). */
const accountClaims = (account: AccountFacts | undefined, tells: Tells) => ({
  ...(tells('aud_sub') && { aud_sub: account?.aud_sub }),
  ...(tells('aud_tenant') && { aud_tenant: account?.aud_tenant }),
})

/**
 * Who acts, newest outermost (IJ-12). The agent alone is told to audiences that ask, or that are told of the end of
 * one agent; that somebody acts for it, always: without the claim it would look as if the agent itself came.
 */
function actorClaims({ agent, actors }: Proved, agentToo: boolean) {
  if (actors.length === 0 && !agentToo) return {}
  const chain = [...actors, agent]
  return {
    act: chain.reduceRight<object | undefined>(
      (act, { id }) => ({ sub: id, ...(act && { act }) }),
      undefined,
    ),
  }
}

const given = (values: Record<string, string | undefined>) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
