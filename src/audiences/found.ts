/**
 * What the documents of a relying app say it is, in the terms of an audience: which of its ways to take
 * ID-JAGs is the newest (DR-22), how it hears of revocations, and which hosts it sends us and our agents to.
 */
import type { AudienceResource, EventDialect, Profile } from '../db/tables.ts'
import { chooseEventType, REVOKED } from '../events/revocation-set.ts'
import type { ResourceMetadata } from '../oauth/resource-metadata.ts'
import { ENDPOINTS, type EndpointName, type ServerMetadata } from '../oauth/server-metadata.ts'
import { hostOf } from '../oauth/uri.ts'

export type Found = {
  issuer: string
  /** Null: it does not say that it takes ID-JAGs, which does not prove that it does not (DR-23). */
  profile: Profile | null
  name: string
  resources: AudienceResource[]
  dpop_required: boolean
  endpoints: Partial<Record<EndpointName, string>>
  events: FoundEvents | null
  /** Members that were not what they should be, by document. */
  ignored: string[]
}
/** `event_type` is null for the official one. */
export type FoundEvents = { endpoint: string; dialect: EventDialect; event_type: string | null }

type Documents = {
  server: ServerMetadata & { issuer: string }
  resource: ResourceMetadata | undefined
}

export function foundIn({ server, resource }: Documents): Found {
  const { issuer } = server
  return {
    issuer,
    profile: profileOf(server, resource),
    name: resource?.name ?? hostOf(resource?.resource ?? issuer),
    resources: resourcesOf(server, resource),
    dpop_required: resource?.dpop_required ?? false,
    endpoints: server.endpoints,
    events: eventsOf(server),
    ignored: [
      ...(resource?.ignored ?? []).map((member) => `protected_resource: ${member}`),
      ...server.ignored.map((member) => `authorization_server: ${member}`),
    ],
  }
}

function profileOf(
  { accepts: [newest], is_newest }: ServerMetadata,
  resource: ResourceMetadata | undefined,
): Profile | null {
  switch (newest) {
    case 'identity_endpoint':
      return is_newest ? 'authmd-head' : 'authmd-0.2'
    case 'register_uri':
      return 'authmd-0.1'
    case 'jwt-bearer':
      return resource && looksLikeMcp(resource.resource) ? 'mcp-ema' : 'idjag'
    default:
      return null
  }
}

/** No member says it. Taken for one in error it gets narrower tokens; who registers it can say otherwise. */
const looksLikeMcp = (resource: string): boolean => {
  const { hostname, pathname } = new URL(resource)
  return [...hostname.split('.'), ...pathname.split('/')].some((part) => /^mcp$/i.test(part))
}

/** Where both documents speak of it, that of the resource wins. One of another origin is not the server's to name. */
function resourcesOf(
  server: Documents['server'],
  resource: ResourceMetadata | undefined,
): AudienceResource[] {
  const own = server.resource && new URL(server.resource).origin === new URL(server.issuer).origin
  const identifier = resource?.resource ?? (own ? server.resource : undefined)
  if (identifier === undefined) return []
  const scopes = (resource?.scopes ?? server.scopes ?? []).map((name) => ({ name }))
  const types = resource?.details_types?.map((type) => ({ type }))
  return [{ identifier, scopes, ...(types && { authorization_details_types: types }) }]
}

function eventsOf({ endpoints, events_supported }: ServerMetadata): FoundEvents | null {
  const chosen = chooseEventType(events_supported)
  const event_type = chosen === REVOKED ? null : chosen
  const { events_endpoint: set, revocation_uri: logout } = endpoints
  if (set !== undefined) return { endpoint: set, dialect: 'set', event_type }
  if (logout !== undefined) return { endpoint: logout, dialect: 'logout', event_type }
  return null
}

/** The hosts of its endpoints beside the issuer's own, which somebody has to confirm (DR-08). */
export function foreignHosts({ issuer, endpoints }: Found): string[] {
  const hosts = ENDPOINTS.flatMap((name) => endpoints[name] ?? []).map(hostOf)
  return [...new Set(hosts)].filter((host) => host !== hostOf(issuer)).sort()
}
