import { type Insertable, type SqlBool, sql, type Transaction } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'

export type Named = { tenant_id: string }
type Tx = Transaction<Tables>

/** The row a revocation names, held `for update`. */
export async function findNamed(
  tx: Tx,
  table: 'agents' | 'users' | 'audiences' | 'tenants',
  id: string,
): Promise<Named | undefined> {
  if (table !== 'tenants') {
    return tx
      .selectFrom(table)
      .select('tenant_id')
      .where('id', '=', id)
      .forUpdate()
      .executeTakeFirst()
  }
  const tenant = await tx
    .selectFrom('tenants')
    .select('id')
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
  return tenant && { tenant_id: tenant.id }
}

export async function listAgentsOwned(db: Db, ownerId: string): Promise<string[]> {
  const agents = await db
    .selectFrom('agents')
    .select('id')
    .where('owner_id', '=', ownerId)
    .orderBy('id')
    .execute()
  return agents.map(({ id }) => id)
}

const REVOCATION_COLUMNS = [
  'id',
  'agent_id',
  'user_id',
  'audience_id',
  'owner_id',
  'revoked_tenant_id as tenant_id',
  'reason',
  'admin_key_id',
  'delegations_revoked',
  'refresh_tokens_revoked',
  'events_queued',
  'created_at',
] as const

export async function insertRevocation(
  tx: Tx,
  revocation: Insertable<Tables['revocations']>,
): Promise<void> {
  await tx.insertInto('revocations').values(revocation).execute()
}

export const findRevocation = (db: Db, id: string) =>
  db.selectFrom('revocations').select(REVOCATION_COLUMNS).where('id', '=', id).executeTakeFirst()

/** What became of the events that prove a revocation: its own, and those on their way before it. */
export async function findProof(db: Db, id: string) {
  const { rows } = await sql<{
    delivered: number
    pending: number
    failed: number
    last_acknowledged_at: Date | null
  }>`
    select count(*) filter (where status = 'delivered')::int as delivered,
      count(*) filter (where status = 'queued')::int as pending,
      -- What a newer consent made pointless had failed before; what another replaces is told by that one.
      count(*) filter (where status = 'failed'
        or status = 'superseded' and resent_at is not null)::int as failed,
      max(delivered_at) as last_acknowledged_at
    from (
      select status, delivered_at, resent_at from event_deliveries where revocation_id = ${id}
      union all
      select status, delivered_at, resent_at from event_deliveries
      where id in (select delivery_id from revocation_events where revocation_id = ${id})) proof`.execute(
    db,
  )
  return rows[0] ?? { delivered: 0, pending: 0, failed: 0, last_acknowledged_at: null }
}

export const listRevocations = (db: Db, list: ListRequest) =>
  db.selectFrom('revocations').$call(newestFirst(list)).select(REVOCATION_COLUMNS).execute()

/** Everybody who may hold a copy of the key set, in all tenants, and these, whatever became of them. */
export function listRelyingApps(db: Db, ids: readonly string[]) {
  return db
    .selectFrom('audiences')
    .select(['id', 'name', 'issuer', 'owner_id'])
    .where((eb) => eb.or([eb('status', '!=', 'retired'), sql<SqlBool>`id = any(${ids}::text[])`]))
    .orderBy('id')
    .execute()
}
