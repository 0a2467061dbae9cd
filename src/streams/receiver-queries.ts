import { type Insertable, sql } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, EventAnswer, Row, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'

export type ReceiverRow = Omit<Row<'ssf_receivers'>, 'secret_hash'>

const COLUMNS = [
  'id',
  'tenant_id',
  'name',
  'audience',
  'scopes',
  'created_at',
  'created_by',
  'ended_at',
] as const

export const findReceiver = (db: Db, id: string): Promise<ReceiverRow | undefined> =>
  db.selectFrom('ssf_receivers').select(COLUMNS).where('id', '=', id).executeTakeFirst()

export const lockReceiver = (db: Db, id: string): Promise<ReceiverRow | undefined> =>
  db.selectFrom('ssf_receivers').select(COLUMNS).where('id', '=', id).forUpdate().executeTakeFirst()

/**
 * One that has not ended, with the scopes that it may have now. While its tenant is suspended it may read and
 * acknowledge alone, whatever it may do otherwise: that everybody's session there has ended, it has yet to hear.
 */
export async function findLiveReceiver(db: Db, id: string) {
  const receiver = await db
    .selectFrom('ssf_receivers as receiver')
    .innerJoin('tenants', 'tenants.id', 'receiver.tenant_id')
    .select(['receiver.id', 'receiver.tenant_id', 'receiver.audience', 'receiver.scopes'])
    .select(['receiver.secret_hash', 'tenants.status as tenant_status'])
    .where('receiver.id', '=', id)
    .where('receiver.ended_at', 'is', null)
    .executeTakeFirst()
  if (receiver === undefined) return undefined
  const { tenant_status, ...known } = receiver
  const scopes: readonly string[] = tenant_status === 'active' ? known.scopes : ['ssf.read']
  return { ...known, scopes }
}

/** Everybody who takes events of ours by a copy of the key set. */
export const listHearing = (db: Db) =>
  db
    .selectFrom('ssf_receivers')
    .select(['id', 'name', 'audience'])
    .where('ended_at', 'is', null)
    .orderBy('id')
    .execute()

export const insertReceiver = (
  db: Db,
  receiver: Insertable<Tables['ssf_receivers']>,
): Promise<ReceiverRow> =>
  db.insertInto('ssf_receivers').values(receiver).returning(COLUMNS).executeTakeFirstOrThrow()

export async function endReceiverRow(db: Db, id: string, at: Date): Promise<void> {
  await db.updateTable('ssf_receivers').set({ ended_at: at }).where('id', '=', id).execute()
}

export function listReceivers(
  db: Db,
  filter: { status?: 'active' | 'ended'; tenant_id?: string },
  list: ListRequest,
): Promise<ReceiverRow[]> {
  let query = db.selectFrom('ssf_receivers').select(COLUMNS).$call(newestFirst(list))
  const { status, tenant_id } = filter
  if (tenant_id !== undefined) query = query.where('tenant_id', '=', tenant_id)
  if (status !== undefined) {
    query = query.where('ended_at', status === 'ended' ? 'is not' : 'is', null)
  }
  return query.execute()
}

/** How the live streams of receivers fare. */
export const listStreamsOf = (db: Db, receiverIds: readonly string[]) =>
  db
    .selectFrom('streams')
    .select(['id', 'receiver_id', 'method', 'status', 'status_reason', 'created_at'])
    .select([countOf('queued'), countOf('failed'), lastOf('delivered'), lastOf('failed'), ANSWER])
    .where('ended_at', 'is', null)
    .where('receiver_id', '=', sql<string>`any(${receiverIds}::text[])`)
    .execute()

const countOf = <Status extends 'queued' | 'failed'>(status: Status) =>
  sql<number>`(
    select count(*)::int from stream_events event
    where event.stream_id = streams.id and event.status = ${status})`.as(status)

const lastOf = <Status extends 'delivered' | 'failed'>(status: Status) =>
  sql<Date | null>`(
    select max(event.ended_at) from stream_events event
    where event.stream_id = streams.id and event.status = ${status})`.as(
    `last_${status}_at` as const,
  )

/** Of what waits, the one that was put off last. */
const ANSWER = sql<EventAnswer | null>`coalesce(
  (select event.last_answer from stream_events event
    where event.stream_id = streams.id and event.status = 'queued' and event.last_answer is not null
    order by event.next_attempt_at desc limit 1),
  (select event.last_answer from stream_events event
    where event.stream_id = streams.id and event.status = 'failed'
    order by event.ended_at desc limit 1))`.as('last_answer')
