/**
 * What the database itself notes of events and delegations while a test runs: each state that was committed, in
 * the order of the commits. Rows that are changed in place do not tell what they were.
 */

import type pg from 'pg'

/** Microseconds since 1970, of a commit, by the database's clock. */
type Instant = number

/** Whom an event is about: an audience, the subject asserted there, and the agent if it names one. */
export type Whom = { pair: string; agent_id: string | null }
export type WatchedEvent = Whom & {
  id: string
  revocation_id: string | null
  status: 'queued' | 'delivered' | 'failed' | 'superseded'
  attempts: number
  jti: string
  resent: boolean
  last_answer: object | null
  /** Each state and each signature that it had: `bytes`, SHA-256 of what is sent. */
  changes: Change[]
}
export type Change = {
  at: Instant
  status: string
  /** That had begun by then. */
  attempts: number
  jti: string
  bytes: string | null
  remedies: string[]
  resent: boolean
}
export type WatchedMint = { pair: string; agent_id: string; delegation_id: string; at: Instant }
export type WatchedEnding = {
  pair: string
  agent_id: string
  delegation_id: string
  /** From when its transaction looked at anything. */
  began: Instant
  at: Instant
}
export type WatchedConsent = { pair: string; agent_id: string; at: Instant }
export type Watched = {
  events: WatchedEvent[]
  mints: WatchedMint[]
  endings: WatchedEnding[]
  consents: WatchedConsent[]
}

/** Before anything that counts happens. It needs a server with `track_commit_timestamp`. */
export async function watchEvents(pool: pg.Pool): Promise<void> {
  for (const statement of WATCH) await pool.query(statement)
}

const WATCH = [
  'create schema watch',
  `create table watch.events (
    n bigserial, event_id text, status text, attempts int, jti text, bytes text, remedies text[], resent boolean)`,
  'create index on watch.events (event_id, n)',
  'create table watch.endings (delegation_id text, began timestamptz default now())',
  'create table watch.consents (delegation_id text)',
  `create function watch.note_event() returns trigger language plpgsql as $$ begin
    insert into watch.events (event_id, status, attempts, jti, bytes, remedies, resent)
    values (new.id, new.status, new.attempts, new.jti, encode(sha256(convert_to(new.jws, 'UTF8')), 'hex'),
      new.remedies, new.resent_at is not null);
    return null;
  end $$`,
  `create trigger watch_new after insert on event_deliveries
    for each row execute function watch.note_event()`,
  `create trigger watch_changed after update on event_deliveries for each row
    when ((old.status, old.jti, old.jws) is distinct from (new.status, new.jti, new.jws))
    execute function watch.note_event()`,
  `create function watch.note_ending() returns trigger language plpgsql as $$ begin
    insert into watch.endings (delegation_id) values (new.id);
    return null;
  end $$`,
  `create trigger watch_ended after update on delegations for each row
    when (old.status <> 'revoked' and new.status = 'revoked') execute function watch.note_ending()`,
  `create function watch.note_consent() returns trigger language plpgsql as $$ begin
    insert into watch.consents values (new.id);
    return null;
  end $$`,
  `create trigger watch_consented after insert on delegations
    for each row execute function watch.note_consent()`,
]

const AT = '(extract(epoch from pg_xact_commit_timestamp(xmin)) * 1e6)::float8'

export async function readWatched(pool: pg.Pool): Promise<Watched> {
  const { rows: events } = await pool.query<WatchedEvent>(
    `select e.id, e.audience_id || ' ' || e.sub as pair, e.agent_id, e.revocation_id, e.status, e.attempts,
       e.jti, e.resent_at is not null as resent, e.last_answer,
       (select jsonb_agg(jsonb_build_object('at', ${AT.replace('xmin', 'w.xmin')}, 'status', w.status,
          'attempts', w.attempts, 'jti', w.jti, 'bytes', w.bytes, 'remedies', w.remedies, 'resent', w.resent) order by w.n)
        from watch.events w where w.event_id = e.id) as changes
     from event_deliveries e`,
  )
  const { rows: mints } = await pool.query<WatchedMint>(
    `select d.audience_id || ' ' || d.sub_asserted as pair, i.agent_id, i.delegation_id,
       ${AT.replace('xmin', 'i.xmin')} as at
     from issuances i join delegations d on d.id = i.delegation_id`,
  )
  const { rows: endings } = await pool.query<WatchedEnding>(
    `select d.audience_id || ' ' || d.sub_asserted as pair, d.agent_id, d.id as delegation_id,
       (extract(epoch from w.began) * 1e6)::float8 as began, ${AT.replace('xmin', 'w.xmin')} as at
     from watch.endings w join delegations d on d.id = w.delegation_id`,
  )
  const { rows: consents } = await pool.query<WatchedConsent>(
    `select d.audience_id || ' ' || d.sub_asserted as pair, d.agent_id, ${AT.replace('xmin', 'w.xmin')} as at
     from watch.consents w join delegations d on d.id = w.delegation_id`,
  )
  return { events, mints, endings, consents }
}
