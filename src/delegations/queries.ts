import { type Insertable, type SqlBool, sql, type Transaction } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'
import type { DelegationStatus } from './delegation.ts'
import type { Triple } from './lock.ts'

export const DELEGATION_COLUMNS = [
  'id',
  'tenant_id',
  'user_id',
  'agent_id',
  'audience_id',
  'scopes',
  'resources',
  'authorization_details',
  'claims',
  'mode',
  'offline',
  'source',
  'sub_asserted',
  'text_version',
  'status',
  'created_at',
  'expires_at',
  'consumed_at',
  'revoked_at',
  'end_reason',
] as const

/** The live row of the three, held to the end of the transaction. Its end may have passed. */
export const lockLiveDelegation = (tx: Transaction<Tables>, of: Triple) =>
  tx
    .selectFrom('delegations')
    .select(['id', 'status', 'expires_at'])
    .where('user_id', '=', of.user_id)
    .where('agent_id', '=', of.agent_id)
    .where('audience_id', '=', of.audience_id)
    .where('status', '=', 'active')
    .forUpdate()
    .executeTakeFirst()

/** Makes room for a newer one. */
export const endReplaced = (
  tx: Transaction<Tables>,
  id: string,
  status: DelegationStatus,
  now: Date,
) =>
  tx
    .updateTable('delegations')
    .set(
      status === 'expired'
        ? { status }
        : { status: 'revoked', revoked_at: now, end_reason: 'replaced' },
    )
    .where('id', '=', id)
    .execute()

/** The new row, or undefined when another live one of the three was committed meanwhile. */
export const insertDelegation = (tx: Transaction<Tables>, row: Insertable<Tables['delegations']>) =>
  tx
    .insertInto('delegations')
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .returning(DELEGATION_COLUMNS)
    .executeTakeFirst()

/** Ends one, unless it had ended already; undefined then, and also when there is none. */
export const endOne = (tx: Transaction<Tables>, id: string, reason: string, now: Date) =>
  tx
    .updateTable('delegations')
    .set(endedAt(now, reason))
    .where('id', '=', id)
    .where('status', '=', 'active')
    .returning(['id', 'status', 'tenant_id', 'user_id', 'agent_id', 'audience_id'])
    .executeTakeFirst()

/** Which delegations a revocation is about: members given are joined by `and`. */
export type DelegationsOf = {
  user_id?: string
  /** Of these agents too, whoever their user is: those of an owner who is gone as a user as well. */
  or_agent_ids?: readonly string[]
  agent_ids?: readonly string[]
  audience_id?: string
  tenant_id?: string
  ids?: readonly string[]
}

/** Ends every live delegation in reach, in the order of their ids; returns those that were revoked by it. */
export async function endAll(
  tx: Transaction<Tables>,
  { of, at, reason }: { of: DelegationsOf; at: Date; reason: string },
) {
  const ended = await tx
    .updateTable('delegations')
    .set(endedAt(at, reason))
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('delegations')
        .select('id')
        .where('status', '=', 'active')
        .where(inReach(of))
        .orderBy('id')
        .forUpdate(),
    )
    .returning(['id', 'status', 'tenant_id', 'user_id', 'agent_id', 'audience_id'])
    .execute()
  return ended.filter(({ status }) => status === 'revoked')
}

/** Drops every open question in reach, so that none is answered after what it asks about was revoked. */
export async function expireInteractions(
  tx: Transaction<Tables>,
  of: DelegationsOf,
): Promise<void> {
  await tx
    .updateTable('interactions')
    .set({ status: 'expired' })
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('interactions')
        .select('id')
        .where('status', '=', 'open')
        .where(inReach(of))
        .orderBy('id')
        .forUpdate(),
    )
    .execute()
}

/** Without agents the user alone, who is then found by an index. */
const userOrAgents = (userId: string, agentIds: readonly string[]) =>
  agentIds.length === 0
    ? sql`user_id = ${userId}`
    : sql`(user_id = ${userId} or agent_id = any(${agentIds}::text[]))`

/** A condition on columns that delegations and interactions share. */
export function inReach(of: DelegationsOf) {
  const { user_id, or_agent_ids = [], agent_ids, audience_id, tenant_id, ids } = of
  const conditions = [
    user_id === undefined ? undefined : userOrAgents(user_id, or_agent_ids),
    ids === undefined ? undefined : sql`id = any(${ids}::text[])`,
    agent_ids === undefined ? undefined : sql`agent_id = any(${agent_ids}::text[])`,
    audience_id === undefined ? undefined : sql`audience_id = ${audience_id}`,
    tenant_id === undefined ? undefined : sql`tenant_id = ${tenant_id}`,
  ].filter((condition) => condition !== undefined)
  if (conditions.length === 0) throw new TypeError('no reach named')
  return sql<SqlBool>`(${sql.join(conditions, sql` and `)})`
}

