import { type Insertable, sql, type Updateable } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'
import { looksLikeMetadataUrl } from '../oauth/client-metadata.ts'
import type { AgentQuery } from './schema.ts'

export type AgentWithUse = Row<'agents'> & { last_used_at: Date | null }

const COLUMNS = [
  'id',
  'tenant_id',
  'name',
  'purpose',
  'owner_id',
  'environment',
  'expires_at',
  'token_endpoint_auth_method',
  'jwks_uri',
  'redirect_uris',
  'grant_types',
  'id_token_signed_response_alg',
  'dpop_bound_access_tokens',
  'client_metadata_url',
  'client_metadata',
  'client_metadata_seen_at',
  'status',
  'status_reason',
  'created_at',
  'updated_at',
] as const

/** An issuance's id sorts by time, so the newest is one step on the index of agent and id. */
const lastUsedAt = sql<Date | null>`(
  select at from issuances where issuances.agent_id = agents.id order by jti desc limit 1)`.as(
  'last_used_at',
)

export function findAgent(db: Db, id: string): Promise<AgentWithUse | undefined> {
  return db
    .selectFrom('agents')
    .select(COLUMNS)
    .select(lastUsedAt)
    .where('id', '=', id)
    .executeTakeFirst()
}

export function lockAgent(db: Db, id: string): Promise<Row<'agents'> | undefined> {
  return db.selectFrom('agents').select(COLUMNS).where('id', '=', id).forUpdate().executeTakeFirst()
}

export function listAgents(db: Db, filter: AgentQuery, list: ListRequest): Promise<AgentWithUse[]> {
  let query = db.selectFrom('agents').select(COLUMNS).select(lastUsedAt).$call(newestFirst(list))
  for (const name of ['status', 'owner_id', 'environment', 'tenant_id'] as const) {
    const value = filter[name]
    if (value !== undefined) query = query.where(name, '=', value)
  }
  if (filter.client_id === undefined) return query.execute()
  const byUrl = looksLikeMetadataUrl(filter.client_id)
  return (
    byUrl
      ? query.where('client_metadata_url', '=', filter.client_id)
      : query.where('id', '=', filter.client_id).where('client_metadata_url', 'is', null)
  ).execute()
}

export function insertAgent(db: Db, agent: Insertable<Tables['agents']>): Promise<Row<'agents'>> {
  return db.insertInto('agents').values(agent).returning(COLUMNS).executeTakeFirstOrThrow()
}

export function updateAgent(
  db: Db,
  id: string,
  change: Updateable<Tables['agents']>,
): Promise<Row<'agents'>> {
  return db
    .updateTable('agents')
    .set(change)
    .where('id', '=', id)
    .returning(COLUMNS)
    .executeTakeFirstOrThrow()
}

/** Gives the row another version, which says the same: what compares versions reads again (rules/block.ts). */
export function touchAgent(
  db: Db,
  id: string,
): Promise<Pick<Row<'agents'>, 'tenant_id' | 'status'> | undefined> {
  return db
    .updateTable('agents')
    .set((eb) => ({ updated_at: eb.ref('updated_at') }))
    .where('id', '=', id)
    .returning(['tenant_id', 'status'])
    .executeTakeFirst()
}

/**
 * The owner's row, locked `for share`: they stay as they are until this transaction has committed. Users come
 * before agents in the order of locks, also those who own one.
 */
export function shareOwner(
  db: Db,
  id: string,
): Promise<Pick<Row<'users'>, 'tenant_id' | 'status'> | undefined> {
  return db
    .selectFrom('users')
    .select(['tenant_id', 'status'])
    .where('id', '=', id)
    .forShare()
    .executeTakeFirst()
}

/** The same of the owner that an agent has now. Undefined where there is none. */
export function shareOwnerOf(db: Db, agentId: string): Promise<{ id: string } | undefined> {
  return db
    .selectFrom('users')
    .select('id')
    .where('id', '=', (eb) => eb.selectFrom('agents').select('owner_id').where('id', '=', agentId))
    .forShare()
    .executeTakeFirst()
}
