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
import { normaliseUri, parseWebUrl } from '../oauth/uri.ts'
import { findResource } from './find-resource.ts'
import { findServer } from './find-server.ts'
import { type Found, foundIn } from './found.ts'
import { type ReadDocument, Undiscoverable, type Way } from './read-document.ts'

export type Walked = { found: Found; documents: ReadDocument[] }

/** One of several authorization servers, by its identifier. May throw Undiscoverable. */
export type ChooseServer = (servers: string[]) => Promise<string>

/** Seconds after which no further request is made; the last may take as long as any. */
const PATIENCE = 20

/** @throws {Undiscoverable} */
export async function walk(
  deps: Pick<Deps, 'outbound' | 'now' | 'config'>,
  url: string,
  choose: ChooseServer,
): Promise<Walked> {
  const { allowLoopbackHttp } = deps.config
  if (parseWebUrl(url, allowLoopbackHttp) === undefined) {
    throw new Undiscoverable('it is no absolute https URL without userinfo and fragment')
  }
  const way: Way = { ...deps, until: addSeconds(deps.now(), PATIENCE) }
  const named = readMetadataUrl(url)
  const resource = named?.of === 'server' ? undefined : await findResource(way, url)
  const servers = resource?.value.authorization_servers ?? [named?.identifier ?? url]
  const serverId = await choose(servers)
  refuseSelf(way, serverId)
  const locations = named?.of === 'server' ? [url] : serverLocations(serverId)
  const server = await findServer(way, locations, serverId, resource?.value)
  if ('value' in server) {
    const found = foundIn({ server: server.value, resource: resource?.value })
    const documents = [...(resource ? [resource.read] : []), server.read]
    return { found: withoutUncallable(way, found), documents }
  }
  const { message = '' } = server.fault ?? {}
  throw new Undiscoverable(
    resource || named
      ? message
      : `no challenge names its metadata and the usual places have none; ${message}`,
  )
}

function refuseSelf({ config }: Way, serverId: string): void {
  if (normaliseUri(serverId) !== normaliseUri(config.issuer)) return
  throw new Undiscoverable(
    'its authorization server is this server itself, which does not redeem what it issued',
  )
}

/** An events endpoint that we may not call is none; what is wrong with it is said. */
function withoutUncallable({ outbound }: Way, found: Found): Found {
  const fault = found.events === null ? undefined : outbound.judge(found.events.endpoint)
  if (fault === undefined) return found
  const ignored = [...found.ignored, `authorization_server: the events endpoint (${fault})`]
  return { ...found, events: null, ignored }
}
