import { OutboundError } from '../http/outbound.ts'
import { sameServer } from '../oauth/metadata-location.ts'
import type { ResourceMetadata } from '../oauth/resource-metadata.ts'
import { readServerMetadata, type ServerMetadata } from '../oauth/server-metadata.ts'
import {
  type Read,
  type ReadDocument,
  readDocument,
  type Undiscoverable,
  unfit,
  type Way,
} from './read-document.ts'

export type Server = ServerMetadata & { issuer: string }

const KIND = 'authorization_server'

/**
 * The first document in one of these places that speaks of this server (DR-05, DR-06); what was wrong with the
 * others, if none does.
 * @param resource whose server it is, if that is known
 * @throws {Undiscoverable} when nobody answers
 */
export async function findServer(
  way: Way,
  locations: readonly string[],
  serverId: string,
  resource: ResourceMetadata | undefined,
): Promise<Read<Server> | { fault: Undiscoverable | undefined }> {
  let worst: Undiscoverable | undefined
  for (const location of locations) {
    const read = await readDocument(way, KIND, location)
    if (read instanceof OutboundError) {
      // That one place has nothing says less than what is wrong with what lies in another.
      if (read.reason !== 'bad_status') worst = unfit(KIND, location, read.message)
      worst ??= unfit(KIND, location, read.message)
      continue
    }
    const value = judge(way, read, serverId, resource)
    if (!('fault' in value)) return { value, read }
    worst = unfit(KIND, location, value.fault)
  }
  return { fault: worst }
}

function judge(
  { config }: Way,
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
