import {
  type AuthorizationDetail,
  distinctDetails,
  narrowDetails,
} from '../oauth/authorization-details.ts'
import { type Catalogue, reachedResources, registeredResource } from './ceiling.ts'

type Details = readonly AuthorizationDetail[]

/** The first type asked for that no resource of the audience knows: that request is refused (TX-15). */
export const unknownType = (asked: Details, audience: Catalogue): string | undefined =>
  asked.find(({ type }) => !audience.resources.some((resource) => knows(resource, type)))?.type

/**
 * Of the entries asked for, what is allowed and what the audience knows for these resources (TX-14). What
 * was allowed is held against the resources too, and first: an entry that names no location takes over those
 * of the allowed one, which may be elsewhere while another allowed one is here.
 */
export function shrinkDetails(
  asked: Details,
  allowed: Details | null,
  audience: Catalogue,
  resources: readonly string[],
): AuthorizationDetail[] {
  const reached = (details: Details) => withinCatalogue(details, audience, resources)
  return narrowDetails(reached(asked), allowed && reached(allowed))
}

/**
 * What of the entries the granted resources know, or all of the audience's when none is named (rule 2). An
 * entry stays with those of its locations that are such a resource and know its type, in the audience's
 * own spelling; one that is left without any goes.
 */
export function withinCatalogue(
  asked: Details,
  audience: Catalogue,
  resources: readonly string[],
): AuthorizationDetail[] {
  const reached = reachedResources(audience, resources)
  return distinctDetails(
    asked.flatMap((detail) => {
      const knowing = { resources: reached.filter((resource) => knows(resource, detail.type)) }
      if (knowing.resources.length === 0) return []
      if (!Array.isArray(detail.locations)) return [detail]
      const locations = detail.locations.flatMap(
        (one: string) => registeredResource(knowing, one) ?? [],
      )
      return locations.length === 0 ? [] : [{ ...detail, locations: [...new Set(locations)] }]
    }),
  )
}

/** The entries of entitled types; null entitles to all that the audience knows. */
export const entitledDetails = (
  asked: Details,
  types: readonly string[] | null,
): AuthorizationDetail[] => asked.filter(({ type }) => types === null || types.includes(type))

const knows = (resource: Catalogue['resources'][number], type: string): boolean =>
  resource.authorization_details_types?.some((known) => known.type === type) === true
