import { sql } from 'kysely'
import type { Db, EventAnswer, Row } from '../db/tables.ts'
import { EVENT, type QueuedEvent } from './set.ts'

export async function insertEvents(db: Db, events: readonly QueuedEvent[]): Promise<void> {
  if (events.length === 0) return
  const rows = events.map((event) => ({ ...event, next_attempt_at: event.created_at }))
  await sql`
    insert into stream_events (jti, tenant_id, stream_id, txn, event_type, event, user_id, session_id, complex,
      email, next_attempt_at, created_at)
    select jti, tenant_id, stream_id, txn, event_type, event, user_id, session_id, complex,
      email, next_attempt_at, created_at
    from jsonb_populate_recordset(null::stream_events, ${JSON.stringify(rows)}::jsonb)`.execute(db)
}

const CONTENT = [
  'event.jti',
  'event.txn',
  'event.stream_id',
  'event.tenant_id',
  'event.event_type',
  'event.event',
  'event.user_id',
  'event.session_id',
  'event.complex',
  'event.email',
  'event.created_at',
] as const

/** Queued events of streams that send. Of one that we disabled the last word is told all the same. */
const sendable = (db: Db) =>
  db
    .selectFrom('stream_events as event')
    .innerJoin('streams', 'streams.id', 'event.stream_id')
    .innerJoin('ssf_receivers as receiver', 'receiver.id', 'streams.receiver_id')
    .where('event.status', '=', 'queued')
    .where('streams.ended_at', 'is', null)
    .where('receiver.ended_at', 'is', null)
    .where((eb) =>
      eb.or([
        eb('streams.status', '=', 'enabled'),
        eb('event.event_type', '=', EVENT.streamUpdated),
      ]),
    )

/** Not one that its receiver had no key for a while ago: it comes again when that key may be known. */
const fetchable = (db: Db, now: Date) =>
  sendable(db).where((eb) =>
    eb.or([
      eb('event.next_attempt_at', '<=', now),
      sql<boolean>`event.last_answer ->> 'err' is distinct from 'invalid_key'`,
    ]),
  )

/** What waits to be fetched, the oldest first. */
export const listWaiting = (
  db: Db,
  streamId: string,
  { now, limit }: { now: Date; limit: number },
): Promise<QueuedEvent[]> =>
  fetchable(db, now)
    .select(CONTENT)
    .where('event.stream_id', '=', streamId)
    .orderBy('event.created_at')
    .orderBy('event.jti')
    .limit(limit)
    .execute()

/** Those of these streams on which something waits. */
export async function listStreamsWithEvents(
  db: Db,
  ids: readonly string[],
  now: Date,
): Promise<string[]> {
  const rows = await fetchable(db, now)
    .select('event.stream_id')
    .distinct()
    .where('event.stream_id', '=', sql<string>`any(${ids}::text[])`)
    .execute()
  return rows.map(({ stream_id }) => stream_id)
}

/** An event to be pushed now, and where. */
export type Push = QueuedEvent &
  Pick<Row<'stream_events'>, 'attempts' | 'first_attempt_at' | 'remedies'> & {
    aud: string
    endpoint_url: string
    authorization_header: string | null
  }

const due = (db: Db, now: Date) =>
  sendable(db).where('streams.method', '=', 'push').where('event.next_attempt_at', '<=', now)

/** Push streams with something to send now, the one that waits longest first. */
export async function listDueStreams(
  db: Db,
  { now, limit }: { now: Date; limit: number },
): Promise<string[]> {
  const rows = await due(db, now)
    .select('event.stream_id')
    .groupBy('event.stream_id')
    .orderBy((eb) => eb.fn.min('event.next_attempt_at'))
    .limit(limit)
    .execute()
  return rows.map(({ stream_id }) => stream_id)
}

/**
 * Takes due events of a stream until `until`: whoever takes one sends it, and if it is never heard of again,
 * somebody else does. What somebody else is taking is left out.
 */
export async function takeDue(
  db: Db,
  { stream_id, now, until, limit }: { stream_id: string; now: Date; until: Date; limit: number },
): Promise<Push[]> {
  return db
    .with('due', (own) =>
      due(own as unknown as Db, now)
        .select('event.jti')
        .where('event.stream_id', '=', stream_id)
        .orderBy('event.next_attempt_at')
        .orderBy('event.jti')
        .limit(limit)
        .forUpdate('event')
        .skipLocked(),
    )
    .updateTable('stream_events as event')
    .from('streams')
    .from('ssf_receivers as receiver')
    .set((eb) => ({
      attempts: eb('event.attempts', '+', 1),
      first_attempt_at: sql<Date>`coalesce(event.first_attempt_at, ${now})`,
      next_attempt_at: until,
    }))
    .where('event.jti', 'in', (eb) => eb.selectFrom('due').select('jti'))
    .whereRef('streams.id', '=', 'event.stream_id')
    .whereRef('receiver.id', '=', 'streams.receiver_id')
    .returning([...CONTENT, 'event.attempts', 'event.first_attempt_at', 'event.remedies'])
    .returning((eb) => [
      eb.ref('receiver.audience').as('aud'),
      eb.ref('streams.endpoint_url').$notNull().as('endpoint_url'),
      'streams.authorization_header',
    ])
    .execute()
}

