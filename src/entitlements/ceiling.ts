import type { AudienceResource } from '../db/tables.ts'
import { invalid } from '../http/problem.ts'
import { normaliseResource } from '../oauth/uri.ts'

type Ceiling = { scopes: string[]; resources: string[] | null }

/**
 * The ceiling as it is kept: within what the audience registered, resources in its own spelling.
 * @throws {ProblemError} `validation_failed` at the first that the audience does not know
 */
export function readCeiling(
  given: { scopes: string[]; resources?: string[] | null },
  audience: { resources: readonly AudienceResource[] },
): Ceiling {
  const catalogue = new Set(
    audience.resources.flatMap(({ scopes }) => scopes.map(({ name }) => name)),
  )
  for (const [index, scope] of given.scopes.entries()) {
    if (!catalogue.has(scope)) {
      throw invalid(`/scopes/${index}`, `${scope} is not a scope of this audience`)
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
  return { scopes: given.scopes, resources: resources ? [...new Set(resources)] : null }
}
