/**
 * May this agent act for this user there, with which rights, and if not, why (rule 5). Pure: values in,
 * a value out. The exchange, the dry run and the preview ask it; nobody decides beside it.
 *
 *  1. Granted ⊆ asked ∩ delegated ∩ entitled ∩ catalogue.
 *  2. Told ⊆ wanted by the audience ∩ delegated. A user who gave the delegation is asked about the rest.
 *  3. The first thing that is wrong answers, in the order of TX-60: target, scope, contact, consent, freshness.
 *  4. A reason is a value. What the caller is told of it is decided in token/refusals.ts.
 */

import type { Reason } from '../audit/reason.ts'
import type { AudienceResource, Profile } from '../db/tables.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import { type ClaimName, isAuthMd, isContact, wantedClaims } from '../oauth/profile.ts'
import { parseScope } from '../oauth/scope.ts'
import { normaliseResource } from '../oauth/uri.ts'
import { type Asked, allowsResource, registeredResource, shrinkScopes } from './ceiling.ts'

export type AudienceFacts = {
  id: string
  issuer: string
  profile: Profile
  status: 'active' | 'suspended' | 'retired'
  resources: AudienceResource[]
  default_scopes: string[]
  default_resources: string[]
  claims: string[]
  max_auth_age: number | null
  id_jag_lifetime: number | null
  id_jag_signing_alg: string
  version: string
}
export type EntitlementFacts = {
  id: string
  client_id: string | null
  scopes: string[]
  resources: string[] | null
  consent: 'user' | 'admin'
  expires_at: Date | null
  version: string
}
export type DelegationFacts = {
  id: string
  scopes: string[]
  resources: string[] | null
  claims: string[]
  mode: 'once' | 'always'
  source: 'user' | 'admin' | 'policy'
  sub_asserted: string
  expires_at: Date | null
  version: string
}
export type UserFacts = {
  id: string
  tenant_id: string
  status: 'active' | 'suspended' | 'deleted'
  email: string | null
  email_verified: boolean
  phone_number: string | null
  phone_verified: boolean
  name: string | null
  version: string
}

export type Question = {
  /** Distinct `audience` values of the request. */
  audiences: readonly string[]
  resources: readonly string[]
  scope: string | undefined
}
export type Knowledge = {
  user: UserFacts
  audience: AudienceFacts | undefined
  entitlement: EntitlementFacts | undefined
  /** The live delegation. It may have passed its end: that is for this function to say. */
  delegation: DelegationFacts | undefined
  auth_time: Date
  /** Seconds that an ID-JAG may live here at the most. */
  lifetime: number
}

export type Decision =
  | {
      granted: true
      audience: AudienceFacts
      entitlement: EntitlementFacts
      delegation: DelegationFacts
      resources: string[]
      scopes: string[]
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
      asked: Asked
    }
  | {
      granted: false
      reason: Reason
      asked?: Asked
      audience?: AudienceFacts
      max_age?: number
      policy?: undefined
    }

export function decide(question: Question, known: Knowledge, now: Date): Decision {
  const target = decideTarget(question, known, now)
  if ('reason' in target) return { granted: false, ...target }
  const { audience, entitlement, resources } = target

  const scopes = decideScopes(question.scope, resources, audience, entitlement)
  if ('reason' in scopes) return { granted: false, audience, ...scopes }
  const asked: Asked = { scopes: scopes.permitted, resources }

  const tellable = tellableClaims(known.user, audience)
  if (lacksContact(audience, tellable)) {
    return { granted: false, audience, reason: 'unverified_contact' }
  }

  const delegated = decideDelegation(asked, target, known.delegation, now)
  if ('reason' in delegated) {
    if (delegated.reason === 'no_delegation' && entitlement.consent === 'admin') {
      return { granted: false, audience, asked, reason: 'no_delegation', policy: entitlement }
    }
    return { granted: false, audience, asked, reason: delegated.reason }
  }
  const claims = tellable.filter((claim) => delegated.delegation.claims.includes(claim))
  if (claims.length < tellable.length && delegated.delegation.source === 'user') {
    return { granted: false, audience, asked, reason: 'claims_not_delegated' }
  }
  if (lacksContact(audience, claims)) {
    return { granted: false, audience, reason: 'unverified_contact' }
  }

  const lifetime = Math.min(known.lifetime, audience.id_jag_lifetime ?? known.lifetime)
  if (audience.max_auth_age !== null) {
    // The relying app applies its bound when the ID-JAG is presented, which may be at its end (TX-54).
    const max_age = Math.max(0, audience.max_auth_age - lifetime)
    if (numericDate(now) - numericDate(known.auth_time) > max_age) {
      return { granted: false, audience, reason: 'stale_authentication', max_age }
    }
  }
  return { granted: true, audience, entitlement, lifetime, claims, ...delegated }
}

