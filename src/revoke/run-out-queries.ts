import { type RawBuilder, sql } from 'kysely'
import type { Db } from '../db/tables.ts'

export type RunOut = {
  id: string
  tenant_id: string
  user_id: string
  agent_id: string
  audience_id: string
  why: 'expired' | 'agent_expired' | 'entitlement_expired'
}

/** What one round ends, or tells of, at the most, for each reason. */
export const MOST_RUN_OUT = 500

/** Delegations that are said to live and have run out by time, at audiences that want to hear of it. */
export async function listRunOut(db: Db, now: Date): Promise<RunOut[]> {
  const runOut = (why: RunOut['why'], from: RawBuilder<unknown>) => sql`(
    select d.id, d.tenant_id, d.user_id, d.agent_id, d.audience_id, ${why}::text as why
    from ${from} limit ${MOST_RUN_OUT})`
  // Each from where it is found by an index: the delegations themselves are many.
  const { rows } = await sql<RunOut>`
    with listening as materialized (
      select id from audiences where notify_expiry and events_dialect <> 'none'),
    found as (
      ${runOut(
        'expired',
        sql`listening au join delegations d on d.audience_id = au.id and d.status = 'active'
          and d.expires_at <= ${now}`,
      )}
      union all ${runOut(
        'agent_expired',
        sql`agents a join delegations d on d.agent_id = a.id and d.status = 'active'
          where a.expires_at <= ${now} and d.audience_id in (select id from listening)`,
      )}
      union all ${runOut(
        'entitlement_expired',
        sql`listening au join entitlements e on e.audience_id = au.id and e.ended_at is null
            and e.expires_at <= ${now}
          join delegations d on d.agent_id = e.agent_id and d.audience_id = au.id and d.status = 'active'`,
      )})
    select distinct on (id) * from found order by id, why desc`.execute(db)
  return rows
}

/** Whether one that had run out is still said to live; the caller holds it. */
export async function isLive(db: Db, id: string): Promise<boolean> {
  const row = await db
    .selectFrom('delegations')
    .select('id')
    .where('id', '=', id)
    .where('status', '=', 'active')
    .executeTakeFirst()
  return row !== undefined
}
