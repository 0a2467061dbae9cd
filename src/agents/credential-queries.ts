import { type Insertable, sql } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'
import type { CredentialQuery } from './schema.ts'

/** Without the key and the hash: nobody asks for those here. */
export type CredentialRow = Pick<
  Row<'credentials'>,
  'id' | 'kind' | 'slot' | 'kid' | 'created_at' | 'ended_at'
>

const COLUMNS = ['id', 'kind', 'slot', 'kid', 'created_at', 'ended_at'] as const

export function listCredentials(
  db: Db,
  agentId: string,
  filter: CredentialQuery,
  list: ListRequest,
): Promise<CredentialRow[]> {
  const query = db
    .selectFrom('credentials')
    .select(COLUMNS)
    .where('agent_id', '=', agentId)
    .$call(newestFirst(list))
  if (filter.status === undefined) return query.execute()
  return query.where('ended_at', filter.status === 'active' ? 'is' : 'is not', null).execute()
}

export function listLiveCredentials(db: Db, agentId: string): Promise<CredentialRow[]> {
  return db
    .selectFrom('credentials')
    .select(COLUMNS)
    .where('agent_id', '=', agentId)
    .where('ended_at', 'is', null)
    .execute()
}

export function insertCredential(
  db: Db,
  credential: Insertable<Tables['credentials']>,
): Promise<CredentialRow> {
  return db
    .insertInto('credentials')
    .values(credential)
    .returning(COLUMNS)
    .executeTakeFirstOrThrow()
}

/** Whether this agent has this key or had it, whatever it was called: as it is kept, without its name. */
export async function hasHadKey(
  db: Db,
  agentId: string,
  { kid: _, ...members }: Record<string, unknown>,
): Promise<'live' | 'ended' | undefined> {
  const kept = await db
    .selectFrom('credentials')
    .select('ended_at')
    .where('agent_id', '=', agentId)
    .where(sql<boolean>`jwk - 'kid' = ${JSON.stringify(members)}::jsonb`)
    .execute()
  if (kept.length === 0) return undefined
  return kept.some(({ ended_at }) => ended_at === null) ? 'live' : 'ended'
}

export function lockCredential(
  db: Db,
  of: { agent_id: string; id: string },
): Promise<(CredentialRow & { tenant_id: string }) | undefined> {
  return db
    .selectFrom('credentials')
    .select([...COLUMNS, 'tenant_id'])
    .where('id', '=', of.id)
    .where('agent_id', '=', of.agent_id)
    .forUpdate()
    .executeTakeFirst()
}

export async function endCredentialRow(db: Db, id: string, now: Date): Promise<void> {
  await db.updateTable('credentials').set({ ended_at: now }).where('id', '=', id).execute()
}

/** Their ids. */
export async function endLiveCredentials(db: Db, agentId: string, now: Date): Promise<string[]> {
  const ended = await db
    .updateTable('credentials')
    .set({ ended_at: now })
    .where('agent_id', '=', agentId)
    .where('ended_at', 'is', null)
    .returning('id')
    .execute()
  return ended.map(({ id }) => id)
}
