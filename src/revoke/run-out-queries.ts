import { type RawBuilder, sql } from 'kysely'
import type { Db } from '../db/tables.ts'

export type RunOut = {
  id: string
  tenant_id: string
  user_id: string
  agent_id: string
  audience_id: string
}
export type WhyRunOut = 'expired' | 'agent_expired' | 'entitlement_expired'

/** What one round ends, or tells of, at the most, for each reason. */
export const MOST_RUN_OUT = 500

/** Delegations that are said to live and have run out by time, at audiences that want to hear of it. */
export async function listRunOut(db: Db, now: Date): Promise<RunOut[]> {
  const runOut = (from: RawBuilder<unknown>) => sql`(
    select d.id, d.tenant_id, d.user_id, d.agent_id, d.audience_id
    from ${from} limit ${MOST_RUN_OUT})`
  // Each from where it is found by an index: the delegations themselves are many.
  const { rows } = await sql<RunOut>`
    with listening as materialized (
      select id from audiences where notify_expiry and events_dialect <> 'none'),
    found as (
      ${runOut(
        sql`listening au join delegations d on d.audience_id = au.id and d.status = 'active'
          and d.expires_at <= ${now}`,
      )}
      union all ${runOut(
        sql`agents a join delegations d on d.agent_id = a.id and d.status = 'active'
          where a.expires_at <= ${now} and d.audience_id in (select id from listening)`,
      )}
      union all ${runOut(
        sql`listening au join entitlements e on e.audience_id = au.id and e.ended_at is null
            and e.expires_at <= ${now}
          join delegations d on d.agent_id = e.agent_id and d.audience_id = au.id and d.status = 'active'`,
      )})
    select distinct * from found order by id`.execute(db)
  return rows
}

/** Why one that had run out still has, and is said to live: an end may have been moved since. The caller holds it. */
export async function findRunOut(db: Db, id: string, now: Date): Promise<WhyRunOut | undefined> {
  const { rows } = await sql<{ why: WhyRunOut | null }>`
    select case
      when d.expires_at <= ${now} then 'expired'
      when exists (
        select from entitlements e
        where e.agent_id = d.agent_id and e.audience_id = d.audience_id and e.ended_at is null
          and e.expires_at <= ${now}) then 'entitlement_expired'
      when exists (
        select from agents a where a.id = d.agent_id and a.expires_at <= ${now}) then 'agent_expired'
      end as why
    from delegations d where d.id = ${id} and d.status = 'active'`.execute(db)
  return rows[0]?.why ?? undefined
}
