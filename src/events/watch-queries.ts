import { sql } from 'kysely'
import type { Db } from '../db/tables.ts'

export type Backlog = {
  /** By state, of those that are not delivered. */
  counts: { status: string; count: number }[]
  /** When the one was queued, or sent again by hand, that has waited longest. */
  oldest: Date | null
  /** Audiences that did not take the last thing they were sent, and how many events they have not taken. */
  failing: { audience_id: string; count: number }[]
}

/** What waits, read off indexes that leave out what was delivered. @param since failures before that are history */
export async function findBacklog(db: Db, since: Date): Promise<Backlog> {
  const { rows } = await sql<Backlog & { oldest: string | null }>`
    with unaccepted as materialized (
      select status, count(*)::int as count, min(coalesce(resent_at, created_at)) as oldest
      from event_deliveries where status <> 'delivered' group by status),
    refused as (
      select audience_id, count(*)::int as count, max(last_attempt_at) as at
      from event_deliveries
      where (status = 'queued' or status = 'failed' and failed_at > ${since}) and last_answer is not null
        -- That was never sent.
        and last_answer->>'failure' is distinct from 'not_signed'
      group by audience_id)
    select
      (select coalesce(jsonb_agg(jsonb_build_object('status', status, 'count', count)), '[]') from unaccepted) as counts,
      (select oldest from unaccepted where status = 'queued') as oldest,
      (select coalesce(jsonb_agg(jsonb_build_object('audience_id', audience_id, 'count', count)), '[]')
        from refused where not exists (
          select from event_deliveries accepted
          where accepted.status = 'delivered' and accepted.audience_id = refused.audience_id
            and accepted.delivered_at > refused.at)) as failing`.execute(db)
  const [row] = rows
  if (row === undefined) throw new Error('an aggregate has one row')
  return row
}
