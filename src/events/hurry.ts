import { type RawBuilder, sql } from 'kysely'
import type { Db } from '../db/tables.ts'

/**
 * Has the events that wait for this pair tried at once, whatever they wait for: a user consents again, and no
 * ID-JAG is minted before the app has heard of what ended (EV-14), by this audience or by an earlier one of the same
 * issuer.
 * @returns how many it hurried.
 */
export const hurry = (
  db: Db,
  { audience_id, sub }: { audience_id: string; sub: string },
): Promise<number> =>
  hurryThose(
    db,
    sql`select event.id from audiences join event_deliveries event
        on event.tenant_id = audiences.tenant_id and event.aud = audiences.issuer
      where audiences.id = ${audience_id} and event.status = 'queued' and event.sub = ${sub}`,
  )

/** The same for what waits to go where this audience listens: it has another endpoint now. */
export const hurryAll = (db: Db, audience_id: string): Promise<number> =>
  hurryThose(
    db,
    sql`select event.id from audiences join event_deliveries event
        on event.tenant_id = audiences.tenant_id and event.aud = audiences.issuer
      where audiences.id = ${audience_id} and event.status = 'queued'
        and event.dialect = audiences.events_dialect`,
  )

/** The same for one that is not due yet. */
export const hurryOne = (db: Db, { id, now }: { id: string; now: Date }): Promise<number> =>
  hurryThose(
    db,
    sql`select event.id from event_deliveries event
      where event.id = ${id} and event.status = 'queued' and event.next_attempt_at > ${now}`,
  )

/**
 * Waits for nobody: an event that is being sent is left alone, for that is the attempt asked for. Within a
 * transaction it counts from the commit. One whose app is to have read our keys first, or we its metadata, may be
 * refused once more for that, and then has the whole wait again.
 */
async function hurryThose(db: Db, those: RawBuilder<unknown>): Promise<number> {
  const { rows } = await sql<{ hurried: number }>`
    with waiting as (
      ${those} and event.next_attempt_at > event.created_at
      for update of event skip locked),
    hurried as (
      -- Due since it was queued, by whichever clock that was.
      update event_deliveries event set next_attempt_at = event.created_at,
        -- It had not its time to help, so that it has not failed to.
        remedies = array_remove(event.remedies, case event.last_answer->>'err'
          when 'authentication_failed' then 'cache_window' when 'invalid_audience' then 'metadata' end)
      from waiting where event.id = waiting.id
      returning event.id),
    woken as materialized (
      select pg_notify('event_deliveries', '') where exists (select from hurried))
    select (select count(*)::int from hurried) as hurried, (select count(*) from woken)`.execute(db)
  return rows[0]?.hurried ?? 0
}
