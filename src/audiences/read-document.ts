import type { Deps } from '../deps.ts'
import { freshness } from '../http/freshness.ts'
import { type OutboundAnswer, OutboundError } from '../http/outbound.ts'
import { LONGEST_DOCUMENT } from '../http/published.ts'
import type { ResourceMetadata } from '../oauth/resource-metadata.ts'

/** What one walk needs; after `until` it asks for nothing more. `known`: where the documents lay before. */
export type Way = Pick<Deps, 'outbound' | 'now' | 'config'> & {
  until: Date
  known: readonly string[]
}

/** A document as it was read; `fresh_for` in seconds, where it says so. */
export type ReadDocument = {
  kind: 'protected_resource' | 'authorization_server'
  url: string
  read_at: Date
  fresh_for: number | undefined
  document: Record<string, unknown>
}

export type Read<Value> = { value: Value; read: ReadDocument }

/** There is no audience to be found. The message says why, in words for an administrator. */
export class Undiscoverable extends Error {
  override readonly name: string = 'Undiscoverable'
}

/** In the place of whom (`from`) a document names whom (`to`). */
export type Said = { member: 'issuer' | 'resource'; location: string; from: string; to: string }

/** Where a document of this app has to lie, lies one that speaks of somebody else. */
export class SpeaksOfAnother extends Undiscoverable {
  override readonly name = 'SpeaksOfAnother'
  readonly said: Said
  readonly read: ReadDocument
  /** Which led there. */
  readonly resource: Read<ResourceMetadata> | undefined

  constructor(fault: string, said: Said, read: ReadDocument, resource?: Read<ResourceMetadata>) {
    super(faultOf(read.kind, read.url, fault))
    this.said = said
    this.read = read
    this.resource = resource
  }
}

const NAMES = {
  protected_resource: 'the metadata of the resource',
  authorization_server: 'the metadata of the authorization server',
}

const faultOf = (kind: ReadDocument['kind'], url: string, fault: string): string =>
  `${NAMES[kind]} (${url}): ${fault}`

/** The cause is an OutboundError where nothing could be read, and nothing where it was read and will not do. */
export const unfit = (
  kind: ReadDocument['kind'],
  url: string,
  fault: string | OutboundError,
): Undiscoverable =>
  typeof fault === 'string'
    ? new Undiscoverable(faultOf(kind, url, fault))
    : new Undiscoverable(faultOf(kind, url, fault.message), { cause: fault })

/** Whom a document names, also where it could not be called by that name. */
export function nameIn(
  document: Record<string, unknown>,
  member: Said['member'],
): string | undefined {
  const name = document[member]
  if (typeof name !== 'string' || name.length > 512) return undefined
  return /^https?:\/\/[\x21-\x7e]+$/i.test(name) && URL.canParse(name) ? name : undefined
}

/** What lies there, or what is wrong with it. @throws {Undiscoverable} when nobody answers */
export async function readDocument(
  way: Way,
  kind: ReadDocument['kind'],
  url: string,
): Promise<ReadDocument | OutboundError> {
  refuseLate(way, url)
  const read_at = way.now()
  const answer = await way.outbound
    .getJson(url, { maxBytes: LONGEST_DOCUMENT })
    .catch((error) => tolerate(error, url))
  if (answer instanceof OutboundError) return answer
  return {
    kind,
    url,
    read_at,
    fresh_for: freshness(answer.headers, read_at),
    document: answer.json,
  }
}

/** What the address itself answers, whatever that is. @throws {Undiscoverable} when nobody does */
export async function askAddress(way: Way, url: string): Promise<OutboundAnswer | OutboundError> {
  refuseLate(way, url)
  const headers = { accept: 'application/json' }
  return way.outbound
    .request({ url, method: 'GET', headers, maxBytes: LONGEST_DOCUMENT })
    .catch((error) => tolerate(error, url))
}

/** An answer that will not do is an answer all the same: other places may have a better one. */
function tolerate(error: unknown, url: string): OutboundError {
  if (!(error instanceof OutboundError)) throw error
  if (error.status !== undefined) return error
  throw new Undiscoverable(`${url}: ${error.message}`, { cause: error })
}

function refuseLate({ now, until }: Way, url: string): void {
  if (now() > until) throw new Undiscoverable(`${url}: the answers before took too long`)
}
