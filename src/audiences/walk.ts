/**
 * The way from an address to what a relying app is (protocol reference §5.1):
 *
 *   the address ─ 401, a challenge names it ─→ metadata of the resource ─ one of its servers ─→ metadata of the server
 *        │ └───── no challenge: default places ─────↗                                                   ↑
 *        └─ none there: the address may be the server's own identifier, or that of its metadata ────────┘
 *
 *  1. A document counts only if it speaks of what it was asked for: no resource of another origin, no other
 *     issuer (DR-02, DR-03, DR-06). One that speaks of another resource ends the walk, for whoever serves it
 *     has something wrong.
 *  2. Everything goes through the guarded way out; no redirect is followed (DR-32).
 *  3. Nothing that was fetched is told, but for identifiers and members that were judged first (DR-36).
 */
import type { Deps } from '../deps.ts'
import { readMetadataUrl, serverLocations } from '../oauth/metadata-location.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { isIdentifier, type ResourceMetadata } from '../oauth/resource-metadata.ts'
import { normaliseUri, parseWebUrl } from '../oauth/uri.ts'
import { endpointJudge } from './event-settings.ts'
import { findResource } from './find-resource.ts'
import { findServer, type Server } from './find-server.ts'
import { type Found, foundIn } from './found.ts'
import { type Read, type ReadDocument, Undiscoverable, type Way } from './read-document.ts'

export type Walked = { found: Found; documents: ReadDocument[] }

/**
 * One of several authorization servers, by its identifier. May throw Undiscoverable.
 * @param location of the metadata that name them, unless the address itself is the one
 */
export type ChooseServer = (servers: string[], location?: string) => Promise<string>

/** Seconds after which no further request is made; the last may take as long as any. */
const PATIENCE = 20

type Surroundings = Pick<Deps, 'outbound' | 'now' | 'config'>

/**
 * @param known where the documents lay when they were last read
 * @throws {Undiscoverable}; of it SpeaksOfAnother, where what lies at a known place, or where the address itself
 *   leads, names somebody else
 */
export async function walk(
  deps: Surroundings,
  url: string,
  choose: ChooseServer,
  known: readonly string[] = [],
): Promise<Walked> {
  const { allowLoopbackHttp } = deps.config
  if (parseWebUrl(url, allowLoopbackHttp) === undefined) {
    throw new Undiscoverable('it is no absolute https URL without userinfo and fragment')
  }
  const way: Way = { ...deps, until: addSeconds(deps.now(), PATIENCE), known }
  const named = readMetadataUrl(url)
  const resource = named?.of === 'server' ? undefined : await findResource(way, url)
  const servers = resource?.value.authorization_servers ?? [named?.identifier ?? url]
  const serverId = await choose(servers, resource?.read.url)
  refuseSelf(way, serverId)
  const locations = named?.of === 'server' ? [url] : serverLocations(serverId)
  const server = await findServer(way, locations, serverId, resource)
  if ('value' in server) return walkedTo(way, server, resource)
  const { message = '', cause } = server.fault ?? {}
  throw new Undiscoverable(
    resource || named
      ? message
      : `no challenge names its metadata and the usual places have none; ${message}`,
    { cause },
  )
}

/**
 * What a server says of itself, in the places that follow from its identifier (DR-05). It has to name itself there,
 * in so many words (DR-06).
 * @throws {Undiscoverable} as `walk` does
 */
export async function walkToServer(
  deps: Surroundings,
  serverId: string,
  resource: Read<ResourceMetadata> | undefined,
  known: readonly string[],
): Promise<Walked> {
  if (!isIdentifier(serverId, deps.config.allowLoopbackHttp) || serverId.includes('?')) {
    throw new Undiscoverable('it is no https URL that an issuer may be')
  }
  const way: Way = { ...deps, until: addSeconds(deps.now(), PATIENCE), known }
  refuseSelf(way, serverId)
  const server = await findServer(way, serverLocations(serverId), serverId, resource)
  if (!('value' in server)) throw server.fault ?? new Undiscoverable('it has no metadata')
  if (server.read.document.issuer === undefined) {
    throw new Undiscoverable('its own metadata do not name it')
  }
  return walkedTo(way, server, resource)
}

function walkedTo(
  way: Way,
  server: Read<Server>,
  resource: Read<ResourceMetadata> | undefined,
): Walked {
  const found = foundIn({ server: server.value, resource: resource?.value })
  const documents = [...(resource ? [resource.read] : []), server.read]
  return { found: withoutUncallable(way, found), documents }
}

function refuseSelf({ config }: Way, serverId: string): void {
  if (normaliseUri(serverId) !== normaliseUri(config.issuer)) return
  throw new Undiscoverable(
    'its authorization server is this server itself, which does not redeem what it issued',
  )
}

/** An events endpoint that we may not call is none; what is wrong with it is said. */
function withoutUncallable(way: Way, found: Found): Found {
  const fault = found.events === null ? undefined : endpointJudge(way)(found.events.endpoint)
  if (fault === undefined) return found
  const ignored = [...found.ignored, `authorization_server: the events endpoint (${fault})`]
  return { ...found, events: null, ignored }
}
