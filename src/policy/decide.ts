/**
 * May this agent act for this user there, with which rights, and if not, why (rule 5). Pure: values in,
 * a value out. The exchange, the dry run and the preview ask it; nobody decides beside it.
 *
 *  1. Granted ⊆ asked ∩ delegated ∩ entitled ∩ catalogue, and no more than each actor is permitted.
 *  2. Told ⊆ wanted by the audience ∩ delegated. A user who gave the delegation is asked about the rest.
 *  3. The first thing that is wrong answers, in the order of TX-60: target, scope and details, rules, contact,
 *     consent, freshness.
 *  4. A reason is a value. What the caller is told of it is decided in token/refusals.ts.
 */

import type { Reason } from '../audit/reason.ts'
import type { AuthorizationDetail } from '../oauth/authorization-details.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import { type ClaimName, isAuthMd, isContact, wantedClaims } from '../oauth/profile.ts'
import { parseScope } from '../oauth/scope.ts'
import { shrinkScopes } from './ceiling.ts'
import { decideDelegation, type Permitted } from './delegated.ts'
import { entitledDetails, unknownType, withinCatalogue } from './details.ts'
import { hasEnded } from './ended.ts'
import type {
  AccountFacts,
  ActorFacts,
  AudienceFacts,
  Authentication,
  BlockFacts,
  DelegationFacts,
  EntitlementFacts,
  UserFacts,
} from './facts.ts'
import { decideTarget } from './target.ts'

export type Question = {
  /** Distinct `audience` values of the request. */
  audiences: readonly string[]
  resources: readonly string[]
  scope: string | undefined
  details: readonly AuthorizationDetail[] | 'malformed'
}
export type Knowledge = {
  agent: { client_metadata_url: string | null }
  user: UserFacts
  audience: AudienceFacts | undefined
  entitlement: EntitlementFacts | undefined
  /** The live delegation. It may have passed its end: that is for this function to say. */
  delegation: DelegationFacts | undefined
  account: AccountFacts | undefined
  block: BlockFacts | undefined
  /** Who acts for the agent, newest first. */
  actors: readonly ActorFacts[]
  authentication: Authentication
  /** Thumbprint of the key that the request proved to hold. */
  jkt: string | undefined
  /** Seconds that an ID-JAG may live here at the most. */
  lifetime: number
}

export type Decision =
  | {
      granted: true
      audience: AudienceFacts
      entitlement: EntitlementFacts
      delegation: DelegationFacts
      client_id: string | undefined
      resources: string[]
      scopes: string[]
      details: AuthorizationDetail[]
      claims: ClaimName[]
      /** Seconds. */
      lifetime: number
    }
  /** Nothing is missing but a delegation that the entitlement makes without asking the user. */
  | {
      granted: false
      reason: 'no_delegation'
      policy: EntitlementFacts
      audience: AudienceFacts
      asked: Permitted
    }
  | {
      granted: false
      reason: Reason
      /** Set when the user's consent would help: what to ask for. */
      asked?: Permitted
      audience?: AudienceFacts
      /** What a newer or stronger sign-in would have to be. */
      max_age?: number | undefined
      acr_values?: readonly string[] | undefined
      policy?: undefined
    }

export function decide(question: Question, known: Knowledge, now: Date): Decision {
  const target = decideTarget(question, known, now)
  if ('reason' in target) return { granted: false, ...target }
  const { audience, client_id, resources } = target
  const refuse = (reason: Reason) => ({ granted: false, audience, reason }) as const
  const entitlement = permittedToActors(target.entitlement, known.actors)

  const scopes = decideScopes(question.scope, resources, audience, entitlement)
  if ('reason' in scopes) return refuse(scopes.reason)
  const details = decideDetails(question.details, resources, audience, entitlement)
  if ('reason' in details) return refuse(details.reason)
  const asked: Permitted = { scopes: scopes.permitted, resources, details: details.permitted }
  if (audience.dpop_required && known.jkt === undefined) return refuse('dpop_required')

  if (known.block !== undefined && !hasEnded(known.block, now)) return refuse('denied_by_rule')
  if (known.actors.some(({ permission }) => permission === undefined)) {
    return refuse('actor_not_permitted')
  }
  const tellable = tellableClaims(known.user, audience, known.account)
  if (lacksContact(audience, tellable)) return refuse('unverified_contact')

  const { delegation, authentication } = known
  if (!authentication.live && !isOffline(delegation, now)) return refuse('session_ended')
  const delegated = decideDelegation(asked, { audience, entitlement }, delegation, now)
  if ('reason' in delegated) {
    if (delegated.reason === 'no_delegation' && entitlement.consent === 'admin') {
      const policy = target.entitlement
      return { granted: false, audience, asked, reason: 'no_delegation', policy }
    }
    return { ...refuse(delegated.reason), asked }
  }
  const claims = tellable.filter((claim) => delegated.delegation.claims.includes(claim))
  if (claims.length < tellable.length && delegated.delegation.source === 'user') {
    return { ...refuse('claims_not_delegated'), asked }
  }
  if (lacksContact(audience, claims)) return refuse('unverified_contact')

  const lifetime = Math.min(known.lifetime, audience.id_jag_lifetime ?? known.lifetime)
  const unfit = decideFreshness(authentication, audience, lifetime, now)
  if (unfit !== undefined) return { ...refuse(unfit.reason), ...unfit }
  return {
    granted: true,
    audience,
    entitlement: target.entitlement,
    client_id,
    lifetime,
    claims,
    ...delegated,
  }
}