type Of = { stream_id: string; jtis: readonly string[] }
type Ended = { status: 'delivered' | 'failed'; at: Date; answer?: EventAnswer }

/** Ends queued events of one stream; those that have ended stay as they are. Returns which it ended. */
export async function endEvents(
  db: Db,
  { stream_id, jtis }: Of,
  { status, at, answer }: Ended,
): Promise<string[]> {
  if (jtis.length === 0) return []
  const ended = await db
    .updateTable('stream_events')
    .set({
      status,
      ended_at: at,
      email: null,
      ...(answer && { last_answer: JSON.stringify(answer) }),
    })
    .where('jti', 'in', (eb) =>
      eb
        .selectFrom('stream_events')
        .select('jti')
        .where('stream_id', '=', stream_id)
        .where('jti', '=', sql<string>`any(${jtis}::text[])`)
        .where('status', '=', 'queued')
        // In one order, so that two who end the same ones cannot wait for each other.
        .orderBy('jti')
        .forUpdate(),
    )
    .where('status', '=', 'queued')
    .returning('jti')
    .execute()
  return ended.map(({ jti }) => jti)
}

/** Tries again then, unless somebody has taken it meanwhile. */
export async function putOff(
  db: Db,
  { jti, attempts }: Pick<Push, 'jti' | 'attempts'>,
  { until, answer, remedies }: { until: Date; answer: EventAnswer } & Pick<Push, 'remedies'>,
): Promise<void> {
  await db
    .updateTable('stream_events')
    .set({ next_attempt_at: until, last_answer: JSON.stringify(answer), remedies })
    .where('jti', '=', jti)
    .where('attempts', '=', attempts)
    .where('status', '=', 'queued')
    .execute()
}

type HeldBack = { stream_id: string; jti: string; at: Date; until: Date; answer: EventAnswer }

/**
 * Keeps a queued event back until then, unless it was first refused before `firstAfter`. Returns false if it was,
 * or has ended.
 */
export async function holdBack(
  db: Db,
  { stream_id, jti, at, until, firstAfter, answer }: HeldBack & { firstAfter: Date },
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('stream_events')
    .set({
      first_attempt_at: sql<Date>`coalesce(first_attempt_at, ${at})`,
      next_attempt_at: until,
      last_answer: JSON.stringify(answer),
    })
    .where('jti', '=', jti)
    .where('stream_id', '=', stream_id)
    .where('status', '=', 'queued')
    .where((eb) =>
      eb.or([eb('first_attempt_at', 'is', null), eb('first_attempt_at', '>', firstAfter)]),
    )
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

/** What a stream holds that sends no more. */
export async function dropEvents(db: Db, streamId: string, at: Date): Promise<void> {
  await db
    .updateTable('stream_events')
    .set({ status: 'dropped', ended_at: at, email: null })
    .where('jti', 'in', (eb) =>
      eb
        .selectFrom('stream_events')
        .select('jti')
        .where('stream_id', '=', streamId)
        .where('status', '=', 'queued')
        .orderBy('jti')
        .forUpdate(),
    )
    .where('status', '=', 'queued')
    .execute()
}

/** Whatever waits on any stream, while nobody else is there. Returns how many. */
export async function dropAllEvents(db: Db, at: Date): Promise<number> {
  const { numUpdatedRows } = await db
    .updateTable('stream_events')
    .set({ status: 'dropped', ended_at: at, email: null })
    .where('status', '=', 'queued')
    .executeTakeFirst()
  return Number(numUpdatedRows)
}

/** Whatever was held for too long, or is too much. Returns on which streams. */
export async function dropExcess(
  db: Db,
  { before, most, at }: { before: Date; most: number; at: Date },
): Promise<{ stream_id: string; count: number }[]> {
  const { rows } = await sql<{ stream_id: string; count: number }>`
    with crowded as (
      select stream_id from stream_events where status = 'queued' group by stream_id having count(*) > ${most}),
    beyond as (
      select kept.jti from crowded, lateral (
        select jti from stream_events e where e.stream_id = crowded.stream_id and e.status = 'queued'
        order by created_at desc, jti desc offset ${most}) kept),
    free as (
      select jti from stream_events
      where status = 'queued' and (created_at < ${before} or jti in (select jti from beyond))
      for update skip locked),
    gone as (
      update stream_events set status = 'failed', ended_at = ${at}, email = null,
        last_answer = '{"failure":"held for too long, or too many"}'
      where jti in (select jti from free)
      returning stream_id)
    select stream_id, count(*)::int as count from gone group by stream_id`.execute(db)
  return rows
}
