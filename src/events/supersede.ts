import { sql, type Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'

/**
 * Drops what waits to be delivered where one of these revocations says the same to the same audience about the
 * same subject. The revocations that had asked for it are proved by the new event's arrival.
 * @returns how many were dropped
 */
export async function supersedeQueued(
  tx: Transaction<Tables>,
  { revocation_ids, at }: { revocation_ids: readonly string[]; at: Date },
): Promise<number> {
  const { rows } = await sql`
    with pair as (
      select old.id, old.revocation_id, latest.id as by
      from event_deliveries old join event_deliveries latest using (audience_id, sub)
      where old.status = 'queued' and latest.revocation_id = any(${revocation_ids}::text[])
        and coalesce(old.revocation_id, '') <> all(${revocation_ids}::text[])
    ), proof as (
      insert into revocation_events (revocation_id, delivery_id)
      select revocation_id, by from pair where revocation_id is not null
      union
      select asked.revocation_id, by from pair join revocation_events asked on asked.delivery_id = pair.id
      on conflict do nothing
    )
    update event_deliveries event
    set status = 'superseded', superseded_at = ${at}, next_attempt_at = null
    from pair where pair.id = event.id
    returning event.id`.execute(tx)
  return rows.length
}
