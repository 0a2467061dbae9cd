import { sql, type Transaction } from 'kysely'
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
    select id from delegations d
    where status = 'active' and (${inReach(of)} or exists (
      select from delegations reached
      join audiences au on au.id = reached.audience_id and au.events_dialect <> 'none'
      where reached.user_id = d.user_id and reached.audience_id = d.audience_id
        and reached.id in (select id from delegations where ${inReach(of)})))
    order by id for update`.execute(tx)
}

/**
 * Whom a revocation in this reach is owed to: each subject of an audience that takes events, for whom an
 * ID-JAG was minted under any delegation in reach, be it consumed, expired or replaced, that no event since
 * has been accepted for (GR-08). What an event covers is told by its snapshot and not by clocks: a mint is
 * covered when it had committed before the event was written, and none commits while an event waits (EV-14).
 *
 * An audience that is told at the last ending only is left out while another agent of the user may still come
 * there; then all that was minted there counts.
 */
export async function listOwed(tx: Tx, of: DelegationsOf, now: Date): Promise<Owed[]> {
  const { rows } = await sql<Owed>`
    with reached as (
      select distinct d.user_id, d.audience_id, d.sub_asserted as sub,
        case when au.event_names_agent then d.agent_id end as agent_id, au.notify_when
      from delegations d
      join audiences au on au.id = d.audience_id
      where au.events_endpoint is not null and au.events_dialect <> 'none'
        and d.id in (select id from delegations where ${inReach(of)})),
    ready as (
      select * from reached
      where notify_when = 'each' or agent_id is not null or not exists (
        select from delegations other
        where other.user_id = reached.user_id and other.audience_id = reached.audience_id
          and other.sub_asserted = reached.sub and other.status = 'active'
          and (other.expires_at is null or other.expires_at > ${now}))),
    minted as (
      select ready.user_id, ready.audience_id, ready.sub, ready.agent_id, d.id
      from ready
      join delegations d on d.user_id = ready.user_id and d.audience_id = ready.audience_id
        and d.sub_asserted = ready.sub and (ready.agent_id is null or d.agent_id = ready.agent_id)
      where ready.notify_when = 'last' or d.id in (select id from delegations where ${inReach(of)})),
    telling as (
      select minted.user_id, minted.audience_id, minted.sub, minted.agent_id, minted.id,
        event.id as event_id, event.status, event.cluster, event.covers, event.created_at
      from minted
      left join lateral (
        select id, status, cluster, covers, created_at from event_deliveries e
        where e.audience_id = minted.audience_id and e.sub = minted.sub
          and e.status in ('queued', 'delivered')
          and (e.agent_id is null or e.agent_id = minted.agent_id)
        order by e.created_at desc, e.id desc limit 1) event on true),
    open as (
      select user_id, audience_id, sub, agent_id, event_id, status,
        exists (
          select from issuances i
          where i.delegation_id = telling.id
            -- The newest alone can be uncovered; the margin is far beyond what clocks may differ by.
            and (event_id is null or i.at > telling.created_at - interval '1 minute')
            and (event_id is null or case when i.cluster = telling.cluster
              then not pg_visible_in_snapshot(i.xid::text::xid8, telling.covers)
              -- Of before a restore, unless it is the event that is.
              else telling.cluster <> (select system_identifier from pg_control_system()) end)) as uncovered
      from telling)
    select audience_id, user_id, sub, agent_id,
      (select client_id from entitlements e
        where e.agent_id = open.agent_id and e.audience_id = open.audience_id
        order by (e.ended_at is null) desc, e.created_at desc limit 1) as client_id,
      case when not bool_or(uncovered) then max(event_id) filter (where status = 'queued') end as queued_id
    from open
    group by audience_id, user_id, sub, agent_id
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

/** Delegations that one round ends at the most. */
const MOST_RUN_OUT = 500

/**
 * Delegations that are said to live and have run out by time, at audiences that want to hear of it; and where
 * what another agent was given still waits for the last of them to end.
 */
export async function listRunOut(
  db: Db,
  now: Date,
  { user_id, agent_ids, audience_id }: DelegationsOf = {},
): Promise<RunOut[]> {
  const { rows } = await sql<RunOut>`
    select d.id, d.tenant_id, d.user_id, d.agent_id, d.audience_id,
      case when d.expires_at <= ${now} then 'expired'
        when a.expires_at <= ${now} then 'agent_expired' else 'entitlement_expired' end as why
    from delegations d
    join audiences au on au.id = d.audience_id and au.events_dialect <> 'none'
    join agents a on a.id = d.agent_id
    left join entitlements e
      on e.agent_id = d.agent_id and e.audience_id = d.audience_id and e.ended_at is null
    where d.status = 'active'
      and (d.expires_at <= ${now} or a.expires_at <= ${now} or e.expires_at <= ${now})
      and (au.notify_expiry or (au.notify_when = 'last' and exists (
        select from delegations other
        where other.user_id = d.user_id and other.audience_id = d.audience_id
          and other.status = 'revoked' and other.end_reason is distinct from 'replaced')))
      and (${user_id ?? null}::text is null or d.user_id = ${user_id ?? null})
      and (${agent_ids ?? null}::text[] is null or d.agent_id = any(${agent_ids ?? null}::text[]))
      and (${audience_id ?? null}::text is null or d.audience_id = ${audience_id ?? null})
    order by d.id limit ${MOST_RUN_OUT}`.execute(db)
  return rows
}

/** Notes that a revocation is proved by events that were on their way before it. */
export async function joinEvents(
  tx: Tx,
  revocation_id: string,
  deliveryIds: readonly string[],
): Promise<void> {
  if (deliveryIds.length === 0) return
  await tx
    .insertInto('revocation_events')
    .values(deliveryIds.map((delivery_id) => ({ revocation_id, delivery_id })))
    .execute()
}
