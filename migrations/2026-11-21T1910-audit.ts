import { type Kysely, sql } from 'kysely'

/**
 * What happened, append-only. `cluster` and `xid` say which transaction of which database cluster wrote a
 * row: a seal closes every row that its snapshot sees and the seal before did not, and transaction ids
 * start over when a dump is restored elsewhere. The tables name ids only, and have no foreign keys: the
 * log outlives what it speaks of, and writing it waits for nobody's lock.
 *
 * Columns added later must be nullable and without a default: a seal hashes what a row holds, nulls left out.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}

const tenantColumn = `tenant_id text not null default 'ten_AAAAAAAAAAAAAAAAAAAAAA'`
const writtenBy = `cluster bigint not null default (pg_control_system()).system_identifier,
    xid bigint not null default pg_current_xact_id()::text::bigint`

const statements = [
  `create table issuances (
    jti              text collate "C" primary key,
    ${tenantColumn},
    at               timestamptz not null,
    agent_id         text not null,
    owner_id         text not null,
    user_id          text not null,
    audience_id      text not null,
    delegation_id    text not null,
    credential_id    text,
    session_id       text not null,
    family_id        text,
    resources        text[] not null,
    scopes           text[] not null,
    kid              text not null,
    auth_time        timestamptz not null,
    expires_at       timestamptz not null,
    agent_context_id text,
    request_id       text,
    ${writtenBy})`,
  `create index issuances_agent on issuances (agent_id, jti)`,
  `create index issuances_user on issuances (user_id, jti)`,
  `create index issuances_audience on issuances (audience_id, jti)`,
  `create index issuances_delegation on issuances (delegation_id, at)`,
  `create index issuances_written on issuances (cluster, xid)`,

  `create table audit_events (
    id            text collate "C" primary key check (id ~ '^evt_'),
    ${tenantColumn},
    at            timestamptz not null,
    type          text not null,
    actor_kind    text not null check (actor_kind in ('agent', 'user', 'admin', 'system', 'unknown')),
    actor_id      text,
    agent_id      text,
    user_id       text,
    audience_id   text,
    delegation_id text,
    jti           text,
    error         text,
    reason        text,
    detail        jsonb check (jsonb_typeof(detail) = 'object'),
    request_id    text,
    ${writtenBy})`,
  `create index audit_events_agent on audit_events (agent_id, id)`,
  `create index audit_events_user on audit_events (user_id, id)`,
  `create index audit_events_audience on audit_events (audience_id, id)`,
  `create index audit_events_type on audit_events (type, id)`,
  `create index audit_events_jti on audit_events (jti, id) where jti is not null`,
  `create index audit_events_written on audit_events (cluster, xid)`,

  // A seal: the Merkle root over the rows it closed, chained to the seal before and signed. Its members
  // are kept by name and leaf, so that a changed, missing or slipped-in row can be named. A chain has no
  // forks: position and previous hash are unique.
  `create table seals (
    position      bigint primary key check (position > 0),
    ${tenantColumn},
    at            timestamptz not null,
    snapshot      text not null,
    cluster       bigint not null,
    previous_hash bytea not null unique,
    root          bytea not null,
    row_count     integer not null check (row_count > 0),
    row_tables    text[] not null,
    row_ids       text[] not null,
    leaves        bytea not null,
    kid           text not null,
    signature     text not null,
    hash          bytea not null unique,
    check (cardinality(row_ids) = row_count and cardinality(row_tables) = row_count),
    check (length(leaves) = 32 * row_count))`,

  `create function refuse_change() returns trigger language plpgsql as $$
    begin
      raise exception '% is append-only', tg_table_name using errcode = 'insufficient_privilege';
    end $$`,
  ...['issuances', 'audit_events', 'seals'].flatMap((table) => [
    `create trigger append_only before update or delete on ${table}
      for each row execute function refuse_change()`,
    `create trigger append_only_truncate before truncate on ${table}
      for each statement execute function refuse_change()`,
  ]),
]
