import type { AudienceResource } from '../db/tables.ts'
import { normaliseResource } from '../oauth/uri.ts'

export type Asked = { scopes: readonly string[]; resources: readonly string[] }
export type Ceiling = { scopes: readonly string[]; resources: readonly string[] | null }
export type Catalogue = { resources: readonly AudienceResource[] }

/** The granted resources, or all of the audience's when none is named (rule 2). */
export function reachedResources(
  audience: Catalogue,
  resources: readonly string[],
): AudienceResource[] {
  const named = new Set(resources.map(identity))
  return audience.resources.filter(
    (resource) => named.size === 0 || named.has(identity(resource.identifier)),
  )
}

/** The scopes an audience knows for these resources. Order is the catalogue's. */
export const catalogueScopes = (audience: Catalogue, resources: readonly string[]): Set<string> =>
  new Set(
    reachedResources(audience, resources).flatMap(({ scopes }) => scopes.map(({ name }) => name)),
  )

/** The audience's own spelling of a resource, compared as TX-11 says; undefined when it has none such. */
export const registeredResource = (audience: Catalogue, resource: string): string | undefined =>
  audience.resources.find((known) => identity(known.identifier) === identity(resource))?.identifier

/** What a ceiling lets through of an audience, as the audience spells it. */
export const allowedResources = (audience: Catalogue, ceiling: Pick<Ceiling, 'resources'>) =>
  audience.resources
    .map(({ identifier }) => identifier)
    .filter((identifier) => allowsResource(ceiling, identifier))

/** True when the ceiling lets this resource through; a ceiling of null lets every one. */
export const allowsResource = (ceiling: Pick<Ceiling, 'resources'>, resource: string): boolean =>
  ceiling.resources === null ||
  ceiling.resources.some((allowed) => identity(allowed) === identity(resource))

/**
 * asked ∩ entitled ∩ catalogue: what a user can be asked for, and the most that consent may grant. Where no
 * resource was asked for, scopes count of those that the entitlement lets through.
 */
export function withinCeiling(asked: Asked, entitlement: Ceiling, audience: Catalogue) {
  const resources = asked.resources.filter(
    (resource) =>
      registeredResource(audience, resource) !== undefined && allowsResource(entitlement, resource),
  )
  const reached = asked.resources.length > 0 ? resources : (entitlement.resources ?? [])
  return { scopes: shrinkScopes(asked.scopes, entitlement.scopes, audience, reached), resources }
}

/** Of the scopes asked for, those that are allowed and that the audience knows for these resources (TX-12). */
export function shrinkScopes(
  asked: readonly string[],
  allowed: readonly string[],
  audience: Catalogue,
  resources: readonly string[],
): string[] {
  const catalogue = catalogueScopes(audience, resources)
  return asked.filter((scope) => allowed.includes(scope) && catalogue.has(scope))
}

const identity = (resource: string): string => normaliseResource(resource) ?? resource