/** An ending, for every row that still says active: those whose time has passed become `expired` instead. */
export const endedAt = (now: Date, reason: string) => {
  const passed = sql<boolean>`expires_at is not null and expires_at <= ${now}::timestamptz`
  return {
    status: sql<DelegationStatus>`case when ${passed} then 'expired' else 'revoked' end`,
    revoked_at: sql<Date>`case when ${passed} then null else ${now}::timestamptz end`,
    end_reason: sql<string>`case when ${passed} then end_reason else ${reason}::text end`,
  }
}

/** One row, as it stands. */
export const findDelegation = (db: Db, id: string) =>
  db.selectFrom('delegations').select(DELEGATION_COLUMNS).where('id', '=', id).executeTakeFirst()

/**
 * Gives the live delegations of these pairs, or of one agent's part in them, another version, which says the same:
 * a mint that rests on one and has not seen yet that an event waits for its subject reads again. The caller holds them.
 */
export async function touchLive(
  tx: Transaction<Tables>,
  pairs: readonly { user_id: string; audience_id: string; agent_id: string | null }[],
  now: Date,
): Promise<(Triple & { delegation_id: string })[]> {
  if (pairs.length === 0) return []
  const { rows } = await sql<Triple & { delegation_id: string }>`
    with pairs as materialized (
      select distinct user_id, audience_id, agent_id
      from jsonb_to_recordset(${JSON.stringify(pairs)}::jsonb)
        as pair(user_id text, audience_id text, agent_id text)),
    live as (
      -- One that was made since is held here first, and in the order in which all are.
      select d.id from pairs
      join delegations d on d.user_id = pairs.user_id and d.audience_id = pairs.audience_id
        and (pairs.agent_id is null or d.agent_id = pairs.agent_id)
      where d.status = 'active' and (d.expires_at is null or d.expires_at > ${now})
      order by d.id for update of d)
    update delegations d set scopes = d.scopes from live where d.id = live.id
    returning d.id as delegation_id, d.user_id, d.agent_id, d.audience_id`.execute(tx)
  return rows
}

/** One row, held to the end of the transaction. */
export const lockDelegation = (tx: Transaction<Tables>, id: string) =>
  tx
    .selectFrom('delegations')
    .select(DELEGATION_COLUMNS)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()

export type DelegationFilter = Partial<Triple> & { status?: DelegationStatus | undefined }

/** Newest first. The status asked for is the effective one. */
export function listDelegations(db: Db, filter: DelegationFilter, list: ListRequest, now: Date) {
  let query = db.selectFrom('delegations').select(DELEGATION_COLUMNS).select(lastMintedAt)
  for (const name of ['user_id', 'agent_id', 'audience_id'] as const) {
    const value = filter[name]
    if (value !== undefined) query = query.where(name, '=', value)
  }
  if (filter.status === 'active') {
    query = query.where(
      sql<SqlBool>`status = 'active' and (expires_at is null or expires_at > ${now})`,
    )
  } else if (filter.status === 'expired') {
    query = query.where(
      sql<SqlBool>`(status = 'expired' or (status = 'active' and expires_at <= ${now}))`,
    )
  } else if (filter.status !== undefined) {
    query = query.where('status', '=', filter.status)
  }
  return query.$call(newestFirst(list)).execute()
}

export const lastMintedAt = sql<Date | null>`(
  select max(at) from issuances where delegation_id = delegations.id)`.as('last_minted_at')

/** A live delegation that carries this agent on while its user is signed out, wherever it leads. */
export const findOfflineDelegation = (
  db: Db,
  of: { user_id: string; agent_id: string },
  now: Date,
) =>
  db
    .selectFrom('delegations')
    .select('id')
    .where('user_id', '=', of.user_id)
    .where('agent_id', '=', of.agent_id)
    .where('status', '=', 'active')
    .where('offline', '=', true)
    .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]))
    .limit(1)
    .executeTakeFirst()

/** Which tenant a user is of, whatever the user's state. It never changes. */
export const findTenantOfUser = (db: Db, id: string) =>
  db.selectFrom('users').select('tenant_id').where('id', '=', id).executeTakeFirst()
