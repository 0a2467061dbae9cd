import { type Insertable, type SqlBool, sql, type Updateable } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'
import type { EntitlementQuery } from './schema.ts'

export type Pair = { agent_id: string; audience_id: string }

const COLUMNS = [
  'id',
  'tenant_id',
  'agent_id',
  'audience_id',
  'client_id',
  'client_id_since',
  'scopes',
  'resources',
  'authorization_details_types',
  'consent',
  'expires_at',
  'created_at',
  'updated_at',
  'ended_at',
] as const

export function findEntitlement(db: Db, of: Pair): Promise<Row<'entitlements'> | undefined> {
  return db
    .selectFrom('entitlements')
    .select(COLUMNS)
    .where((eb) => eb.and(of))
    .where('ended_at', 'is', null)
    .executeTakeFirst()
}

export function lockEntitlement(db: Db, of: Pair): Promise<Row<'entitlements'> | undefined> {
  return db
    .selectFrom('entitlements')
    .select(COLUMNS)
    .where((eb) => eb.and(of))
    .where('ended_at', 'is', null)
    .forUpdate()
    .executeTakeFirst()
}

export function lockEntitlementById(db: Db, id: string): Promise<Row<'entitlements'> | undefined> {
  return db
    .selectFrom('entitlements')
    .select(COLUMNS)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

/** The last one of this pair, live or not. */
export function findLastEntitlement(db: Db, of: Pair): Promise<Row<'entitlements'> | undefined> {
  return db
    .selectFrom('entitlements')
    .select(COLUMNS)
    .where((eb) => eb.and(of))
    .orderBy('created_at', 'desc')
    .limit(1)
    .executeTakeFirst()
}

export function listEntitlements(
  db: Db,
  agentId: string,
  filter: EntitlementQuery,
  list: ListRequest,
  now: Date,
): Promise<Row<'entitlements'>[]> {
  let query = db
    .selectFrom('entitlements')
    .select(COLUMNS)
    .where('agent_id', '=', agentId)
    .$call(newestFirst(list))
  if (filter.audience_id !== undefined) query = query.where('audience_id', '=', filter.audience_id)
  if (filter.status === 'ended') {
    query = query.where((eb) =>
      eb.or([eb('ended_at', 'is not', null), eb('expires_at', '<=', now)]),
    )
  }
  if (filter.status === 'active') {
    query = query
      .where('ended_at', 'is', null)
      .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]))
  }
  return query.execute()
}

/** Undefined when another call has just made a live one for this pair. */
export function insertEntitlement(
  db: Db,
  entitlement: Insertable<Tables['entitlements']>,
): Promise<Row<'entitlements'> | undefined> {
  return db
    .insertInto('entitlements')
    .values(entitlement)
    .onConflict((conflict) =>
      conflict.columns(['agent_id', 'audience_id']).where('ended_at', 'is', null).doNothing(),
    )
    .returning(COLUMNS)
    .executeTakeFirst()
}

export function updateEntitlement(
  db: Db,
  id: string,
  change: Updateable<Tables['entitlements']>,
): Promise<Row<'entitlements'>> {
  return db
    .updateTable('entitlements')
    .set(change)
    .where('id', '=', id)
    .returning(COLUMNS)
    .executeTakeFirstOrThrow()
}

/** Ends the entitlements in reach that ask no user (`consent: "admin"`), in the order of their ids. */
export function endAdminEntitlements(
  db: Db,
  { of, at }: { of: { agent_ids?: string[]; audience_id?: string; tenant_id?: string }; at: Date },
) {
  const { agent_ids, audience_id, tenant_id } = of
  const reach =
    agent_ids !== undefined
      ? sql<SqlBool>`agent_id = any(${agent_ids}::text[])`
      : audience_id !== undefined
        ? sql<SqlBool>`audience_id = ${audience_id}`
        : sql<SqlBool>`tenant_id = ${tenant_id}`
  return db
    .updateTable('entitlements')
    .set({ ended_at: at, updated_at: at })
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('entitlements')
        .select('id')
        .where('ended_at', 'is', null)
        .where('consent', '=', 'admin')
        .where(reach)
        .orderBy('id')
        .forUpdate(),
    )
    .returning(['id', 'tenant_id', 'agent_id', 'audience_id'])
    .execute()
}

/** Holds the tenant of an agent, so that nobody ends it before this transaction has ended. */
export const shareTenantOf = (tx: Db, agentId: string) =>
  tx
    .selectFrom('tenants')
    .select('id')
    .where('id', '=', (eb) => eb.selectFrom('agents').select('tenant_id').where('id', '=', agentId))
    .forShare()
    .executeTakeFirst()

/** The agent, locked `for share`: it stays as it is until this transaction has committed. */
export function shareAgent(
  db: Db,
  id: string,
): Promise<Pick<Row<'agents'>, 'tenant_id' | 'status'> | undefined> {
  return db
    .selectFrom('agents')
    .select(['tenant_id', 'status'])
    .where('id', '=', id)
    .forShare()
    .executeTakeFirst()
}

/** The audience, locked `for share`: so does its catalogue. */
export function shareAudience(
  db: Db,
  id: string,
): Promise<Pick<Row<'audiences'>, 'tenant_id' | 'status' | 'resources'> | undefined> {
  return db
    .selectFrom('audiences')
    .select(['tenant_id', 'status', 'resources'])
    .where('id', '=', id)
    .forShare()
    .executeTakeFirst()
}

export async function agentExists(db: Db, id: string): Promise<boolean> {
  const row = await db.selectFrom('agents').select('id').where('id', '=', id).executeTakeFirst()
  return row !== undefined
}
