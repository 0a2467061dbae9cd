import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { Db, EventAnswer, Row, Tables } from '../db/tables.ts'
import { neverApproved } from './queries.ts'

/**
 * The server that an event is for: its audience by a name, told in a way. An audience may be another server by now,
 * and how the one of before answers says nothing of this one.
 */
export type Party = Pick<Row<'event_deliveries'>, 'audience_id' | 'aud' | 'dialect'>

/**
 * Those with an event that is due, the one that waits longest first. It looks at each party once, not at each event.
 */
export async function listWaiting(db: Db, now: Date): Promise<Party[]> {
  const { rows } = await sql<Party>`
    with recursive party as (
      (select audience_id, aud, dialect from event_deliveries
        where status = 'queued' order by audience_id, aud, dialect limit 1)
      union all
      select next.* from party cross join lateral (
        select audience_id, aud, dialect from event_deliveries
        where status = 'queued' and (audience_id, aud, dialect) > (party.audience_id, party.aud, party.dialect)
        order by audience_id, aud, dialect limit 1) as next)
    select party.*
    from party cross join lateral (
      select next_attempt_at from event_deliveries
      where status = 'queued' and audience_id = party.audience_id and aud = party.aud and dialect = party.dialect
        and next_attempt_at <= ${now}
      order by next_attempt_at limit 1) as due
    order by due.next_attempt_at, party.audience_id, party.aud, party.dialect`.execute(db)
  return rows
}

/** An attempt that began: `unknown`, whether one by the same `jti` had begun before and nobody knows how it ended. */
export type Claimed = Party & { id: string; attempts: number; unknown: boolean }

/**
 * Begins an attempt at events that are due, so many of each party, and commits that: whoever comes upon one of
 * them after a crash knows that it may have been sent. Where the audience has another endpoint by now, or the one
 * that is registered in its place, and is told in the same way, the event goes there; but not where it is another
 * server by now, of another issuer, nor where nobody has approved yet what was registered.
 * @param until when somebody else may try if nothing is heard of this attempt
 */
export async function claimDue(
  db: Db,
  { wanted, now, until }: { wanted: readonly (Party & { most: number })[]; now: Date; until: Date },
): Promise<Claimed[]> {
  const { rows } = await sql<Claimed>`
    with due as materialized (
      select event.id, event.outcome_unknown, case event.dialect
        when live.events_dialect then live.events_endpoint
        when own.events_dialect then own.events_endpoint else event.endpoint end as endpoint
      from jsonb_to_recordset(${JSON.stringify(wanted)}::jsonb)
        as wanted(audience_id text, aud text, dialect text, most int)
      cross join lateral (
        select id, outcome_unknown, tenant_id, audience_id, aud, dialect, endpoint from event_deliveries
        where status = 'queued' and audience_id = wanted.audience_id and aud = wanted.aud
          and dialect = wanted.dialect and next_attempt_at <= ${now}
        order by next_attempt_at limit wanted.most
        for update skip locked) as event
      left join audiences live on live.tenant_id = event.tenant_id and live.issuer = event.aud
        and live.status <> 'retired' and not ${neverApproved('live')}
      left join audiences own on own.id = event.audience_id and own.issuer = event.aud)
    update event_deliveries event
    set attempts = attempts + 1, last_attempt_at = ${now}, next_attempt_at = ${until},
      -- What is not signed yet is not sent as it is.
      outcome_unknown = event.outcome_unknown or event.jws is not null, endpoint = due.endpoint
    from due where due.id = event.id
      -- Which are few, however many the planner takes a limit for that it does not know.
      and event.id = any(array(select id from due))
    returning event.id, event.audience_id, event.aud, event.dialect, event.attempts,
      due.outcome_unknown as unknown`.execute(db)
  return rows
}

export type Held = Row<'event_deliveries'> & {
  /** The algorithm that its audience asks for. */
  alg: string
  /** Relying apps do not accept any more what was signed by its key. */
  key_ended: boolean
  /** It is sent again by hand, and the user has consented since. */
  overtaken: boolean
  /** Whom it is for. Another one where its app refused that and is registered by another issuer now. */
  aud_now: string
}

