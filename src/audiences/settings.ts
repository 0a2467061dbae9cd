/** What an audience's record may say, judged by values alone; registration and change both ask here. */
import type { AudienceResource, Profile } from '../db/tables.ts'
import { invalid } from '../http/problem.ts'
import { normaliseResource } from '../oauth/uri.ts'
import { readType } from './audience.ts'
import {
  type EventSettings,
  type JudgeUrl,
  NO_EVENTS,
  patchEventSettings,
} from './event-settings.ts'
import type { AudiencePatch } from './schema.ts'

export type Settings = {
  resources: AudienceResource[]
  default_scopes: string[]
  default_resources: string[]
  claims: string[]
  max_auth_age: number | null
  id_jag_lifetime: number | null
  id_jag_signing_alg: string
  acr_values: string[]
  dpop_required: boolean
} & EventSettings

export const NO_SETTINGS: Settings = {
  resources: [],
  default_scopes: [],
  default_resources: [],
  claims: [],
  max_auth_age: null,
  id_jag_lifetime: null,
  id_jag_signing_alg: 'ES256',
  acr_values: [],
  dpop_required: false,
  ...NO_EVENTS,
}

/** What an auth.md service demands of the age of a sign-in unless it says otherwise, in seconds (TX-50…TX-54). */
const AUTHMD_MAX_AUTH_AGE = 3600

/**
 * The settings after a merge patch, whole and checked.
 * @param idJagLifetime the server's ceiling, in seconds
 * @param judgeUrl what is wrong with an address that this server is to call, if anything is
 * @throws {ProblemError} `validation_failed`
 */
export function patchSettings(
  before: Settings,
  patch: AudiencePatch,
  profile: Profile,
  idJagLifetime: number,
  judgeUrl: JudgeUrl,
): Settings {
  const {
    default_scopes = before.default_scopes,
    default_resources = before.default_resources,
    claims = before.claims,
    max_auth_age = before.max_auth_age,
    id_jag_lifetime = before.id_jag_lifetime,
    id_jag_signing_alg = before.id_jag_signing_alg,
    acr_values = before.acr_values,
    dpop_required = before.dpop_required,
  } = patch
  const resources = readResources(patch.resources ?? before.resources)
  if (profile === 'mcp-ema' && resources.length === 0) {
    throw invalid('/resources', 'must name the MCP server: mcp-ema needs a resource')
  }
  const isAuthMd = profile.startsWith('authmd-')
  const settings = {
    resources,
    default_scopes: default_scopes ?? [],
    default_resources: readDefaultResources(default_resources ?? [], resources),
    claims: claims ?? [],
    max_auth_age: max_auth_age ?? (isAuthMd ? AUTHMD_MAX_AUTH_AGE : null),
    id_jag_lifetime,
    id_jag_signing_alg: id_jag_signing_alg ?? NO_SETTINGS.id_jag_signing_alg,
    acr_values: acr_values ?? [],
    dpop_required: dpop_required ?? false,
    ...patchEventSettings(before, patch, judgeUrl),
  }
  checkDefaultScopes(settings)
  checkHeadroom(settings, idJagLifetime)
  return settings
}

function readResources(given: NonNullable<AudiencePatch['resources']>): AudienceResource[] {
  const seen = new Set<string>()
  return given.map(({ identifier, scopes, authorization_details_types }, index) => {
    const pointer = `/resources/${index}`
    const normalised = normaliseResource(identifier)
    if (normalised === undefined) {
      throw invalid(`${pointer}/identifier`, 'must be an absolute URI without a fragment')
    }
    if (seen.has(normalised)) throw invalid(`${pointer}/identifier`, 'is named twice')
    seen.add(normalised)
    const scope = firstRepeated(scopes.map(({ name }) => name))
    if (scope >= 0) throw invalid(`${pointer}/scopes/${scope}/name`, 'is named twice')
    const types = authorization_details_types?.map(readType)
    const type = firstRepeated(types?.map((one) => one.type) ?? [])
    if (type >= 0) throw invalid(`${pointer}/authorization_details_types/${type}`, 'is named twice')
    return { identifier, scopes, ...(types && { authorization_details_types: types }) }
  })
}

/** Its index, or -1. */
const firstRepeated = (names: readonly string[]): number =>
  names.findIndex((name, at) => names.indexOf(name) !== at)

/** As registered, however they were written here. */
function readDefaultResources(given: string[], resources: AudienceResource[]): string[] {
  const chosen = given.map((identifier, index) => {
    const normalised = normaliseResource(identifier)
    const known = resources.find((one) => normaliseResource(one.identifier) === normalised)
    if (normalised !== undefined && known !== undefined) return known.identifier
    throw invalid(`/default_resources/${index}`, 'is not one of the resources')
  })
  return [...new Set(chosen)]
}

function checkDefaultScopes({ default_scopes, resources }: Settings): void {
  const catalogue = new Set(resources.flatMap(({ scopes }) => scopes.map(({ name }) => name)))
  const unknown = default_scopes.findIndex((scope) => !catalogue.has(scope))
  if (unknown >= 0) {
    throw invalid(`/default_scopes/${unknown}`, 'is not a scope of any of the resources')
  }
}

/** TX-54: the audience judges the age when the ID-JAG is presented, up to its whole lifetime later. */
function checkHeadroom({ max_auth_age, id_jag_lifetime }: Settings, ceiling: number): void {
  const lifetime = Math.min(id_jag_lifetime ?? ceiling, ceiling)
  if (max_auth_age !== null && max_auth_age <= lifetime) {
    throw invalid(
      '/max_auth_age',
      `must exceed the ID-JAG lifetime, ${lifetime} seconds: a user could hardly sign in and use it in time`,
    )
  }
}
