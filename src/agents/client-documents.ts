/**
 * Client metadata documents, read where their URLs lead and remembered as long as they say (DS-43, DS-44).
 *
 *   fresh     used as it is. One that does not serve a request is asked for again, once it is as old as the
 *             least that anything is remembered; while that fails, the one that is known is used on
 *   over      asked for again; without an answer there is no document
 *
 *  1. Whoever asks has seen a rule that allows the URL: strangers send us nowhere else.
 *  2. A failure and a document that does not count are not remembered. One request for a URL is under way at
 *     a time, and the caller counts how many it has cost (`mayAsk`).
 *  3. What was wrong with a document of others is for our log, and for the administrator who allows it.
 */
import { createHash } from 'node:crypto'
import { freshness } from '../http/freshness.ts'
import { type Outbound, OutboundError } from '../http/outbound.ts'
import { keysOf, type PublicKey } from '../http/published-keys.ts'
import { type ClientMetadata, readClientMetadata } from '../oauth/client-metadata.ts'

export type ClientDocument = {
  url: string
  metadata: ClientMetadata
  /** Of its `jwks`: those that we verify with. */
  keys: PublicKey[]
  /** Of all that counts in it, and of what says its keys. */
  digest: string
  keys_digest: string
  read_at: Date
}

/** A document that was read and does not count. The message is for who wrote it. */
export class UnfitDocument extends Error {
  override readonly name = 'UnfitDocument'
}

type Surroundings = {
  config: { allowLoopbackHttp: boolean }
  outbound: Pick<Outbound, 'getJson'>
  now: () => Date
  log: { warn: (what: object, words: string) => void }
}

/** Bytes of a document (DS-43). */
const LONGEST_DOCUMENT = 5 * 1024
/** Milliseconds that a document is remembered: at least, at the most, and when it does not say (DS-44). */
const LEAST = 60_000
const MOST = 24 * 60 * 60_000
const UNLESS_TOLD = 5 * 60_000
const MOST_DOCUMENTS = 1_000

type Kept = { document: ClientDocument; fresh_until: number; asked_at: number }
const kept = new Map<string, Kept>()
const reading = new Map<string, Promise<ClientDocument>>()

/**
 * The document as it is now, whatever is remembered of it.
 * @throws {OutboundError} when it cannot be had, {UnfitDocument} when it does not count
 */
export function readClientDocument(deps: Surroundings, url: string): Promise<ClientDocument> {
  const underWay = reading.get(url)
  if (underWay !== undefined) return underWay
  const next = ask(deps, url).finally(() => reading.delete(url))
  reading.set(url, next)
  return next
}

/**
 * The document at a URL that a rule allows; undefined when it cannot be had.
 * @param serves whether the one that is remembered will do
 * @param mayAsk called before anybody is asked; throws where that would be once too often
 */
export async function findClientDocument(
  deps: Surroundings,
  url: string,
  serves: (document: ClientDocument) => boolean,
  mayAsk: () => void,
): Promise<ClientDocument | undefined> {
  const now = deps.now().getTime()
  const known = kept.get(url)
  const fresh = known !== undefined && now < known.fresh_until ? known : undefined
  if (fresh && (serves(fresh.document) || now - fresh.asked_at < LEAST)) return fresh.document
  if (fresh) fresh.asked_at = now
  // One that serves in general is asked for anew at most once in a while, whoever wants it.
  else if (!reading.has(url)) mayAsk()
  try {
    return await readClientDocument(deps, url)
  } catch (error) {
    if (!(error instanceof OutboundError || error instanceof UnfitDocument)) throw error
    deps.log.warn({ err: error, url }, 'a client metadata document could not be used')
    return fresh?.document
  }
}

async function ask(deps: Surroundings, url: string): Promise<ClientDocument> {
  const now = deps.now()
  const { json, headers } = await deps.outbound.getJson(url, { maxBytes: LONGEST_DOCUMENT })
  const found = readClientMetadata(json, url, deps.config.allowLoopbackHttp)
  if ('fault' in found) throw new UnfitDocument(found.fault)
  const document = documentOf(url, found.metadata, now)
  const told = freshness(headers, now)
  const lifetime = told === undefined ? UNLESS_TOLD : told * 1000
  const bounded = Math.min(Math.max(lifetime, LEAST), MOST)
  const at = now.getTime()
  kept.delete(url)
  if (kept.size >= MOST_DOCUMENTS) kept.delete(kept.keys().next().value as string)
  kept.set(url, { document, fresh_until: at + bounded, asked_at: at })
  return document
}

function documentOf(url: string, metadata: ClientMetadata, read_at: Date): ClientDocument {
  const { jwks, jwks_uri } = metadata
  const keys = jwks === undefined ? [] : keysOf({ keys: jwks })
  if (jwks !== undefined && keys.length === 0) {
    throw new UnfitDocument('its jwks has no EC P-256, RSA or Ed25519 key that can be used')
  }
  return {
    url,
    metadata,
    keys,
    digest: digestOf({ ...metadata, jwks: jwks?.map(inOneOrder).sort() }),
    keys_digest: digestOf({ jwks_uri, jwks: jwks?.map(inOneOrder).sort() }),
    read_at,
  }
}

/** Nobody promises to write the members of an object in the same order twice. */
const inOneOrder = (key: Record<string, unknown>): string =>
  JSON.stringify(Object.entries(key).sort(([one], [other]) => (one < other ? -1 : 1)))

const digestOf = (value: object): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('base64url')
