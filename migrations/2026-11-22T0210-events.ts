import { type Kysely, sql } from 'kysely'

/**
 * What relying apps are told: the outbox of events, and of each audience how it wants to hear.
 *
 * An event is written in the transaction that gives rise to it, at the end of the line of locks. Its table
 * has no foreign keys: checking one locks the row it names, and who holds a delegation may not wait for
 * whoever ends its tenant or its audience.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}

const statements = [
  `alter table audiences
    add column events_endpoint   text check (events_endpoint <> ''),
    add column events_dialect    text not null default 'none' check (events_dialect in ('set', 'logout', 'none')),
    -- Null: the official one.
    add column event_type        text check (event_type <> ''),
    add column event_names_agent boolean not null default false,
    add column notify_expiry     boolean not null default false,
    add check (events_dialect = 'none' or events_endpoint is not null)`,

  // One event for one audience. What it says stands in its columns, so that it can be signed anew.
  `create table event_deliveries (
    id              text primary key check (id ~ '^dlv_[A-Za-z0-9_-]{22}$'),
    tenant_id       text not null,
    -- Whence it came: the call that set it in motion, a compromised key, or neither for a single ending.
    revocation_id   text,
    compromised_kid text,
    audience_id     text not null,
    user_id         text not null,
    -- The agent it names, where the audience understands that; otherwise it is about every agent.
    agent_id        text,
    dialect         text not null check (dialect in ('set', 'logout')),
    endpoint        text not null check (endpoint <> ''),
    aud             text not null check (aud <> ''),
    sub             text not null check (sub <> ''),
    event_type      text not null check (event_type <> ''),
    jti             text not null unique,
    earlier_jtis    text[] not null default '{}',
    kid             text not null,
    jws             text not null,
    status          text not null default 'queued'
      check (status in ('queued', 'delivered', 'failed', 'superseded')),
    attempts        integer not null default 0 check (attempts >= 0),
    -- Set before an attempt and cleared by a clear answer: sent by this jti, and nobody knows what came of it.
    outcome_unknown boolean not null default false,
    -- What was tried against a refusal; each helps once.
    remedies        text[] not null default '{}'
      check (remedies <@ array['new_jti', 'cache_window', 'metadata']),
    next_attempt_at timestamptz,
    last_attempt_at timestamptz,
    last_answer     jsonb check (jsonb_typeof(last_answer) = 'object' and octet_length(last_answer::text) <= 4096),
    created_at      timestamptz not null,
    -- Given up then.
    expires_at      timestamptz not null check (expires_at > created_at),
    delivered_at    timestamptz,
    failed_at       timestamptz,
    superseded_at   timestamptz,
    check ((status = 'queued') = (next_attempt_at is not null)),
    check ((status = 'delivered') = (delivered_at is not null)),
    check ((status = 'failed') = (failed_at is not null)),
    check ((status = 'superseded') = (superseded_at is not null)),
    check (num_nonnulls(revocation_id, compromised_kid) <= 1))`,
  `create index event_deliveries_due on event_deliveries (next_attempt_at) where status = 'queued'`,
  `create index event_deliveries_undelivered on event_deliveries (audience_id, sub) where status = 'queued'`,
  `create index event_deliveries_kid on event_deliveries (kid, id) where status = 'queued'`,
  `create index event_deliveries_kid_ended on event_deliveries
    (kid, (greatest(delivered_at, failed_at, superseded_at))) where status <> 'queued'`,
  // Until when a key is needed that signed one.
  `create index event_deliveries_ended on event_deliveries (kid, greatest(delivered_at, failed_at, superseded_at))
    where status <> 'queued'`,
  `create index event_deliveries_pair on event_deliveries (audience_id, sub, created_at)`,
  `create index event_deliveries_revocation on event_deliveries (revocation_id) where revocation_id is not null`,
  `create index event_deliveries_listed on event_deliveries (created_at, id)`,
  // A compromised key is told of once to each audience about each of its subjects.
  `create unique index event_deliveries_compromised on event_deliveries (compromised_kid, audience_id, sub)
    where compromised_kid is not null`,
]
