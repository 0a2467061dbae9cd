/**
 * Which agent a `client_id` names, before it has proved anything. Our ids name their records, and cost
 * nothing here. A URL names the client that publishes its metadata there, as far as a rule of an
 * administrator allows (rules/client-metadata-rule.ts):
 *
 *  1. The rule is asked for at every request, and before anything is fetched: a URL that no rule allows is
 *     never called. Once the facts are read it is asked for with them, by the statement that says their versions.
 *  2. One URL is one agent. Where a rule names a host, its agents are made as they come: each at its first request
 *     that holds, which is for the caller to judge (`holds`), by the document alone.
 *  3. A URL whose agent was retired gets no other by a rule for its host: that takes a rule for the URL.
 */
import type { Reason } from '../audit/reason.ts'
import type { Deps } from '../deps.ts'
import { isMetadataUrl, looksLikeMetadataUrl } from '../oauth/client-metadata.ts'
import { admitAgent } from './admit.ts'
import { type ClientDocument, findClientDocument } from './client-documents.ts'
import { followDocument, isCurrent, isNews } from './follow-document.ts'
import {
  findAllowed,
  type MetadataRule,
  shareMetadataRule,
  shareTenant,
  wasRetired,
} from './metadata-queries.ts'
import { shareOwner } from './queries.ts'

/** `document` is that of a client known by one. */
export type NamedClient = { id: string; document?: ClientDocument }

type Asked = {
  client_id: string
  /** Whether what is remembered of a document will do for this request. */
  serves(document: ClientDocument): boolean
  /** Whether the request holds, by what the client's document says: asked of one that has no agent yet. */
  holds(document: ClientDocument): boolean | Promise<boolean>
  /** Called before somebody is asked for a document; throws where that would be once too often. */
  mayAsk(url: string): void
  request_id?: string | undefined
}

/** Times that all is read anew because another request has changed it. */
const MOST_ATTEMPTS = 4

/**
 * @returns the reason for a URL that names nobody: `kept_changing`, or one that is `invalid_client`, or what an
 *   agent may lack
 */
export async function recogniseClient(
  deps: Deps,
  asked: Asked,
): Promise<NamedClient | { refused: Reason }> {
  const url = asked.client_id
  if (!looksLikeMetadataUrl(url)) return { id: url }
  if (!isMetadataUrl(url, deps.config.allowLoopbackHttp)) return { refused: 'unknown_client' }
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
    const allowed = await findAllowed(deps.db, url, deps.now())
    if (allowed === undefined) return { refused: 'client_metadata_not_allowed' }
    const { rule, agent } = allowed
    const document = await findClientDocument(
      deps,
      url,
      (known) => asked.serves(known) && (agent === undefined || isCurrent(agent, known)),
      () => asked.mayAsk(url),
    )
    if (document === undefined) return { refused: 'client_metadata_unreadable' }
    if (agent === undefined) {
      if (!(await asked.holds(document))) return { refused: 'bad_credentials' }
      const refused = await admit(deps, rule, document, asked.request_id)
      if (refused !== undefined) return { refused }
    } else if (isNews(agent, document)) {
      await followDocument(deps, agent.id, document)
    } else {
      return { id: agent.id, document }
    }
  }
  return { refused: 'kept_changing' }
}

/** In the order of locks: tenant, owner, rule, agent (rules/rule.ts). @returns why there can be none */
function admit(
  deps: Deps,
  rule: MetadataRule,
  document: ClientDocument,
  request_id: string | undefined,
): Promise<Reason | undefined> {
  return deps.db.transaction().execute(async (tx) => {
    const at = deps.now()
    if ((await shareTenant(tx, rule.tenant_id))?.status !== 'active') return 'tenant_suspended'
    if ((await shareOwner(tx, rule.owner_id))?.status !== 'active') return 'owner_inactive'
    const held = await shareMetadataRule(tx, rule.id)
    if (held?.ended_at !== null || (held.expires_at && held.expires_at <= at)) {
      return 'client_metadata_not_allowed'
    }
    if (rule.agent_expires_at <= at) return 'agent_expired'
    const of = { tenant_id: rule.tenant_id, client_metadata_url: document.url }
    if (await wasRetired(tx, of)) return 'agent_retired'
    await admitAgent(tx, { rule, document, request_id, at })
    return undefined
  })
}
