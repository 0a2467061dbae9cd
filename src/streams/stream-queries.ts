import { type Insertable, sql, type Updateable } from 'kysely'
import type { Db, Tables } from '../db/tables.ts'
import type { Stream, StreamStatus } from './stream.ts'

const COLUMNS = [
  'id',
  'tenant_id',
  'receiver_id',
  'method',
  'endpoint_url',
  'authorization_header',
  'events_requested',
  'description',
  'status',
  'status_reason',
  'verified_at',
  'active_at',
  'failing_since',
  'created_at',
  'updated_at',
  'ended_at',
] as const

/** The live stream of a receiver, if it has one. */
export const findStreamOf = (db: Db, receiverId: string): Promise<Stream | undefined> =>
  db
    .selectFrom('streams')
    .select(COLUMNS)
    .where('receiver_id', '=', receiverId)
    .where('ended_at', 'is', null)
    .executeTakeFirst()

export const lockStreamOf = (db: Db, receiverId: string): Promise<Stream | undefined> =>
  db
    .selectFrom('streams')
    .select(COLUMNS)
    .where('receiver_id', '=', receiverId)
    .where('ended_at', 'is', null)
    .forUpdate()
    .executeTakeFirst()

/** Undefined where the receiver has one already. */
export const insertStream = (
  db: Db,
  stream: Insertable<Tables['streams']>,
): Promise<Stream | undefined> =>
  db
    .insertInto('streams')
    .values(stream)
    .onConflict((conflict) =>
      conflict.column('receiver_id').where('ended_at', 'is', null).doNothing(),
    )
    .returning(COLUMNS)
    .executeTakeFirst()

export const updateStream = (
  db: Db,
  id: string,
  change: Updateable<Tables['streams']>,
): Promise<Stream> =>
  db
    .updateTable('streams')
    .set(change)
    .where('id', '=', id)
    .returning(COLUMNS)
    .executeTakeFirstOrThrow()

export const endStreamOf = (
  db: Db,
  receiverId: string,
  at: Date,
): Promise<{ id: string } | undefined> =>
  db
    .updateTable('streams')
    .set({ ended_at: at, authorization_header: null, updated_at: at })
    .where('receiver_id', '=', receiverId)
    .where('ended_at', 'is', null)
    .returning('id')
    .executeTakeFirst()

/** A live stream of a receiver that has not ended, for an administrator. */
export type LiveStream = Pick<Stream, 'tenant_id' | 'receiver_id' | 'method' | 'status'> & {
  stream_id: string
  /** Of its receiver. */
  name: string
}

export const listLiveStreams = (db: Db): Promise<LiveStream[]> =>
  live(db)
    .select(['streams.id as stream_id', 'streams.tenant_id', 'streams.receiver_id'])
    .select(['receiver.name', 'streams.method', 'streams.status'])
    .orderBy('streams.id')
    .execute()

export async function pauseStreams(
  db: Db,
  { reason, at }: { reason: string; at: Date },
): Promise<void> {
  await db
    .updateTable('streams')
    .set({
      status: 'paused' satisfies StreamStatus,
      status_reason: reason,
      failing_since: null,
      updated_at: at,
    })
    .where('id', 'in', live(db).select('streams.id'))
    .execute()
}

const live = (db: Db) =>
  db
    .selectFrom('streams')
    .innerJoin('ssf_receivers as receiver', 'receiver.id', 'streams.receiver_id')
    .where('streams.ended_at', 'is', null)
    .where('receiver.ended_at', 'is', null)

/** False where the last verification was asked for later than `before`. */
export async function noteVerification(
  db: Db,
  id: string,
  { now, before }: { now: Date; before: Date },
): Promise<boolean> {
  const noted = await db
    .updateTable('streams')
    .set({ verified_at: now, active_at: now })
    .where('id', '=', id)
    .where((eb) => eb.or([eb('verified_at', 'is', null), eb('verified_at', '<=', before)]))
    .returning('id')
    .executeTakeFirst()
  return noted !== undefined
}

/** Its receiver was heard of. Written now and then, not with every word. */
export async function noteActivity(db: Db, id: string, now: Date): Promise<void> {
  await db
    .updateTable('streams')
    .set({ active_at: now, failing_since: null })
    .where('id', '=', id)
    .where((eb) =>
      eb.or([
        eb('active_at', '<', sql<Date>`${now}::timestamptz - interval '1 minute'`),
        eb('failing_since', 'is not', null),
      ]),
    )
    .execute()
}

export async function noteFailure(db: Db, id: string, now: Date): Promise<void> {
  await db
    .updateTable('streams')
    .set({ failing_since: now })
    .where('id', '=', id)
    .where('failing_since', 'is', null)
    .execute()
}

/** Streams that send, and of whose receiver nothing was heard since: for push, that accepted nothing since. */
export const lockSilentStreams = (db: Db, since: Date, limit: number) =>
  db
    .selectFrom('streams')
    .select(['id', 'tenant_id', 'receiver_id', 'method'])
    .where('ended_at', 'is', null)
    .where('status', '=', 'enabled' satisfies StreamStatus)
    .where((eb) =>
      eb.or([
        eb.and([eb('method', '=', 'poll'), eb('active_at', '<', since)]),
        eb.and([eb('method', '=', 'push'), eb('failing_since', '<', since)]),
      ]),
    )
    .limit(limit)
    .forUpdate()
    .skipLocked()
    .execute()

/** Headers that are kept, for whoever encrypts them anew. */
export const listSealedHeaders = (db: Db) =>
  db
    .selectFrom('streams')
    .select(['id', 'authorization_header'])
    .where('authorization_header', 'is not', null)
    .execute()

export async function replaceSealedHeader(
  db: Db,
  id: string,
  { from, to }: { from: string; to: string },
): Promise<void> {
  await db
    .updateTable('streams')
    .set({ authorization_header: to })
    .where('id', '=', id)
    .where('authorization_header', '=', from)
    .execute()
}

export type StreamCount = Pick<Stream, 'method' | 'status'> & {
  streams: number
  waiting: number
  oldest: Date | null
}

/** Live streams by how they are delivered and how they stand, and what waits on them. */
export async function countStreams(db: Db): Promise<StreamCount[]> {
  const { rows } = await sql<StreamCount>`
    with waiting as (
      select stream_id, count(*) as count, min(created_at) as oldest
      from stream_events where status = 'queued' group by stream_id)
    select method, status, count(*)::int as streams, coalesce(sum(waiting.count), 0)::int as waiting,
      min(waiting.oldest) as oldest
    from streams left join waiting on waiting.stream_id = streams.id
    where ended_at is null
    group by method, status order by method, status`.execute(db)
  return rows
}
