import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { Db, Tables } from '../db/tables.ts'
import { type DelegationsOf, inReach } from '../delegations/queries.ts'

type Tx = Transaction<Tables>

/** An audience that minted ID-JAGs may have acted on and that has to hear of an ending. */
export type Owed = {
  audience_id: string
  user_id: string
  sub: string
  /** The agent, for an audience that understands an event about one; otherwise null. */
  agent_id: string | null
  /** As the audience knows that agent. */
  client_id: string | null
  /** An event on its way that says the same already. */
  queued_id: string | null
}

/**
 * Holds the live delegations in reach, and those of other agents that a mint for the same user at the same
 * audience rests on, in the order of their ids: what ends and what only hears of it wait for no mint after this.
 */
export async function lockPairs(tx: Tx, of: DelegationsOf): Promise<void> {
  await sql`
    with reached as materialized (
      select id, user_id, audience_id from delegations where ${inReach(of)}),
    pairs as materialized (
      select distinct reached.user_id, reached.audience_id from reached
      join audiences au on au.id = reached.audience_id and au.events_dialect <> 'none')
    select id from delegations
    where status = 'active' and id in (
      select id from reached
      union all
      select d.id from pairs
      join delegations d on d.user_id = pairs.user_id and d.audience_id = pairs.audience_id
      where d.status = 'active')
    order by id for update`.execute(tx)
}

/**
 * Whom a revocation in this reach is owed to: each subject of an audience that takes events, for whom an
 * ID-JAG was minted under any delegation in reach, be it consumed, expired or replaced, that no event since
 * has been accepted for (GR-08). What an event covers is told by its snapshot and not by clocks: a mint is
 * covered when it had committed before the event was written, and none commits while an event waits (EV-14).
 *
 * `withheld`: the audience is told at the last ending only, and another agent of the user may still come there.
 * At the last one all that was ever minted there counts.
 */
export async function listOwed(
  tx: Tx,
  of: DelegationsOf,
  now: Date,
): Promise<(Owed & { withheld: boolean })[]> {
  const { rows } = await sql<Owed & { withheld: boolean }>`
    with reach as materialized (
      select id, user_id, agent_id, audience_id, sub_asserted as sub
      from delegations where ${inReach(of)}),
    reached as materialized (
      select distinct reach.user_id, reach.audience_id, reach.sub,
        case when au.event_names_agent then reach.agent_id end as agent_id,
        au.notify_when = 'last' and not au.event_names_agent as last
      from reach join audiences au on au.id = reach.audience_id
      where au.events_endpoint is not null and au.events_dialect <> 'none'),
    judged as materialized (
      select *, last and exists (
        select from delegations other
        where other.user_id = reached.user_id and other.audience_id = reached.audience_id
          and other.sub_asserted = reached.sub and other.status = 'active'
          and (other.expires_at is null or other.expires_at > ${now})) as withheld
      from reached),
    minted as (
      select judged.*, reach.id from judged
      join reach on reach.user_id = judged.user_id and reach.audience_id = judged.audience_id
        and reach.sub = judged.sub and (judged.agent_id is null or reach.agent_id = judged.agent_id)
      where not judged.last
      union all
      select judged.*, d.id from judged
      join delegations d on d.user_id = judged.user_id and d.audience_id = judged.audience_id
        and d.sub_asserted = judged.sub
      where judged.last),
    telling as (
      select minted.*, event.id as event_id, event.status, event.cluster, event.covers, event.created_at
      from minted
      left join lateral (
        select id, status, cluster, covers, created_at from event_deliveries e
        where e.audience_id = minted.audience_id and e.sub = minted.sub
          and e.status in ('queued', 'delivered')
          and (e.agent_id is null or e.agent_id = minted.agent_id)
        order by e.created_at desc, e.id desc limit 1) event on true),
    open as (
      select user_id, audience_id, sub, agent_id, withheld, event_id, status,
        case when event_id is null then exists (
          select from issuances i where i.delegation_id = telling.id)
        else exists (
          select from issuances i
          where i.delegation_id = telling.id
            -- Only the newest can be uncovered; the margin is far beyond what clocks and frozen servers do.
            and i.at > telling.created_at - interval '1 day'
            and case when i.cluster = telling.cluster
              then not pg_visible_in_snapshot(i.xid::text::xid8, telling.covers)
              -- Of before a restore, unless it is the event that is.
              else telling.cluster <> (select system_identifier from pg_control_system()) end)
        end as uncovered
      from telling)
    select audience_id, user_id, sub, agent_id, withheld,
      (select client_id from entitlements e
        where e.agent_id = open.agent_id and e.audience_id = open.audience_id
        order by (e.ended_at is null) desc, e.created_at desc limit 1) as client_id,
      case when not bool_or(uncovered) then max(event_id) filter (where status = 'queued') end as queued_id
    from open
    group by audience_id, user_id, sub, agent_id, withheld
    having bool_or(uncovered) or bool_or(status = 'queued')
    order by audience_id, sub, agent_id`.execute(tx)
  return rows
}

