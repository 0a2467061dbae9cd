import { sql, type Transaction } from 'kysely'
import type { Row, Tables } from '../db/tables.ts'
import { newerConsent } from './delivery-queries.ts'

export type Failed = Row<'event_deliveries'> & { overtaken: boolean }

/** The event, held; `overtaken`: its user has consented since. It waits for whoever sends it again as well. */
export async function lockDelivery(
  tx: Transaction<Tables>,
  id: string,
  now: Date,
): Promise<Failed | undefined> {
  const { rows } = await sql<Failed>`
    select event.*, ${newerConsent(now)} as overtaken
    from event_deliveries event where event.id = ${id}
    for update of event`.execute(tx)
  return rows[0]
}

export type Resent = Pick<
  Row<'event_deliveries'>,
  | 'aud'
  | 'jti'
  | 'dialect'
  | 'endpoint'
  | 'event_type'
  | 'agent_id'
  | 'agent_client_id'
  | 'expires_at'
> & { kid: string; jws: string; resent_at: Date }

/** A failed event sets out anew, with nothing tried and nothing known against it; what waits for events is woken. */
export async function resendDelivery(
  tx: Transaction<Tables>,
  id: string,
  { resent_at, ...sent }: Resent,
): Promise<void> {
  await tx
    .updateTable('event_deliveries')
    .set({
      ...sent,
      resent_at,
      earlier_jtis: sql`array_append(earlier_jtis, jti)`,
      status: 'queued',
      next_attempt_at: resent_at,
      failed_at: null,
      attempts: 0,
      outcome_unknown: false,
      remedies: [],
      // It takes away what has been given up to now.
      cluster: sql`(pg_control_system()).system_identifier`,
      covers: sql`pg_current_snapshot()`,
    })
    .where('id', '=', id)
    .execute()
  await sql`select pg_notify('event_deliveries', '')`.execute(tx)
}
