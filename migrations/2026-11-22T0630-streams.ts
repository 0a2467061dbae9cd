import { type Kysely, sql } from 'kysely'

/**
 * Shared Signals: who receives, their streams, whom these are about, and what is to be told.
 *
 * An event is written in the transaction that gives rise to it, at the end of the line of locks, so its table
 * has no foreign keys, nor has that of the subjects: checking one locks the row it names.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const defaultTenant = `'ten_AAAAAAAAAAAAAAAAAAAAAA'`

const STATEMENTS = [
  `create table ssf_receivers (
    id          text primary key check (id ~ '^rcv_[A-Za-z0-9_-]{22}$'),
    tenant_id   text not null default ${defaultTenant} references tenants,
    name        text not null check (name <> ''),
    audience    text not null check (audience <> ''),
    scopes      text[] not null check (scopes <@ array['ssf.read', 'ssf.manage'] and scopes <> '{}'),
    secret_hash bytea not null,
    created_at  timestamptz not null,
    created_by  text not null,
    ended_at    timestamptz,
    unique (id, tenant_id))`,
  `create index ssf_receivers_listed on ssf_receivers (created_at, id)`,

  `create table streams (
    id                   text primary key check (id ~ '^str_[A-Za-z0-9_-]{22}$'),
    tenant_id            text not null,
    receiver_id          text not null,
    method               text not null check (method in ('push', 'poll')),
    endpoint_url         text check (endpoint_url <> ''),
    -- Encrypted (streams/sealed-header.ts).
    authorization_header text check (authorization_header <> ''),
    events_requested     text[] not null,
    description          text,
    status               text not null default 'enabled' check (status in ('enabled', 'paused', 'disabled')),
    status_reason        text,
    -- When its receiver last asked for a verification, and was last heard of.
    verified_at          timestamptz,
    active_at            timestamptz not null,
    -- Of push: since when nothing was accepted.
    failing_since        timestamptz,
    created_at           timestamptz not null,
    updated_at           timestamptz not null,
    ended_at             timestamptz,
    foreign key (receiver_id, tenant_id) references ssf_receivers (id, tenant_id),
    check ((method = 'push') = (endpoint_url is not null)),
    check (authorization_header is null or method = 'push'))`,
  // One live stream of a receiver.
  `create unique index streams_live on streams (receiver_id) where ended_at is null`,

  // By ids alone: an address that was sent is looked up once and not kept, but for when it was verified. Another
  // address of the same user, later, is not the one that was asked about.
  `create table stream_subjects (
    stream_id  text not null,
    tenant_id  text not null,
    user_id    text not null,
    -- Whether it was named as one member of a complex subject, and the user by address.
    complex    boolean not null,
    by_email   boolean not null,
    email_verified_at timestamptz,
    -- Empty: every session.
    session_id text not null default '',
    created_at timestamptz not null,
    primary key (stream_id, user_id, complex, by_email, session_id),
    check (by_email = (email_verified_at is not null)))`,
  `create index stream_subjects_user on stream_subjects (user_id)`,
  `create index stream_subjects_tenant on stream_subjects (tenant_id)`,

  `create table stream_events (
    jti              text primary key,
    tenant_id        text not null,
    stream_id        text not null,
    txn              text not null,
    event_type       text not null check (event_type <> ''),
    event            jsonb not null check (jsonb_typeof(event) = 'object'),
    -- Whom it is about, as its stream calls them; without a user it is about the stream.
    user_id          text,
    session_id       text,
    complex          boolean not null default false,
    -- The address by which the stream knows the user, until the event has ended.
    email            text,
    status           text not null default 'queued'
      check (status in ('queued', 'delivered', 'failed', 'dropped')),
    attempts         integer not null default 0 check (attempts >= 0),
    next_attempt_at  timestamptz not null,
    first_attempt_at timestamptz,
    last_answer      jsonb check (jsonb_typeof(last_answer) = 'object' and octet_length(last_answer::text) <= 4096),
    created_at       timestamptz not null,
    ended_at         timestamptz,
    check ((status = 'queued') = (ended_at is null)),
    check (email is null or status = 'queued'))`,
  `create index stream_events_queued on stream_events (stream_id, created_at, jti) where status = 'queued'`,
  `create index stream_events_due on stream_events (next_attempt_at) where status = 'queued'`,
  `create index stream_events_delivered on stream_events (stream_id, ended_at) where status = 'delivered'`,
  `create index stream_events_ended on stream_events (ended_at) where status <> 'queued'`,
]
