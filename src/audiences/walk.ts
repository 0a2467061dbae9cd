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
import { freshness } from '../http/freshness.ts'
import { OutboundError } from '../http/outbound.ts'
import { LONGEST_DOCUMENT } from '../http/published.ts'
import { metadataUrlOf } from '../oauth/challenge.ts'
import {
  readMetadataUrl,
  resourceLocations,
  sameServer,
  serverLocations,
  speaksOf,
} from '../oauth/metadata-location.ts'
import { type ResourceMetadata, readResourceMetadata } from '../oauth/resource-metadata.ts'
import { readServerMetadata, type ServerMetadata } from '../oauth/server-metadata.ts'
import { normaliseUri, parseWebUrl } from '../oauth/uri.ts'
import { type Found, foundIn } from './found.ts'

export type WalkSurroundings = Pick<Deps, 'outbound' | 'now' | 'config'>

/** A document as it was read; `fresh_for` in seconds, where it says so. */
export type ReadDocument = {
  kind: 'protected_resource' | 'authorization_server'
  url: string
  read_at: Date
  fresh_for: number | undefined
  document: Record<string, unknown>
}

export type Walked = { found: Found; documents: ReadDocument[] }

/** There is no audience to be found. The message says why, in words for an administrator. */
export class Undiscoverable extends Error {
  override readonly name = 'Undiscoverable'
}

/** One of several authorization servers, by its identifier. May throw Undiscoverable. */
export type ChooseServer = (servers: string[]) => Promise<string>

/** @throws {Undiscoverable} */
export async function walk(
  deps: WalkSurroundings,
  url: string,
  choose: ChooseServer,
): Promise<Walked> {
  if (parseWebUrl(url, deps.config.allowLoopbackHttp) === undefined) {
    throw new Undiscoverable('it is no absolute https URL without userinfo and fragment')
  }
  const named = readMetadataUrl(url)
  const resource = named?.of === 'server' ? undefined : await findResource(deps, url)
  const servers = resource?.value.authorization_servers ?? [named?.identifier ?? url]
  const serverId = await choose(servers)
  refuseSelf(deps, serverId)
  const locations = named?.of === 'server' ? [url] : serverLocations(serverId)
  const server = await findServer(deps, locations, serverId, resource?.value)
  const found = foundIn({ server: server.value, resource: resource?.value })
  return {
    found: withoutUncallable(deps, found),
    documents: [...(resource ? [resource.read] : []), server.read],
  }
}

type Server = ServerMetadata & { issuer: string }
type Read<Value> = { value: Value; read: ReadDocument }

/** Undefined where nothing says that it is a protected resource. */
async function findResource(
  deps: WalkSurroundings,
  url: string,
): Promise<Read<ResourceMetadata> | undefined> {
  const named = readMetadataUrl(url)
  if (named !== undefined) {
    const answer = await get(deps, url)
    if (answer instanceof OutboundError) throw unfit('protected_resource', url, answer.message)
    return judgeResource(deps, answer, named.identifier)
  }
  const pointer = await askForPointer(deps, url)
  if (pointer !== undefined) {
    const answer = await get(deps, pointer)
    if (answer instanceof OutboundError) throw unfit('protected_resource', pointer, answer.message)
    return judgeResource(deps, answer, url)
  }
  for (const location of resourceLocations(url)) {
    const answer = await get(deps, location)
    if (!(answer instanceof OutboundError)) return judgeResource(deps, answer, url)
    // Out of order for now: what lies in another place instead may be something else.
    const { status = 0 } = answer
    if (status >= 500 || status === 429) throw unfit('protected_resource', location, answer.message)
  }
  return undefined
}

/** The address that a challenge gives, if there is one (DR-01). */
async function askForPointer(
  { outbound, config }: WalkSurroundings,
  url: string,
): Promise<string | undefined> {
  const headers = { accept: 'application/json' }
  const answer = await outbound
    .request({ url, method: 'GET', headers, maxBytes: LONGEST_DOCUMENT })
    .catch((error) => tolerate(error, url))
  if (answer instanceof OutboundError || answer.status !== 401) return undefined
  const pointer = metadataUrlOf(answer.headers['www-authenticate'])
  if (pointer === undefined) return undefined
  if (pointer.length > 2048 || parseWebUrl(pointer, config.allowLoopbackHttp) === undefined) {
    throw new Undiscoverable('its challenge names a resource_metadata that is no https URL')
  }
  return pointer
}

