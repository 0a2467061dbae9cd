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

/**
 * Delegations of an audience, in the order of their ids: whether this key minted under them, and their audience
 * is yet to be told of it. `limit 1` has each of them looked up by itself, whatever the planner expects: it
 * would rather read millions of issuances once than one of each delegation.
 */
export async function listDelegationsOfKey(
  db: Db,
  of: { kid: string; audience_id: string; since: Date; after: string; limit: number },
): Promise<{ id: string; user_id: string; sub: string; due: boolean }[]> {
  const { kid, audience_id, since, after, limit } = of
  const { rows } = await sql<{ id: string; user_id: string; sub: string; due: boolean }>`
    with page as materialized (
      select id, user_id, sub_asserted as sub from delegations
      where audience_id = ${audience_id} and id > ${after} order by id limit ${limit})
    select page.*, minted.jti is not null as due
    from page
    left join lateral (
      select id from event_deliveries event
      where event.compromised_kid = ${kid} and event.audience_id = ${audience_id} and event.sub = page.sub
      limit 1) told on true
    left join lateral (
      select jti from issuances
      where told.id is null and issuances.delegation_id = page.id
        and issuances.at >= ${since} and issuances.kid = ${kid}
      order by issuances.at limit 1) minted on true
    order by page.id`.execute(db)
  return rows
}

/** Audiences that were told because of a key, or will be. */
export async function listAudiencesTold(db: Db, kid: string): Promise<string[]> {
  const rows = await db
    .selectFrom('event_deliveries')
    .select('audience_id')
    .distinct()
    .where('compromised_kid', '=', kid)
    .orderBy('audience_id')
    .execute()
  return rows.map(({ audience_id }) => audience_id)
}
