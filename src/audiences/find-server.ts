import { OutboundError } from '../http/outbound.ts'
import { sameServer } from '../oauth/metadata-location.ts'
import type { ResourceMetadata } from '../oauth/resource-metadata.ts'
import { readServerMetadata, type ServerMetadata } from '../oauth/server-metadata.ts'
import {
  nameIn,
  type Read,
  type ReadDocument,
  readDocument,
  SpeaksOfAnother,
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
 * @throws {Undiscoverable} when nobody answers, or where it always lay is one that speaks of another server
 */
export async function findServer(
  way: Way,
  locations: readonly string[],
  serverId: string,
  resource: Read<ResourceMetadata> | undefined,
): Promise<Read<Server> | { fault: Undiscoverable | undefined }> {
  let worst: Undiscoverable | undefined
  for (const location of locations) {
    const read = await readDocument(way, KIND, location)
    if (read instanceof OutboundError) {
      // That one place has nothing says less than what is wrong with what lies in another.
      if (read.reason !== 'bad_status') worst = unfit(KIND, location, read)
      worst ??= unfit(KIND, location, read)
      continue
    }
    const value = judge(way, read, serverId, resource?.value)
    if (!('fault' in value)) return { value, read }
    if (value.to !== undefined && way.known.includes(location)) {
      const said = { member: 'issuer', location, from: serverId, to: value.to } as const
      throw new SpeaksOfAnother(value.fault, said, read, resource)
    }
    worst = unfit(KIND, location, value.fault)
  }
  return { fault: worst }
}

function judge(
  { config }: Way,
  { document }: ReadDocument,
  serverId: string,
  resource: ResourceMetadata | undefined,
): Server | { fault: string; to?: string | undefined } {
  const value = readServerMetadata(document, config.allowLoopbackHttp)
  if ('fault' in value) {
    const named = nameIn(document, 'issuer')
    return { ...value, to: named !== undefined && sameServer(named, serverId) ? undefined : named }
  }
  // DR-07: without an issuer of its own it is what its resource calls it, to the letter.
  const { issuer = resource ? serverId : (value.authorization_servers[0] ?? serverId) } = value
  return sameServer(issuer, serverId)
    ? { ...value, issuer }
    : { fault: otherThan(serverId, issuer), to: issuer }
}

/** Whoever has no document there is not told what it says of others. */
function otherThan(serverId: string, issuer: string): string {
  const isNear = new URL(issuer).origin === new URL(serverId).origin
  return `it speaks of another issuer, ${isNear ? issuer : 'of another origin'}`
}
