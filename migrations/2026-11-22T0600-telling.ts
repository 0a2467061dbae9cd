import { type Kysely, sql } from 'kysely'

/** Why an event is sent, whom it names, which revocations wait for it, and when an audience wants to hear. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const STATEMENTS = [
  // Whether it is told at each ending, or when the last delegation of a subject there has ended.
  `alter table audiences
    add column notify_when text not null default 'each' check (notify_when in ('each', 'last'))`,

  `alter table event_deliveries
    -- What gave rise to it, in a word. Null: before this was written down.
    add column cause           text check (cause <> ''),
    -- The agent it names as the audience knows it, beside agent_id.
    add column agent_client_id text check (agent_client_id <> ''),
    -- Sent again by hand: a mint no longer waits for it, and a newer consent drops it.
    add column resent_at       timestamptz,
    -- The mints it is about: those whose transaction this shows as ended, of this cluster. Clocks do not decide.
    add column cluster         bigint not null default (pg_control_system()).system_identifier,
    add column covers          pg_snapshot not null default pg_current_snapshot(),
    -- Null: not signed yet, for no key could be had. What ends is not to wait for that.
    alter column kid drop not null,
    alter column jws drop not null,
    add check ((kid is null) = (jws is null))`,

  // An event that was on its way already when a revocation asked for the same: its arrival proves that one too.
  `create table revocation_events (
    revocation_id text not null,
    delivery_id   text not null,
    primary key (revocation_id, delivery_id))`,

  // Subjects of an audience that is told at the last ending only, of whom something has ended and something lives.
  `create table withheld_endings (
    audience_id text not null,
    user_id     text not null,
    sub         text not null,
    since       timestamptz not null,
    -- The calls that will be proved by the event.
    revocation_ids text[] not null default '{}',
    primary key (audience_id, user_id, sub))`,
  `create index withheld_endings_revocation on withheld_endings using gin (revocation_ids)`,

  // What has run out and is still said to live, at audiences that want to hear of it.
  `create index delegations_running_out on delegations (audience_id, expires_at)
    where status = 'active' and expires_at is not null`,
]
