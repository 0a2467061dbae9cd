import type { Reason } from '../audit/reason.ts'
import { isAuthMd } from '../oauth/profile.ts'
import { normaliseResource } from '../oauth/uri.ts'
import { allowsResource, registeredResource } from './ceiling.ts'
import { hasEnded } from './ended.ts'
import type { AudienceFacts, EntitlementFacts } from './facts.ts'

export type Target = {
  audience: AudienceFacts
  entitlement: EntitlementFacts
  /** What the agent is called at the audience; an auth.md service knows agents by this server (§3.4). */
  client_id: string | undefined
  /** In the audience's own spelling. */
  resources: string[]
}
type NoTarget = { reason: Reason; audience?: AudienceFacts }

/** Audience, entitlement, client mapping and resources: TX-04…TX-11, IJ-40, IJ-41. */
export function decideTarget(
  { audiences, resources }: { audiences: readonly string[]; resources: readonly string[] },
  {
    agent,
    audience,
    entitlement,
  }: {
    agent: { client_metadata_url: string | null }
    audience: AudienceFacts | undefined
    entitlement: EntitlementFacts | undefined
  },
  now: Date,
): Target | NoTarget {
  if (audiences.length !== 1) return { reason: 'several_audiences' }
  if (audience === undefined) return { reason: 'unknown_audience' }
  if (audience.status !== 'active') return { reason: 'audience_inactive', audience }
  if (entitlement === undefined || hasEnded(entitlement, now)) {
    return { reason: 'no_entitlement', audience }
  }
  // A client known to both sides by one metadata URL needs no record (IJ-40).
  const client_id = entitlement.client_id ?? agent.client_metadata_url ?? undefined
  if (!isAuthMd(audience.profile) && client_id === undefined) {
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
  return { audience, entitlement, client_id, resources: granted }
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