/** The entitlement as far as every actor is permitted: scopes only shrink (TX-19). */
function permittedToActors(
  entitlement: EntitlementFacts,
  actors: readonly ActorFacts[],
): EntitlementFacts {
  const scopes = entitlement.scopes.filter((scope) =>
    actors.every(({ permission }) => permission?.scopes?.includes(scope) ?? true),
  )
  return { ...entitlement, scopes }
}

/** asked ∩ entitled ∩ catalogue: TX-12, TX-13. */
function decideScopes(
  scope: string | undefined,
  resources: readonly string[],
  audience: AudienceFacts,
  entitlement: EntitlementFacts,
): { permitted: string[] } | { reason: Reason } {
  const asked = scope === undefined ? audience.default_scopes : parseScope(scope)
  if (asked === undefined) return { reason: 'scope_malformed' }
  const permitted = shrinkScopes(asked, entitlement.scopes, audience, resources)
  if (asked.length === 0 || permitted.length > 0) return { permitted }
  const known = shrinkScopes(asked, asked, audience, resources)
  return { reason: known.length === 0 ? 'scope_not_in_catalogue' : 'scope_not_entitled' }
}

/** The same of authorization details (TX-15). One of a type that the audience does not know refuses them all. */
function decideDetails(
  asked: Question['details'],
  resources: readonly string[],
  audience: AudienceFacts,
  entitlement: EntitlementFacts,
): { permitted: AuthorizationDetail[] } | { reason: Reason } {
  if (asked === 'malformed') return { reason: 'details_malformed' }
  if (asked.length === 0) return { permitted: [] }
  if (unknownType(asked, audience) !== undefined) return { reason: 'details_unknown_type' }
  const known = withinCatalogue(asked, audience, resources)
  const permitted = entitledDetails(known, entitlement.authorization_details_types)
  return permitted.length > 0 ? { permitted } : { reason: 'details_not_entitled' }
}

const isOffline = (delegation: DelegationFacts | undefined, now: Date): boolean =>
  delegation?.offline === true && !hasEnded(delegation, now)

/** Whether the sign-in is new enough and strong enough for the audience (TX-50). */
function decideFreshness(
  { auth_time, acr }: Authentication,
  { max_auth_age, acr_values }: AudienceFacts,
  lifetime: number,
  now: Date,
):
  | { reason: Reason; max_age: number | undefined; acr_values: readonly string[] | undefined }
  | undefined {
  const weak = acr_values.length > 0 && !(acr !== null && acr_values.includes(acr))
  // The relying app applies its bound when the ID-JAG is presented, which may be at its end (TX-54).
  const max_age = max_auth_age === null ? undefined : Math.max(0, max_auth_age - lifetime)
  const stale =
    max_age !== undefined &&
    (auth_time === null || numericDate(now) - numericDate(auth_time) > max_age)
  if (!weak && !stale) return undefined
  return {
    reason: weak ? 'weak_authentication' : 'stale_authentication',
    max_age: stale ? max_age : undefined,
    acr_values: weak ? acr_values : undefined,
  }
}

/** What would be told if the user allowed everything: wanted, and there. What nobody verified is not (IJ-07). */
export function tellableClaims(
  user: Pick<UserFacts, 'email' | 'email_verified' | 'phone_number' | 'phone_verified' | 'name'>,
  audience: Pick<AudienceFacts, 'profile' | 'claims'>,
  account: AccountFacts | undefined,
): ClaimName[] {
  const there: Record<ClaimName, boolean> = {
    email: user.email !== null && user.email_verified,
    phone: user.phone_number !== null && user.phone_verified,
    name: user.name !== null,
    tenant: true,
    act: true,
    aud_sub: account !== undefined,
    aud_tenant: account !== undefined && account.aud_tenant !== null,
  }
  return wantedClaims(audience).filter((claim) => there[claim])
}

const lacksContact = ({ profile }: AudienceFacts, claims: readonly ClaimName[]): boolean =>
  isAuthMd(profile) && !claims.some(isContact)