/** The event of an attempt that this caller began, held; undefined when somebody else holds it or has gone on with it. */
export async function holdClaimed(
  tx: Transaction<Tables>,
  { id, attempts }: Claimed,
  now: Date,
): Promise<Held | undefined> {
  const { rows } = await sql<Held>`
    select event.*, coalesce(audiences.id_jag_signing_alg, '') as alg,
      coalesce(signing_keys.status in ('compromised', 'removed'), false) as key_ended,
      event.resent_at is not null and ${newerConsent(now)} as overtaken,
      -- Under the other it would also end what a consent has given meanwhile, and what older ones have.
      case when event.last_answer->>'err' = 'invalid_audience' and 'metadata' = any(event.remedies)
          and not ${consentSince(sql`there.issuer = audiences.issuer`, now)} and not ${MINTED_SINCE}
        then coalesce(audiences.issuer, event.aud) else event.aud end as aud_now
    from event_deliveries event
    left join audiences on audiences.id = event.audience_id
    left join signing_keys on signing_keys.kid = event.kid
    where event.id = ${id} and event.status = 'queued' and event.attempts = ${attempts}
    for update of event skip locked`.execute(tx)
  return rows[0]
}

/**
 * Of `event`: whether its user has consented since it was queued, to the agent it names or to any, so that the app
 * would take it for what the event is about: by this audience or by another of the same issuer. What is there by
 * another issuer by now is another app.
 */
export const newerConsent = (now: Date) => consentSince(sql`there.issuer = event.aud`, now)

const consentSince = (isThere: RawBuilder<unknown>, now: Date) => sql<boolean>`exists (
  select from delegations join audiences there on there.id = delegations.audience_id
  where delegations.user_id = event.user_id and delegations.sub_asserted = event.sub
    and there.tenant_id = event.tenant_id and ${isThere}
    and (event.agent_id is null or delegations.agent_id = event.agent_id)
    and delegations.created_at > event.created_at
    -- One that was used up has given something that the event would take away.
    and (delegations.status = 'consumed' or delegations.status = 'active'
      and (delegations.expires_at is null or delegations.expires_at > ${now})))`

/**
 * Of `event`: whether something was minted for its subject at its audience since it was written. While it waits that
 * is for another issuer than the event's, which keeps nobody waiting.
 */
const MINTED_SINCE = sql<boolean>`exists (
  select from delegations join issuances on issuances.delegation_id = delegations.id
  where delegations.user_id = event.user_id and delegations.sub_asserted = event.sub
    and delegations.audience_id = event.audience_id
    and (event.agent_id is null or delegations.agent_id = event.agent_id)
    -- As for who is owed an event: the margin is far beyond what clocks do.
    and issuances.at > event.created_at - interval '1 day'
    and case when issuances.cluster = event.cluster
      then not pg_visible_in_snapshot(issuances.xid::text::xid8, event.covers)
      else event.cluster <> (select system_identifier from pg_control_system()) end)`

/**
 * An event that is for the issuer which its audience has now goes where that one is told, if it is told in the same
 * way: its app has refused the other name, and is the same app.
 */
export async function followIssuer(tx: Transaction<Tables>, id: string): Promise<void> {
  await sql`
    update event_deliveries event set endpoint = audiences.events_endpoint
    from audiences
    where event.id = ${id} and audiences.id = event.audience_id
      and audiences.events_dialect = event.dialect`.execute(tx)
}

/** How an attempt ended. */
export type Outcome = {
  status: 'queued' | 'delivered' | 'failed' | 'superseded'
  at: Date
  next_attempt_at: Date | null
  outcome_unknown: boolean
  remedies: Row<'event_deliveries'>['remedies']
  answer: EventAnswer | null
}

export async function writeOutcome(
  tx: Transaction<Tables>,
  id: string,
  { status, at, answer, ...outcome }: Outcome,
): Promise<void> {
  await tx
    .updateTable('event_deliveries')
    .set({
      ...outcome,
      status,
      ...(answer && { last_answer: JSON.stringify(answer) }),
      ...(status !== 'queued' && { [`${status}_at`]: at }),
    })
    .where('id', '=', id)
    .execute()
}

/** It is due, if nobody has tried it since this attempt. */
export async function makeDue(db: Db, { id, attempts }: Claimed): Promise<void> {
  await sql`
    update event_deliveries event set next_attempt_at = event.created_at
    where id = ${id} and status = 'queued' and attempts = ${attempts}`.execute(db)
}
