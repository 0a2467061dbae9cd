import type { AudienceResource, Row } from '../db/tables.ts'
import { normaliseResource } from '../oauth/uri.ts'

/**
 * What a user allowed one agent at one audience. At most one per triple is live.
 *
 *   active ──spent──▶ consumed          (mode `once`, by the mint that spends it)
 *      ├────time────▶ expired           (told from `expires_at`; the row follows when somebody touches it)
 *      └────ended───▶ revoked           (`end_reason`: user, admin, a revocation's id, or replaced)
 *
 * No state leads back: a delegation that ended stays ended, and a new consent is a new row.
 */
export type Delegation = Row<'delegations'>
export type DelegationStatus = Delegation['status']

/** The status a caller may rely on: an active row whose end has passed is `expired`. */
export function effectiveStatus(
  delegation: Pick<Delegation, 'status' | 'expires_at'>,
  now: Date,
): DelegationStatus {
  const { status, expires_at } = delegation
  return status === 'active' && expires_at !== null && expires_at <= now ? 'expired' : status
}

export type Given = { scopes: readonly string[]; resources: readonly string[] | null }
export type Bounds = {
  entitlement: { scopes: readonly string[]; resources: readonly string[] | null }
  audience: { resources: readonly AudienceResource[] }
}
export type Excess = {
  reason: 'resource_not_registered' | 'resource_not_entitled' | 'scope_not_entitled'
  /** The first scope or resource beyond the bounds. */
  value: string
}

/**
 * What of the given lies beyond entitlement or catalogue, if anything does (rule 2). Resources are compared
 * as TX-11 says; the scopes of a resource that was not given do not count.
 */
export function excess(given: Given, { entitlement, audience }: Bounds): Excess | undefined {
  const named = given.resources?.map(identity)
  const known = audience.resources.filter(
    ({ identifier }) =>
      named === undefined || named.length === 0 || named.includes(identity(identifier)),
  )
  for (const resource of given.resources ?? []) {
    if (!known.some(({ identifier }) => identity(identifier) === identity(resource))) {
      return { reason: 'resource_not_registered', value: resource }
    }
    const entitled =
      entitlement.resources === null ||
      entitlement.resources.some((allowed) => identity(allowed) === identity(resource))
    if (!entitled) return { reason: 'resource_not_entitled', value: resource }
  }
  const catalogue = new Set(known.flatMap(({ scopes }) => scopes.map(({ name }) => name)))
  const beyond = given.scopes.find(
    (scope) => !entitlement.scopes.includes(scope) || !catalogue.has(scope),
  )
  return beyond === undefined ? undefined : { reason: 'scope_not_entitled', value: beyond }
}

/** The audience's own spelling of each resource, once each; those it does not know stay as they are. */
export function spelledByAudience(
  resources: readonly string[],
  audience: Bounds['audience'],
): string[] {
  const spelled = resources.map(
    (resource) =>
      audience.resources.find(({ identifier }) => identity(identifier) === identity(resource))
        ?.identifier ?? resource,
  )
  return [...new Set(spelled)]
}

const identity = (resource: string): string => normaliseResource(resource) ?? resource
