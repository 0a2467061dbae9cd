import { findAssertionKey } from '../agents/authenticate.ts'
import type { ClientDocument } from '../agents/client-documents.ts'
import { type NamedClient, recogniseClient } from '../agents/recognise.ts'
import type { Deps } from '../deps.ts'
import { countDocument } from '../http/document-limit.ts'
import { keysFor } from '../http/published-keys.ts'
import { looksLikeMetadataUrl } from '../oauth/client-metadata.ts'
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
    serves: (document) => hasKeyFor(credentials, document),
    holds: (document) => provesItself(deps, credentials, document),
    mayAsk: (url) => {
      const spent = countDocument(deps, { url, address })
      if (spent) throw new TooManyRequests(spent.budget, spent.exceeded)
    },
  })
  if (!('refused' in client)) return client
  throw new Refusal(client.refused, client.refused === 'kept_changing' ? { retryAfter: 1 } : {})
}

/** The facts with what the agent publishes, if it is known by that. */
export const withDocument = (facts: Facts, { document }: NamedClient): Facts =>
  document && facts.agent ? { ...facts, agent: { ...facts.agent, document } } : facts

/** What a document says of keys elsewhere, or of none, serves every request. */
const hasKeyFor = (credentials: Credentials, { metadata, keys }: ClientDocument): boolean =>
  credentials.method !== 'assertion' ||
  metadata.jwks === undefined ||
  keysFor(credentials.assertion.header, keys).length > 0

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
