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

/** What already tells an audience once more of an event that it had accepted. */
export const findSentAgain = (
  tx: Transaction<Tables>,
  { aud, sub, audience_id, agent_id }: Failed,
): Promise<{ id: string } | undefined> =>
  tx
    .selectFrom('event_deliveries')
    .select('id')
    .where('status', '=', 'queued')
    .where('resent_at', 'is not', null)
    .where((eb) => eb.and({ aud, sub, audience_id }))
    .where(sql<boolean>`(agent_id is null or agent_id = ${agent_id})`)
    .orderBy('id')
    .limit(1)
    .executeTakeFirst()

/**
 * One more event that says the same, of no revocation: that was proved by the one before, and what becomes of this
 * one takes nothing back. A compromised key is told of once, so that it is not named again.
 */
export async function copyDelivery(
  tx: Transaction<Tables>,
  { tenant_id, audience_id, user_id, sub, cause }: Failed,
  { resent_at, ...sent }: Resent & { id: string },
): Promise<void> {
  await tx
    .insertInto('event_deliveries')
    .values({
      ...{ tenant_id, audience_id, user_id, sub, cause },
      ...sent,
      resent_at,
      created_at: resent_at,
      next_attempt_at: resent_at,
    })
    .execute()
}
