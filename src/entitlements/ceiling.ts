import type { AudienceResource } from '../db/tables.ts'
import { invalid } from '../http/problem.ts'
import { normaliseResource } from '../oauth/uri.ts'

type Ceiling = {
  scopes: string[]
  resources: string[] | null
  authorization_details_types: string[] | null
}

/**
 * The ceiling as it is kept: within what the audience registered, resources in its own spelling.
 * @throws {ProblemError} `validation_failed` at the first that the audience does not know
 */
export function readCeiling(
  given: {
    scopes: string[]
    resources?: string[] | null
    authorization_details_types?: string[] | null
  },
  audience: { resources: readonly AudienceResource[] },
): Ceiling {
  const catalogue = new Set(
    audience.resources.flatMap(({ scopes }) => scopes.map(({ name }) => name)),
  )
  for (const [index, scope] of given.scopes.entries()) {
    if (!catalogue.has(scope)) {
      throw invalid(`/scopes/${index}`, `is not a scope of this audience: ${scope}`)
    }
  }
  const resources = given.resources?.map((resource, index) => {
    const normalised = normaliseResource(resource)
    const known = audience.resources.find((one) => normaliseResource(one.identifier) === normalised)
    if (normalised === undefined || known === undefined) {
      throw invalid(`/resources/${index}`, 'is not a resource of this audience')
    }
    return known.identifier
  })
  return {
    scopes: given.scopes,
    resources: resources ? [...new Set(resources)] : null,
    authorization_details_types: readTypes(given.authorization_details_types ?? null, audience),
  }
}

/** Types that no resource knows could never be granted; left out, all those that one knows are. */
function readTypes(
  given: string[] | null,
  audience: { resources: readonly AudienceResource[] },
): string[] | null {
  const known = new Set(
    audience.resources.flatMap(({ authorization_details_types: types }) =>
      (types ?? []).map(({ type }) => type),
    ),
  )
  for (const [index, type] of (given ?? []).entries()) {
    if (!known.has(type)) {
      const pointer = `/authorization_details_types/${index}`
      throw invalid(pointer, `is not a type of authorization details of this audience: ${type}`)
    }
  }
  return given
}
