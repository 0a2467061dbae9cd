import { OutboundError } from '../http/outbound.ts'
import { metadataUrlOf } from '../oauth/challenge.ts'
import { readMetadataUrl, resourceLocations, speaksOf } from '../oauth/metadata-location.ts'
import { type ResourceMetadata, readResourceMetadata } from '../oauth/resource-metadata.ts'
import { parseWebUrl } from '../oauth/uri.ts'
import {
  askAddress,
  nameIn,
  type Read,
  type ReadDocument,
  readDocument,
  SpeaksOfAnother,
  Undiscoverable,
  unfit,
  type Way,
} from './read-document.ts'

const KIND = 'protected_resource'

/**
 * The metadata of the resource at an address; undefined where nothing says that it is one.
 * @throws {Undiscoverable}
 */
export async function findResource(
  way: Way,
  url: string,
): Promise<Read<ResourceMetadata> | undefined> {
  const named = readMetadataUrl(url)
  if (named !== undefined) return requireResource(way, url, named.identifier)
  const pointer = await askForPointer(way, url)
  if (pointer !== undefined) return requireResource(way, pointer, url)
  for (const location of resourceLocations(url)) {
    const answer = await readDocument(way, KIND, location)
    if (!(answer instanceof OutboundError)) {
      return judge(way, answer, url, way.known.includes(location))
    }
    // Out of order for now: what lies in another place instead may be something else.
    const { status = 0 } = answer
    if (status >= 500 || status === 429) throw unfit(KIND, location, answer)
  }
  return undefined
}

/** The address that a challenge gives, if there is one (DR-01). */
async function askForPointer(way: Way, url: string): Promise<string | undefined> {
  const answer = await askAddress(way, url)
  if (answer instanceof OutboundError || answer.status !== 401) return undefined
  const pointer = metadataUrlOf(answer.headers['www-authenticate'])
  if (pointer === undefined) return undefined
  if (pointer.length > 2048 || parseWebUrl(pointer, way.config.allowLoopbackHttp) === undefined) {
    throw new Undiscoverable('its challenge names a resource_metadata that is no https URL')
  }
  return pointer
}

async function requireResource(
  way: Way,
  location: string,
  requested: string,
): Promise<Read<ResourceMetadata>> {
  const answer = await readDocument(way, KIND, location)
  if (answer instanceof OutboundError) throw unfit(KIND, location, answer)
  return judge(way, answer, requested, true)
}

/** DR-02, DR-03. @param counts whether the address leads there, rather than that something lies there */
function judge(
  { config }: Way,
  read: ReadDocument,
  requested: string,
  counts: boolean,
): Read<ResourceMetadata> {
  const value = readResourceMetadata(read.document, config.allowLoopbackHttp)
  const named = 'fault' in value ? nameIn(read.document, 'resource') : value.resource
  const isOther = named !== undefined && !speaksOf(named, requested)
  if (!('fault' in value) && !isOther) return { value, read }
  const fault = 'fault' in value ? value.fault : otherThan(requested, value.resource)
  if (!isOther || !counts) throw unfit(KIND, read.url, fault)
  const said = { member: 'resource', location: read.url, from: requested, to: named } as const
  throw new SpeaksOfAnother(fault, said, read)
}

function otherThan(requested: string, resource: string): string {
  const isNear = new URL(resource).origin === new URL(requested).origin
  return `it speaks of ${isNear ? `another resource, ${resource}` : 'a resource of another origin'}`
}