export type RunOut = {
  id: string
  tenant_id: string
  user_id: string
  agent_id: string
  audience_id: string
  why: 'expired' | 'agent_expired' | 'entitlement_expired'
}

/** Delegations that one round ends at the most, for each reason. */
const MOST_RUN_OUT = 500

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
export async function isLive(tx: Tx, id: string): Promise<boolean> {
  const row = await tx
    .selectFrom('delegations')
    .select('id')
    .where('id', '=', id)
    .where('status', '=', 'active')
    .executeTakeFirst()
  return row !== undefined
}

/** A subject of an audience that is told at the last ending only. */
export type Withheld = Pick<Owed, 'audience_id' | 'user_id' | 'sub'>

/** Notes who is to be told at the last ending. */
export async function noteWithheld(tx: Tx, withheld: readonly Withheld[], since: Date) {
  if (withheld.length === 0) return
  await sql`
    insert into withheld_endings (audience_id, user_id, sub, since)
    select distinct audience_id, user_id, sub, ${since}::timestamptz
    from jsonb_to_recordset(${JSON.stringify(withheld)}::jsonb) as one(audience_id text, user_id text, sub text)
    on conflict do nothing`.execute(tx)
}

export async function forgetWithheld(tx: Tx, told: readonly Withheld[]): Promise<void> {
  if (told.length === 0) return
  await sql`
    delete from withheld_endings w
    using jsonb_to_recordset(${JSON.stringify(told)}::jsonb) as one(audience_id text, user_id text, sub text)
    where w.audience_id = one.audience_id and w.user_id = one.user_id and w.sub = one.sub`.execute(
    tx,
  )
}

/** Those noted of whom nothing lives any more: the last one was spent or ran out, and nobody said so. */
export async function listLeft(db: Db, now: Date): Promise<Withheld[]> {
  const { rows } = await sql<Withheld>`
    select w.audience_id, w.user_id, w.sub from withheld_endings w
    where not exists (
      select from delegations d
      where d.user_id = w.user_id and d.audience_id = w.audience_id and d.sub_asserted = w.sub
        and d.status = 'active' and (d.expires_at is null or d.expires_at > ${now}))
    order by w.since limit ${MOST_RUN_OUT}`.execute(db)
  return rows
}

/** Notes that a revocation is proved by events that were on their way before it. */
export async function joinEvents(
  tx: Tx,
  revocation_id: string,
  deliveryIds: readonly string[],
): Promise<void> {
  if (deliveryIds.length === 0) return
  await sql`
    insert into revocation_events (revocation_id, delivery_id)
    select ${revocation_id}, id from unnest(${deliveryIds}::text[]) as id
    on conflict do nothing`.execute(tx)
}
