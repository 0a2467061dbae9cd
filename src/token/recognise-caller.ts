import { findAssertionKey } from '../agents/authenticate.ts'
import type { ClientDocument } from '../agents/client-documents.ts'
import { type NamedClient, recogniseClient } from '../agents/recognise.ts'
import type { Deps } from '../deps.ts'
import { countDocument } from '../http/document-limit.ts'
import { keysFor } from '../http/published-keys.ts'
import { looksLikeMetadataUrl } from '../oauth/client-metadata.ts'
import type { DecodedJws } from '../oauth/jws.ts'
import type { Credentials } from './delegate-token.ts'
import type { Facts } from './facts.ts'
import { TooManyRequests } from './limits.ts'
import type { Progress } from './progress.ts'
import { Refusal } from './refusals.ts'

/**
 * Which agent a request says it comes from: for one that is known by a URL, what it publishes there has been
 * read. It has not proved anything yet.
 * @throws {Refusal} for a URL that may not come here, or has no document
 */
export async function recogniseCaller(
  deps: Deps,
  credentials: Credentials,
  { request_id, address }: Pick<Progress, 'request_id' | 'address'>,
): Promise<NamedClient> {
  const client_id = credentials.clientId
  if (!looksLikeMetadataUrl(client_id)) return { id: client_id }
  const client = await recogniseClient(deps, {
    client_id,
    request_id,
    serves: (document) =>
      credentials.method !== 'assertion' || hasKeyFor(credentials.assertion.header, document),
    holds: (document) => provesItself(deps, credentials, document),
    mayAsk: mayAskFor(deps, address),
  })
  if (!('refused' in client)) return client
  throw new Refusal(client.refused, client.refused === 'kept_changing' ? { retryAfter: 1 } : {})
}

/** The facts with what the agent publishes, if it is known by that. */
export const withDocument = (facts: Facts, { document }: NamedClient): Facts =>
  document && facts.agent ? { ...facts, agent: { ...facts.agent, document } } : facts

/** Whether a token with this header may be by a key of this document, or by one that it does not hold itself. */
export const hasKeyFor = (
  header: DecodedJws['header'],
  { metadata, keys }: ClientDocument,
): boolean => metadata.jwks === undefined || keysFor(header, keys).length > 0

/** Counts the documents that have to be fetched. The function that it gives throws {TooManyRequests}. */
export const mayAskFor =
  (deps: Pick<Deps, 'tally'>, address?: string) =>
  (url: string): void => {
    const spent = countDocument(deps, { url, address })
    if (spent) throw new TooManyRequests(spent.budget, spent.exceeded)
  }

/** A client without an agent has no code and no token either: an assertion is all that it can come with. */
async function provesItself(
  deps: Deps,
  credentials: Credentials,
  document: ClientDocument,
): Promise<boolean> {
  if (credentials.method !== 'assertion') return false
  if (document.metadata.token_endpoint_auth_method !== 'private_key_jwt') return false
  const client = { jwks_uri: null, credentials: [], document }
  return (await findAssertionKey(deps, document.url, client, credentials.assertion)) !== undefined
}
