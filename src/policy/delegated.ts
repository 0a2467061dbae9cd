import type { AuthorizationDetail } from '../oauth/authorization-details.ts'
import { type Asked, allowsResource, registeredResource, shrinkScopes } from './ceiling.ts'
import { shrinkDetails } from './details.ts'
import { hasEnded } from './ended.ts'
import type { AudienceFacts, DelegationFacts, EntitlementFacts } from './facts.ts'

/** What is asked for, within entitlement and catalogue. */
export type Permitted = Asked & { details: readonly AuthorizationDetail[] }

export type Delegated = {
  delegation: DelegationFacts
  scopes: string[]
  resources: string[]
  details: AuthorizationDetail[]
}
export type NotDelegated = {
  reason:
    | 'no_delegation'
    | 'delegation_expired'
    | 'resource_not_delegated'
    | 'scope_not_delegated'
    | 'details_not_delegated'
}
type Bounds = { audience: AudienceFacts; entitlement: EntitlementFacts }

/**
 * What of it the user has delegated; refused when nothing of it has been (GR-04). Details are asked for as
 * such: a user who gave scopes alone is asked about them, for an answer without would look like a grant.
 */
export function decideDelegation(
  asked: Permitted,
  bounds: Bounds,
  delegation: DelegationFacts | undefined,
  now: Date,
): Delegated | NotDelegated {
  if (delegation === undefined) return { reason: 'no_delegation' }
  if (hasEnded(delegation, now)) return { reason: 'delegation_expired' }
  const resources = delegatedResources(asked, bounds, delegation)
  if (resources === undefined) return { reason: 'resource_not_delegated' }
  const scopes = shrinkScopes(asked.scopes, delegation.scopes, bounds.audience, resources)
  if (asked.scopes.length > 0 && scopes.length === 0) return { reason: 'scope_not_delegated' }
  const { authorization_details } = delegation
  const details = shrinkDetails(asked.details, authorization_details, bounds.audience, resources)
  if (asked.details.length > 0 && details.length === 0) return { reason: 'details_not_delegated' }
  return { delegation, scopes, resources, details }
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
