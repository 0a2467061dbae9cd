import { type SelectQueryBuilder, sql } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'

/** All but the token itself. */
const COLUMNS = [
  'id',
  'tenant_id',
  'audience_id',
  'aud',
  'user_id',
  'sub',
  'agent_id',
  'revocation_id',
  'compromised_kid',
  'cause',
  'endpoint',
  'dialect',
  'event_type',
  'jti',
  'earlier_jtis',
  'status',
  'attempts',
  'created_at',
  'next_attempt_at',
  'last_attempt_at',
  'last_answer',
  'delivered_at',
  'failed_at',
  'superseded_at',
  'expires_at',
  'resent_at',
] as const

export type Delivery = Pick<Row<'event_deliveries'>, (typeof COLUMNS)[number]>

export const findDelivery = (db: Db, id: string): Promise<Delivery | undefined> =>
  db.selectFrom('event_deliveries').select(COLUMNS).where('id', '=', id).executeTakeFirst()

/** A live delegation that keeps its rights, while its app ends what it gave under it all the same. */
export type Interrupt = {
  delegation_id: string
  user_id: string
  agent_id: string
  audience_id: string
}

/** Interrupted delegations in one answer. */
export const MOST_INTERRUPTS = 100

/**
 * Live delegations of before an event, or of before those of a revocation, that is about every agent of its user:
 * their agents come again. One that another event or a newer consent has replaced ends nothing any more.
 */
export async function listInterrupts(
  db: Db,
  of: { id: string } | { revocation_id: string },
  limit: number,
): Promise<Interrupt[]> {
  const [column, value] = 'id' in of ? ['id', of.id] : ['revocation_id', of.revocation_id]
  const { rows } = await sql<Interrupt>`
    select d.id as delegation_id, d.user_id, d.agent_id, d.audience_id
    from (select user_id, audience_id, max(created_at) as created_at from event_deliveries
      where ${sql.ref(column)} = ${value} and agent_id is null and status <> 'superseded'
      group by user_id, audience_id) event
    join delegations d on d.user_id = event.user_id and d.audience_id = event.audience_id
    where d.status = 'active' and d.created_at <= event.created_at
    order by d.id limit ${limit}`.execute(db)
  return rows
}

export type DeliveryFilter = {
  status?: Delivery['status'] | undefined
  audience_id?: string | undefined
  user_id?: string | undefined
  agent_id?: string | undefined
  revocation_id?: string | undefined
}

type Page = { limit: number; after?: { created_at: Date; id: string } | undefined }

export function listDeliveries(
  db: Db,
  { agent_id, ...filter }: DeliveryFilter,
  page: Page,
): Promise<Delivery[]> {
  const those = db.selectFrom('event_deliveries').select(COLUMNS).$call(matching(filter))
  if (agent_id === undefined) return those.$call(newestFirst(page)).execute()
  // A page of either is enough for one of both, and each is found in the order of an index.
  const [named, unnamed] = [naming(agent_id), aboutAll(agent_id)].map((about) =>
    those.where(about).$call(newestFirst(page)),
  )
  const either = sql<Delivery>`(${named} union all ${unnamed})`.as('event')
  return db.selectFrom(either).select(COLUMNS).$call(newestFirst(page)).execute()
}

const matching =
  ({ status, revocation_id, ...about }: Omit<DeliveryFilter, 'agent_id'>) =>
  <Columns>(query: SelectQueryBuilder<Tables, 'event_deliveries', Columns>) => {
    let those = query
    for (const column of ['audience_id', 'user_id'] as const) {
      const id = about[column]
      if (id !== undefined) those = those.where(column, '=', id)
    }
    if (status !== undefined) those = those.where('status', '=', status)
    if (revocation_id !== undefined) those = those.$call(askedForBy(revocation_id))
    return those
  }

const naming = (agent_id: string) => sql<boolean>`agent_id = ${agent_id}`

/**
 * Those about every agent of a user where this one may have come before. A condition of each row, so that the events
 * of an agent of many users are read from the newest until the page is full; by the users alone once more, so that
 * those of an agent of few are looked up.
 */
const aboutAll = (agent_id: string) => sql<boolean>`agent_id is null
  and user_id in (select user_id from delegations where agent_id = ${agent_id})
  and exists (
    select from delegations d
    where d.agent_id = ${agent_id} and d.user_id = event_deliveries.user_id
      and d.audience_id = event_deliveries.audience_id and d.created_at <= event_deliveries.created_at)`

/** Those that it queued, and those that were on their way and prove it as well. */
const askedForBy =
  (revocation_id: string) =>
  <Columns>(query: SelectQueryBuilder<Tables, 'event_deliveries', Columns>) =>
    query.where(sql<boolean>`id in (
      select id from event_deliveries where revocation_id = ${revocation_id}
      union all select delivery_id from revocation_events where revocation_id = ${revocation_id})`)
