import type { AudienceResource } from '../db/tables.ts'
import type { AuthorizationDetail } from '../oauth/authorization-details.ts'
import { normaliseResource } from '../oauth/uri.ts'

export type Given = {
  scopes: readonly string[]
  resources: readonly string[] | null
  authorization_details: readonly AuthorizationDetail[]
}
export type Bounds = {
  entitlement: {
    scopes: readonly string[]
    resources: readonly string[] | null
    authorization_details_types: readonly string[] | null
  }
  audience: { resources: readonly AudienceResource[] }
}
/** The first of what was given that lies beyond the bounds. */
export type Excess =
  | { reason: 'resource_not_registered' | 'resource_not_entitled'; member: 'resources'; at: number }
  | { reason: 'scope_not_entitled'; member: 'scopes'; at: number }
  | {
      reason: 'details_unknown_type' | 'details_not_entitled' | 'details_elsewhere'
      member: 'authorization_details'
      at: number
    }

/**
 * What of the given lies beyond entitlement or catalogue, if anything does (rule 2). Resources are compared
 * as TX-11 says; the scopes and types of a resource that was not given do not count.
 */
export function excess(given: Given, { entitlement, audience }: Bounds): Excess | undefined {
  const named = given.resources?.map(identity)
  const known = audience.resources.filter(
    ({ identifier }) =>
      named === undefined || named.length === 0 || named.includes(identity(identifier)),
  )
  for (const [at, resource] of (given.resources ?? []).entries()) {
    const member = 'resources'
    if (!isAmong(resource, known)) return { reason: 'resource_not_registered', member, at }
    if (!lets(entitlement, resource)) return { reason: 'resource_not_entitled', member, at }
  }
  const catalogue = new Set(known.flatMap(({ scopes }) => scopes.map(({ name }) => name)))
  const beyond = given.scopes.findIndex(
    (scope) => !entitlement.scopes.includes(scope) || !catalogue.has(scope),
  )
  if (beyond >= 0) return { reason: 'scope_not_entitled', member: 'scopes', at: beyond }

  const reached = known.filter(({ identifier }) => lets(entitlement, identifier))
  for (const [at, detail] of given.authorization_details.entries()) {
    const reason = excessOfDetail(detail, reached, entitlement.authorization_details_types)
    if (reason) return { reason, member: 'authorization_details', at }
  }
  return undefined
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

/** An entry is within when a resource in reach knows its type, and each of its locations is such a resource. */
function excessOfDetail(
  { type, locations }: AuthorizationDetail,
  reached: readonly AudienceResource[],
  entitled: readonly string[] | null,
) {
  const knowing = reached.filter(({ authorization_details_types: types }) =>
    types?.some((known) => known.type === type),
  )
  if (knowing.length === 0) return 'details_unknown_type'
  if (entitled !== null && !entitled.includes(type)) return 'details_not_entitled'
  const within =
    !Array.isArray(locations) || locations.every((one: string) => isAmong(one, knowing))
  return within ? undefined : 'details_elsewhere'
}

const lets = ({ resources }: Bounds['entitlement'], resource: string): boolean =>
  resources === null || resources.some((allowed) => identity(allowed) === identity(resource))

const isAmong = (resource: string, known: readonly AudienceResource[]): boolean =>
  known.some(({ identifier }) => identity(identifier) === identity(resource))

const identity = (resource: string): string => normaliseResource(resource) ?? resource
