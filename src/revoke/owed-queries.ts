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
    with named as materialized (
      select id, user_id, agent_id, audience_id, sub_asserted as sub
      from delegations where ${inReach(of)}
      ${asActors(of)}),
    -- One that was retired is told where the same issuer is registered now: to the app it is the same.
    reach as materialized (
      select named.*, au.tenant_id, au.issuer as aud, told.id as told_id,
        case when told.event_names_agent then named.agent_id end as about,
        told.notify_when = 'last' and not told.event_names_agent as last
      from named join audiences au on au.id = named.audience_id
      join lateral (
        select * from audiences t
        where t.id = au.id or (t.tenant_id = au.tenant_id and t.issuer = au.issuer and t.status <> 'retired')
        order by t.status = 'retired' limit 1) told on true
      where told.events_endpoint is not null and told.events_dialect <> 'none'),
    judged as materialized (
      select *, last and exists (${mayCome('pair', now)}) as withheld
      from (select distinct user_id, told_id as audience_id, tenant_id, aud, sub, about, last from reach) pair),
    minted as (
      select judged.*, reach.id, reach.agent_id from judged
      join reach on reach.user_id = judged.user_id and reach.told_id = judged.audience_id
        and reach.sub = judged.sub and reach.about is not distinct from judged.about
      where not judged.last
      union all
      select judged.*, d.id, d.agent_id from judged
      join delegations d on d.user_id = judged.user_id and d.sub_asserted = judged.sub
      join audiences au on au.id = d.audience_id
        and au.tenant_id = judged.tenant_id and au.issuer = judged.aud
      where judged.last),
    telling as (
      select minted.*, event.id as event_id, event.status, event.cluster, event.covers, event.created_at
      from minted
      left join lateral (
        select id, status, cluster, covers, coalesce(resent_at, e.created_at) as created_at
        from event_deliveries e
        where e.aud = minted.aud and e.sub = minted.sub and e.tenant_id = minted.tenant_id
          and e.status in ('queued', 'delivered')
          and (e.agent_id is null or e.agent_id = minted.agent_id)
        order by coalesce(resent_at, e.created_at) desc, e.id desc limit 1) event on true),
    open as (
      select user_id, audience_id, sub, about, withheld, event_id, status,
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
    select audience_id, user_id, sub, about as agent_id, withheld,
      (select client_id from entitlements e
        where e.agent_id = open.about and e.audience_id = open.audience_id
        order by (e.ended_at is null) desc, e.created_at desc limit 1) as client_id,
      case when not bool_or(uncovered) then max(event_id) filter (where status = 'queued') end as queued_id
    from open
    group by audience_id, user_id, sub, about, withheld
    having bool_or(uncovered) or bool_or(status = 'queued')
    order by audience_id, sub, about`.execute(tx)
  return rows
}

/** An agent acted for the client of a mint too, and an app that was told so drops what it gave for it. */
const asActors = ({ agent_ids, user_id, audience_id }: DelegationsOf) =>
  agent_ids === undefined || user_id !== undefined || audience_id !== undefined
    ? sql``
    : sql`union
      select d.id, d.user_id, actor, d.audience_id, d.sub_asserted
      from issuances i join delegations d on d.id = i.delegation_id, unnest(i.actor_ids) as actor
      where i.actor_ids && ${agent_ids}::text[] and actor = any(${agent_ids}::text[])`

/** Whether an agent may still come for a subject of an audience: what has run out by time does not count. */
const mayCome = (pair: string, now: Date) => sql`
  select from delegations other
  join agents a on a.id = other.agent_id and a.expires_at > ${now}
  join entitlements e on e.agent_id = other.agent_id and e.audience_id = other.audience_id
    and e.ended_at is null and (e.expires_at is null or e.expires_at > ${now})
  where other.user_id = ${sql.ref(`${pair}.user_id`)} and other.audience_id = ${sql.ref(`${pair}.audience_id`)}
    and other.sub_asserted = ${sql.ref(`${pair}.sub`)} and other.status = 'active'
    and (other.expires_at is null or other.expires_at > ${now})`

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
export async function noteWithheld(
  tx: Tx,
  withheld: readonly Withheld[],
  { since, revocation_id }: { since: Date; revocation_id: string | undefined },
): Promise<void> {
  if (withheld.length === 0) return
  await sql`
    insert into withheld_endings (audience_id, user_id, sub, since, revocation_ids)
    select distinct audience_id, user_id, sub, ${since}::timestamptz, ${revocation_id ? [revocation_id] : []}::text[]
    from jsonb_to_recordset(${JSON.stringify(withheld)}::jsonb) as one(audience_id text, user_id text, sub text)
    order by audience_id, user_id, sub
    on conflict (audience_id, user_id, sub) do update
    set revocation_ids = withheld_endings.revocation_ids || excluded.revocation_ids`.execute(tx)
}

/** @returns the calls that waited for it, and whom each was about */
export async function forgetWithheld(
  tx: Tx,
  told: readonly Withheld[],
): Promise<(Withheld & { revocation_ids: string[] })[]> {
  if (told.length === 0) return []
  const { rows } = await sql<Withheld & { revocation_ids: string[] }>`
    delete from withheld_endings w
    using jsonb_to_recordset(${JSON.stringify(told)}::jsonb) as one(audience_id text, user_id text, sub text)
    where w.audience_id = one.audience_id and w.user_id = one.user_id and w.sub = one.sub
    returning w.audience_id, w.user_id, w.sub, w.revocation_ids`.execute(tx)
  return rows
}

/** Subjects that a revocation is about whose audience waits for the last ending. */
export async function countWithheld(db: Db, revocation_id: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from withheld_endings
    where revocation_ids @> array[${revocation_id}::text]`.execute(db)
  return rows[0]?.count ?? 0
}

/**
 * Those noted of whom nothing lives any more, since the last one was spent or ran out and nobody said so; and
 * those whose audience does not wait for the last one any more.
 */
export async function listLeft(db: Db, now: Date): Promise<Withheld[]> {
  const { rows } = await sql<Withheld>`
    select w.audience_id, w.user_id, w.sub from withheld_endings w
    where not exists (${mayCome('w', now)})
      or exists (
        select from audiences au
        where au.id = w.audience_id and (au.notify_when <> 'last' or au.event_names_agent))
    order by w.since limit ${MOST_RUN_OUT}`.execute(db)
  return rows
}

/** What has ended of a subject's delegations at an audience. */
export async function listEnded(
  tx: Tx,
  { user_id, audience_id, sub }: Withheld,
): Promise<string[]> {
  const rows = await tx
    .selectFrom('delegations')
    .select('id')
    .where('user_id', '=', user_id)
    .where('audience_id', '=', audience_id)
    .where('sub_asserted', '=', sub)
    .where('status', '<>', 'active')
    .execute()
  return rows.map(({ id }) => id)
}