type Bounds = { audience: AudienceFacts; entitlement: EntitlementFacts }
type Target = (Bounds & { resources: string[] }) | { reason: Reason; audience?: AudienceFacts }

/** Audience, entitlement, client mapping and resources: TX-04…TX-11, IJ-41. */
function decideTarget({ audiences, resources }: Question, known: Knowledge, now: Date): Target {
  const { audience, entitlement } = known
  if (audiences.length !== 1) return { reason: 'several_audiences' }
  if (audience === undefined) return { reason: 'unknown_audience' }
  if (audience.status !== 'active') return { reason: 'audience_inactive', audience }
  if (entitlement === undefined || hasEnded(entitlement, now)) {
    return { reason: 'no_entitlement', audience }
  }
  if (!isAuthMd(audience.profile) && entitlement.client_id === null) {
    return { reason: 'no_client_mapping', audience }
  }

  const asked = resources.length > 0 ? resources : defaultResources(audience, entitlement)
  const granted: string[] = []
  for (const resource of asked) {
    const registered =
      normaliseResource(resource) === undefined ? undefined : registeredResource(audience, resource)
    if (registered === undefined) return { reason: 'resource_not_registered', audience }
    if (!allowsResource(entitlement, registered)) {
      return { reason: 'resource_not_entitled', audience }
    }
    if (!granted.includes(registered)) granted.push(registered)
  }
  if (granted.length === 0) {
    const bounded = audience.default_resources.length > 0 || entitlement.resources !== null
    if (bounded) return { reason: 'resource_not_entitled', audience }
    if (audience.profile === 'mcp-ema') return { reason: 'resource_required', audience }
  }
  return { audience, entitlement, resources: granted }
}

/**
 * What a request without `resource` means: the audience's defaults; else, where the entitlement names
 * resources, those, for an ID-JAG without the claim would reach further than anybody allowed.
 */
function defaultResources(
  audience: AudienceFacts,
  entitlement: EntitlementFacts,
): readonly string[] {
  if (audience.default_resources.length > 0) {
    return audience.default_resources.filter((resource) => allowsResource(entitlement, resource))
  }
  return entitlement.resources ?? []
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

/** What of it the user has delegated; refused only when nothing of it has been (GR-04). */
function decideDelegation(
  asked: Asked,
  bounds: Bounds,
  delegation: DelegationFacts | undefined,
  now: Date,
):
  | { delegation: DelegationFacts; scopes: string[]; resources: string[] }
  | {
      reason:
        | 'no_delegation'
        | 'delegation_expired'
        | 'resource_not_delegated'
        | 'scope_not_delegated'
    } {
  if (delegation === undefined) return { reason: 'no_delegation' }
  if (hasEnded(delegation, now)) return { reason: 'delegation_expired' }
  const resources = delegatedResources(asked, bounds, delegation)
  if (resources === undefined) return { reason: 'resource_not_delegated' }
  const scopes = shrinkScopes(asked.scopes, delegation.scopes, bounds.audience, resources)
  if (asked.scopes.length > 0 && scopes.length === 0) return { reason: 'scope_not_delegated' }
  return { delegation, scopes, resources }
}

/**
 * The asked resources that were delegated. Where none was asked, a delegation that names resources still
 * bounds the ID-JAG to them; undefined when nothing is left, which must not come to mean "all".
 */
function delegatedResources(
  asked: Asked,
  { audience, entitlement }: Bounds,
  delegation: DelegationFacts,
): string[] | undefined {
  if (asked.resources.length === 0 && delegation.resources === null) return []
  const candidates =
    asked.resources.length > 0
      ? asked.resources.filter((resource) => allowsResource(delegation, resource))
      : (delegation.resources ?? [])
          .flatMap((resource) => registeredResource(audience, resource) ?? [])
          .filter((resource) => allowsResource(entitlement, resource))
  return candidates.length === 0 ? undefined : [...candidates]
}

/** What would be told if the user allowed everything: wanted, and there. What nobody verified is not (IJ-07). */
export function tellableClaims(
  user: Pick<UserFacts, 'email' | 'email_verified' | 'phone_number' | 'phone_verified' | 'name'>,
  audience: Pick<AudienceFacts, 'profile' | 'claims'>,
): ClaimName[] {
  const there: Record<ClaimName, boolean> = {
    email: user.email !== null && user.email_verified,
    phone: user.phone_number !== null && user.phone_verified,
    name: user.name !== null,
    tenant: true,
    act: true,
  }
  return wantedClaims(audience).filter((claim) => there[claim])
}

const lacksContact = ({ profile }: AudienceFacts, claims: readonly ClaimName[]): boolean =>
  isAuthMd(profile) && !claims.some(isContact)

const hasEnded = ({ expires_at }: { expires_at: Date | null }, now: Date): boolean =>
  expires_at !== null && expires_at <= now
