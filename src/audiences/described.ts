import type { AudienceResource } from '../db/tables.ts'
import type { AuthorizationDetail } from '../oauth/authorization-details.ts'

/** An entry of authorization details, and what its type means in the words of its resource. */
export type DescribedDetail = { detail: AuthorizationDetail; description: string | undefined }

/**
 * The entries for people to read. Two resources may have different words for one type: those of a resource
 * that the entry is for come first.
 */
export const describeDetails = (
  details: readonly AuthorizationDetail[],
  resources: readonly AudienceResource[],
): DescribedDetail[] =>
  details.map((detail) => {
    const { type, locations = [] } = detail
    const places = Array.isArray(locations) ? locations : []
    const here = resources.filter(({ identifier }) => places.includes(identifier))
    return { detail, description: wordsFor(type, here) ?? wordsFor(type, resources) }
  })

const wordsFor = (type: string, resources: readonly AudienceResource[]): string | undefined =>
  resources
    .flatMap(({ authorization_details_types: types }) => types ?? [])
    .find((known) => known.type === type && known.description)?.description

/** The words for a scope, of whichever of these resources has some. */
export const describeScope = (
  name: string,
  resources: readonly AudienceResource[],
): string | undefined =>
  resources
    .flatMap(({ scopes }) => scopes)
    .find((scope) => scope.name === name && scope.description)?.description
