import { sql } from 'kysely'
import type { Db } from '../db/tables.ts'

/**
 * When the last event that each of these keys signed was delivered or given up; `queued` for a key of which
 * one waits still. Keys that signed none are not in it.
 */
export async function listEventEnds(
  db: Db,
  kids: readonly string[],
): Promise<Map<string, Date | 'queued'>> {
  const { rows } = await sql<{ kid: string; queued: boolean; ended_at: Date | null }>`
    select kid,
      exists (select from event_deliveries e where e.kid = asked.kid and e.status = 'queued') as queued,
      (select max(greatest(delivered_at, failed_at, superseded_at)) from event_deliveries e
        where e.kid = asked.kid and e.status <> 'queued') as ended_at
    from unnest(${kids}::text[]) as asked(kid)`.execute(db)
  const ends = new Map<string, Date | 'queued'>()
  for (const { kid, queued, ended_at } of rows) {
    if (queued) ends.set(kid, 'queued')
    else if (ended_at) ends.set(kid, ended_at)
  }
  return ends
}

/** Keys that sign no more and have signed what is still queued. */
export async function listKeysEnded(db: Db): Promise<string[]> {
  const { rows } = await sql<{ kid: string }>`
    select distinct event.kid from event_deliveries event
    left join signing_keys key on key.kid = event.kid and key.status = 'active'
    where event.status = 'queued' and event.kid is not null and key.kid is null
    order by event.kid`.execute(db)
  return rows.map(({ kid }) => kid)
}
