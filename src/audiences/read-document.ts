import type { Deps } from '../deps.ts'
import { freshness } from '../http/freshness.ts'
import { type OutboundAnswer, OutboundError } from '../http/outbound.ts'
import { LONGEST_DOCUMENT } from '../http/published.ts'

/** What one walk needs; after `until` it asks for nothing more. */
export type Way = Pick<Deps, 'outbound' | 'now' | 'config'> & { until: Date }

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
  override readonly name = 'Undiscoverable'
}

const NAMES = {
  protected_resource: 'the metadata of the resource',
  authorization_server: 'the metadata of the authorization server',
}

export const unfit = (kind: ReadDocument['kind'], url: string, fault: string): Undiscoverable =>
  new Undiscoverable(`${NAMES[kind]} (${url}): ${fault}`)

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
