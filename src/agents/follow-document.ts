import { recordEvent } from '../audit/record.ts'
import type { Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { changedBy, columnsFrom } from './admit.ts'
import type { ClientDocument } from './client-documents.ts'
import type { KnownAgent } from './metadata-queries.ts'
import { lockAgent, updateAgent } from './queries.ts'

type Seen = Pick<KnownAgent, 'client_metadata' | 'client_metadata_seen_at'>

/** Whether this is what the agent's row was written from, or was read after that. */
export const isCurrent = (agent: Seen, document: ClientDocument): boolean =>
  agent.client_metadata?.digest === document.digest || isNews(agent, document)

/** Whether the document says something else than the agent's row, and says it later. */
export const isNews = (
  { client_metadata, client_metadata_seen_at }: Seen,
  { digest, read_at }: ClientDocument,
): boolean =>
  client_metadata?.digest !== digest &&
  (client_metadata_seen_at === null || client_metadata_seen_at < read_at)

/**
 * The agent's row says what its document says now, and the audit log what has changed (DS-46). Of its keys
 * it sees those in the document, or where the document says they are.
 */
export async function followDocument(
  deps: Pick<Deps, 'db' | 'now'>,
  agentId: string,
  document: ClientDocument,
): Promise<void> {
  await deps.db.transaction().execute(async (tx) => {
    const agent = await lockAgent(tx, agentId)
    if (agent === undefined || agent.status === 'retired' || !isNews(agent, document)) return
    const at = deps.now()
    const next = columnsFrom(document)
    await updateAgent(tx, agentId, { ...next, updated_at: at })
    await recordEvent(tx, {
      type: 'agent.client_metadata_changed',
      at,
      actor: { kind: 'system' },
      tenant_id: agent.tenant_id,
      agent_id: agentId,
      detail: { changed: [...changedKeys(agent, document), ...changedBy(agent, next)] },
    })
  })
}

const changedKeys = ({ client_metadata }: Row<'agents'>, { keys_digest }: ClientDocument) =>
  client_metadata?.keys === keys_digest ? [] : ['keys']