function judgeResource(
  { config }: WalkSurroundings,
  read: ReadDocument,
  requested: string,
): Read<ResourceMetadata> {
  const value = readResourceMetadata(read.document, config.allowLoopbackHttp)
  if ('fault' in value) throw unfit('protected_resource', read.url, value.fault)
  if (!speaksOf(value.resource, requested)) {
    const same = new URL(value.resource).origin === new URL(requested).origin
    const other = same ? `another resource, ${value.resource}` : 'a resource of another origin'
    throw unfit('protected_resource', read.url, `it speaks of ${other}`)
  }
  return { value, read: { ...read, kind: 'protected_resource' } }
}

/** The first document that speaks of this server (DR-05, DR-06); what was wrong with the others, if none does. */
async function findServer(
  deps: WalkSurroundings,
  locations: string[],
  serverId: string,
  resource: ResourceMetadata | undefined,
): Promise<Read<Server>> {
  let worst: Undiscoverable | undefined
  for (const location of locations) {
    const answer = await get(deps, location)
    const value =
      answer instanceof OutboundError ? answer : readServer(deps, answer, serverId, resource)
    if (!(value instanceof OutboundError || 'fault' in value)) {
      return { value, read: { ...(answer as ReadDocument), kind: 'authorization_server' } }
    }
    const fault = value instanceof OutboundError ? value.message : value.fault
    // That one place has nothing says less than what is wrong with what lies in another.
    const isEmpty = value instanceof OutboundError && value.reason === 'bad_status'
    if (worst === undefined || !isEmpty) worst = unfit('authorization_server', location, fault)
  }
  if (resource !== undefined) throw worst ?? new Undiscoverable('there is no authorization server')
  throw new Undiscoverable(
    `it names no metadata by a challenge and has none in the usual places; ${worst?.message}`,
  )
}

function readServer(
  { config }: WalkSurroundings,
  { document }: ReadDocument,
  serverId: string,
  resource: ResourceMetadata | undefined,
): Server | { fault: string } {
  const value = readServerMetadata(document, config.allowLoopbackHttp)
  if ('fault' in value) return value
  // DR-07: without an issuer of its own it is what its resource calls it, to the letter.
  const { issuer = resource ? serverId : (value.authorization_servers[0] ?? serverId) } = value
  return sameServer(issuer, serverId)
    ? { ...value, issuer }
    : { fault: 'it speaks of another issuer' }
}

function refuseSelf({ config }: WalkSurroundings, serverId: string): void {
  if (normaliseUri(serverId) !== normaliseUri(config.issuer)) return
  throw new Undiscoverable(
    'its authorization server is this server itself, which does not redeem what it issued',
  )
}

/** An events endpoint that we may not call is none; what is wrong with it is said. */
function withoutUncallable({ outbound }: WalkSurroundings, found: Found): Found {
  const fault = found.events === null ? undefined : outbound.judge(found.events.endpoint)
  if (fault === undefined) return found
  const ignored = [...found.ignored, `authorization_server: the events endpoint (${fault})`]
  return { ...found, events: null, ignored }
}

/** What lies there, or what is wrong with it. @throws {Undiscoverable} when nobody answers */
async function get(
  { outbound, now }: WalkSurroundings,
  url: string,
): Promise<ReadDocument | OutboundError> {
  const read_at = now()
  const answer = await outbound
    .getJson(url, { maxBytes: LONGEST_DOCUMENT })
    .catch((error) => tolerate(error, url))
  if (answer instanceof OutboundError) return answer
  const fresh_for = freshness(answer.headers, read_at)
  return { kind: 'authorization_server', url, read_at, fresh_for, document: answer.json }
}

/** An answer that will not do is an answer all the same: other places may have a better one. */
function tolerate(error: unknown, url: string): OutboundError {
  if (!(error instanceof OutboundError)) throw error
  if (error.status !== undefined) return error
  throw new Undiscoverable(`${url}: ${error.message}`, { cause: error })
}

const NAMES = {
  protected_resource: 'the metadata of the resource',
  authorization_server: 'the metadata of the authorization server',
}

const unfit = (kind: ReadDocument['kind'], url: string, fault: string): Undiscoverable =>
  new Undiscoverable(`${NAMES[kind]} (${url}): ${fault}`)
