import { sql } from 'kysely'
import type { Db } from '../db/tables.ts'

/**
 * Of subjects at audiences that have another issuer by now: the last event for the one of before, if that server
 * has not accepted it. What it gave lives on there, and no event to the new one says otherwise.
 */
export async function listLeftBehind(
  db: Db,
  subjects: readonly { audience_id: string; sub: string; agent_id: string | null }[],
): Promise<string[]> {
  if (subjects.length === 0) return []
  const { rows } = await sql<{ id: string }>`
    select last.id
    from (
      select distinct on (event.aud, event.sub, event.agent_id) event.id, event.status
      from jsonb_to_recordset(${JSON.stringify(subjects)}::jsonb)
        as one(audience_id text, sub text, agent_id text)
      join audiences on audiences.id = one.audience_id
      join event_deliveries event on event.audience_id = one.audience_id and event.sub = one.sub
        and event.aud <> audiences.issuer
        and (event.agent_id is null or one.agent_id is null or event.agent_id = one.agent_id)
      order by event.aud, event.sub, event.agent_id, event.created_at desc, event.id desc) last
    where last.status in ('queued', 'failed')`.execute(db)
  return rows.map(({ id }) => id)
}
