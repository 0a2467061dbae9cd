/**
 * Agents that are known by a client metadata document. A rule says who owns one, what it is for and until
 * when; the document says the rest, and goes on saying it (follow-document.ts).
 */
import { isDeepStrictEqual } from 'node:util'
import { type Actor, recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Db, Row } from '../db/tables.ts'
import { ProblemError } from '../http/problem.ts'
import { hostOfMetadataUrl } from '../oauth/client-metadata.ts'
import type { ClientDocument } from './client-documents.ts'
import {
  findKnownAgent,
  insertKnownAgent,
  type KnownAgent,
  type MetadataRule,
} from './metadata-queries.ts'
import { lockAgent, updateAgent } from './queries.ts'

type Admission = {
  /** Held by the caller, with its owner. */
  rule: MetadataRule
  document: ClientDocument
  /** Who brought it about; the agent itself where nobody is named. */
  actor?: Actor
  request_id?: string | undefined
  at: Date
}

/** What of an agent's row its document says. */
export const columnsFrom = ({ url, metadata, digest, keys_digest, read_at }: ClientDocument) => ({
  name: metadata.client_name ?? hostOfMetadataUrl(url),
  token_endpoint_auth_method: metadata.token_endpoint_auth_method,
  redirect_uris: metadata.redirect_uris,
  grant_types: metadata.grant_types,
  id_token_signed_response_alg: metadata.id_token_signed_response_alg,
  dpop_bound_access_tokens: metadata.dpop_bound_access_tokens,
  client_metadata: JSON.stringify({ digest, keys: keys_digest }),
  client_metadata_seen_at: read_at,
})

/** Names of the columns that would change, as the audit log tells them. */
export function changedBy(agent: Row<'agents'>, next: object): string[] {
  const own = Object.entries(next).filter(([name]) => !name.startsWith('client_metadata'))
  return own
    .filter(([name, value]) => !isDeepStrictEqual(value, agent[name as keyof Row<'agents'>]))
    .map(([name]) => name)
}

/** Makes the agent, active at once; undefined when there is one with this URL already. */
export async function admitAgent(
  tx: Db,
  { rule, document, actor, request_id, at }: Admission,
): Promise<KnownAgent | undefined> {
  const agent = await insertKnownAgent(tx, {
    id: newId('agt'),
    client_metadata_url: document.url,
    ...columnsFrom(document),
    ...columnsOf(rule),
    tenant_id: rule.tenant_id,
    jwks_uri: null,
    status: 'active',
    created_at: at,
    updated_at: at,
  })
  if (agent === undefined) return undefined
  await recordEvent(tx, {
    type: 'agent.created',
    at,
    actor: actor ?? { kind: 'agent', id: agent.id },
    tenant_id: agent.tenant_id,
    agent_id: agent.id,
    user_id: rule.owner_id,
    detail: { client_metadata_rule_id: rule.id },
    request_id,
  })
  return agent
}

/**
 * Gives the agent that there is what the rule and its document say. Its state stays: one that is suspended is
 * for an administrator to resume.
 * @throws {ProblemError} `already_exists` for an agent of another tenant
 */
export async function readmitAgent(
  tx: Db,
  { rule, document, actor = { kind: 'system' }, at }: Admission,
): Promise<KnownAgent> {
  const known = await findKnownAgent(tx, document.url)
  const agent = known && (await lockAgent(tx, known.id))
  if (agent?.tenant_id !== rule.tenant_id || agent.status === 'retired') {
    const detail = 'An agent of another tenant has this client id: retire that first'
    throw new ProblemError('already_exists', detail, { errors: [{ pointer: '/url', detail }] })
  }
  const next = { ...columnsFrom(document), ...columnsOf(rule) }
  const changed = changedBy(agent, next)
  await updateAgent(tx, agent.id, { ...next, ...(changed.length > 0 && { updated_at: at }) })
  if (changed.length > 0) {
    await recordEvent(tx, {
      type: 'agent.updated',
      at,
      actor,
      tenant_id: agent.tenant_id,
      agent_id: agent.id,
      ...(changed.includes('owner_id') ? { user_id: rule.owner_id } : {}),
      detail: { changed, client_metadata_rule_id: rule.id },
    })
  }
  return agent
}

const columnsOf = ({ purpose, owner_id, environment, agent_expires_at }: MetadataRule) => ({
  purpose,
  owner_id,
  environment,
  expires_at: agent_expires_at,
})
