import { OutboundError } from '../http/outbound.ts'
import { metadataUrlOf } from '../oauth/challenge.ts'
import { readMetadataUrl, resourceLocations, speaksOf } from '../oauth/metadata-location.ts'
import { type ResourceMetadata, readResourceMetadata } from '../oauth/resource-metadata.ts'
import { parseWebUrl } from '../oauth/uri.ts'
import {
  askAddress,
  type Read,
  type ReadDocument,
  readDocument,
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
    if (!(answer instanceof OutboundError)) return judge(way, answer, url)
    // Out of order for now: what lies in another place instead may be something else.
    const { status = 0 } = answer
    if (status >= 500 || status === 429) throw unfit(KIND, location, answer.message)
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
  if (answer instanceof OutboundError) throw unfit(KIND, location, answer.message)
  return judge(way, answer, requested)
}

/** DR-02, DR-03. */
function judge({ config }: Way, read: ReadDocument, requested: string): Read<ResourceMetadata> {
  const value = readResourceMetadata(read.document, config.allowLoopbackHttp)
  if ('fault' in value) throw unfit(KIND, read.url, value.fault)
  if (speaksOf(value.resource, requested)) return { value, read }
  const isNear = new URL(value.resource).origin === new URL(requested).origin
  const other = isNear ? `another resource, ${value.resource}` : 'a resource of another origin'
  throw unfit(KIND, read.url, `it speaks of ${other}`)
}
