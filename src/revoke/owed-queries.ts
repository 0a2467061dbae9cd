import { type RawBuilder, type SqlBool, sql, type Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'
import { type DelegationsOf, inReach } from '../delegations/queries.ts'
import { neverApproved } from '../events/queries.ts'

type Tx = Transaction<Tables>

/** An audience that minted ID-JAGs may have acted on and that has to hear of an ending. */
export type Owed = {
  audience_id: string
  user_id: string
  sub: string
  /** The agent, for an audience that understands an event about one; otherwise null. */
  agent_id: string | null
  /** As the audience knows that agent; null where it may have known it by another name when something was minted. */
  client_id: string | null
  /** An event on its way that says the same already. */
  queued_id: string | null
}

/**
 * Holds the live delegations in reach, those under which an agent in reach acted, and those of other agents that
 * a mint for the same user at the same audience rests on, in the order of their ids: what ends and what only hears
 * of it wait for no mint after this.
 */
export async function lockPairs(tx: Tx, of: DelegationsOf): Promise<void> {
  await sql`
    with reached as materialized (
      select id, user_id, audience_id from (${reached(of)}) one),
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
    with named as materialized (${reached(of)}),
    -- One that was retired is told where the same issuer is registered now: to the app it is the same. Unless
    -- nobody has said how it is told there, or approved what its documents say of that.
    reach as materialized (
      select named.*, au.tenant_id, au.issuer as aud, told.id as told_id,
        case when told.event_names_agent then named.agent_id end as about,
        told.notify_when = 'last' and not told.event_names_agent as last
      from named join audiences au on au.id = named.audience_id
      join lateral (
        select * from audiences t
        where t.id = au.id or (t.tenant_id = au.tenant_id and t.issuer = au.issuer and t.status <> 'retired'
          and not ${neverApproved('t')})
        order by t.events_endpoint is null or t.events_dialect = 'none', t.status = 'retired' limit 1) told on true
      where told.events_endpoint is not null and told.events_dialect <> 'none'),
    judged as materialized (
      select pair.*, last and exists (${mayCome('pair', now)}) as withheld, entitled.client_id, entitled.since
      from (select distinct user_id, told_id as audience_id, tenant_id, aud, sub, about, last from reach) pair
      left join lateral (${clientIdOf('pair')}) entitled on true),
    minted as (
      select judged.*, reach.id, reach.agent_id, reach.actor, reach.audience_id as at_id from judged
      join reach on reach.user_id = judged.user_id and reach.told_id = judged.audience_id
        and reach.sub = judged.sub and reach.about is not distinct from judged.about
      where not judged.last
      union all
      select judged.*, d.id, d.agent_id, null, d.audience_id from judged
      join delegations d on d.user_id = judged.user_id and d.sub_asserted = judged.sub
      join audiences au on au.id = d.audience_id
        and au.tenant_id = judged.tenant_id and au.issuer = judged.aud
      where judged.last),
    telling as (
      select minted.*, event.id as event_id, event.status, event.cluster, event.covers, event.created_at
      from minted
      left join lateral (
        select * from (
          ${eventFor(sql`e.aud = minted.aud`)}
          union all
          -- What an audience was minted for by another issuer, it was told of by that one.
          ${eventFor(sql`e.audience_id = minted.at_id and e.aud <> minted.aud and e.resent_at is null`)}
        ) either order by created_at desc, id desc limit 1) event on true),
    open as (
      select user_id, audience_id, sub, about, withheld, event_id, status, client_id,
        since is not null and exists (
          select from issuances i where i.delegation_id = telling.id and i.at <= since) as renamed,
        case when event_id is null then exists (
          select from issuances i where i.delegation_id = telling.id and ${counts})
        else exists (
          select from issuances i
          where i.delegation_id = telling.id and ${counts}
            -- Only the newest can be uncovered; the margin is far beyond what clocks and frozen servers do.
            and i.at > telling.created_at - interval '1 day'
            and case when i.cluster = telling.cluster
              then not pg_visible_in_snapshot(i.xid::text::xid8, telling.covers)
              -- Of before a restore, unless it is the event that is.
              else telling.cluster <> (select system_identifier from pg_control_system()) end)
        end as uncovered
      from telling)
    select audience_id, user_id, sub, about as agent_id, withheld,
      case when not bool_or(renamed) then max(client_id) end as client_id,
      case when not bool_or(uncovered) then max(event_id) filter (where status = 'queued') end as queued_id
    from open
    group by audience_id, user_id, sub, about, withheld
    having bool_or(uncovered) or bool_or(status = 'queued')
    order by audience_id, sub, about`.execute(tx)
  return rows
}

/**
 * The newest event about what was minted, of those that its app has accepted or is still to get. One that is being
 * sent again holds no mint up, and a newer consent drops it: nothing rests on it.
 */
const eventFor = (app: RawBuilder<unknown>) => sql`(
  select id, status, cluster, covers, coalesce(resent_at, e.created_at) as created_at
  from event_deliveries e
  where ${app} and e.sub = minted.sub and e.tenant_id = minted.tenant_id
    and (e.status = 'delivered' or e.status = 'queued' and e.resent_at is null)
    and (e.agent_id is null or e.agent_id = minted.agent_id)
  order by coalesce(resent_at, e.created_at) desc, e.id desc limit 1)`

/** By which name an audience knows the agent of a pair, and since when where it knew it by another before. */
const clientIdOf = (pair: string) => sql`
  select e.client_id, case
    when e.client_id_since is not null then e.client_id_since
    when exists (
      select from entitlements former
      where former.agent_id = e.agent_id and former.audience_id = e.audience_id
        and (former.client_id is distinct from e.client_id or former.client_id_since is not null)
        and former.id <> e.id)
    then e.created_at end as since
  from entitlements e
  where e.agent_id = ${sql.ref(`${pair}.about`)} and e.audience_id = ${sql.ref(`${pair}.audience_id`)}
  order by (e.ended_at is null) desc, e.created_at desc limit 1`

/** Of an agent that acted for another one, what it had a part in. */
const counts = sql`(telling.actor is null or i.actor_ids @> array[telling.actor])`

/**
 * The delegations in reach, and as `actor` who in reach acted for another under which: an app that was told so drops
 * what it gave for that agent too.
 */
const reached = (of: DelegationsOf) => {
  const ids = wholeAgents(of)
  const own = sql`
    select id, user_id, agent_id, audience_id, sub_asserted as sub, null::text as actor
    from delegations where ${inReach(of)}`
  return ids.length === 0
    ? own
    : sql`${own} union
      select d.id, d.user_id, actor, d.audience_id, d.sub_asserted, actor
      -- Each once, however often it was: an agent that acts for others does little else.
      from (
        select distinct i.delegation_id, actor from issuances i, unnest(i.actor_ids) as actor
        where i.actor_ids && ${ids}::text[] and actor = any(${ids}::text[])) acted
      join delegations d on d.id = acted.delegation_id`
}

/** Agents that are stopped whomever they act for, and wherever. */
function wholeAgents({ user_id, agent_ids, or_agent_ids, audience_id }: DelegationsOf) {
  if (or_agent_ids !== undefined) return or_agent_ids
  return user_id === undefined && audience_id === undefined ? (agent_ids ?? []) : []
}

/** Whether an agent may still come for a subject of an audience. */
export const mayCome = (pair: string, now: Date) => sql`
  select from delegations other
  where other.user_id = ${sql.ref(`${pair}.user_id`)} and other.audience_id = ${sql.ref(`${pair}.audience_id`)}
    and other.sub_asserted = ${sql.ref(`${pair}.sub`)} and ${letsCome('other', now)}`

/** Whether an agent may come by this delegation: what has run out by time does not count. */
export const letsCome = (delegation: string, now: Date) => {
  const of = (column: string) => sql.ref(`${delegation}.${column}`)
  return sql<SqlBool>`(
    ${of('status')} = 'active' and (${of('expires_at')} is null or ${of('expires_at')} > ${now})
    and exists (select from agents a where a.id = ${of('agent_id')} and a.expires_at > ${now})
    and exists (
      select from entitlements e
      where e.agent_id = ${of('agent_id')} and e.audience_id = ${of('audience_id')}
        and e.ended_at is null and (e.expires_at is null or e.expires_at > ${now})))`
}
