import { type Kysely, sql } from 'kysely'

/**
 * What the whole of the exchange needs beside the first records: other names and sharper demands of
 * audiences, rich authorization requests, key-bound grants, subjects of trusted issuers, and rules.
 * Everything is added; what was written before means what it meant.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}

const tenantColumn = `tenant_id text not null default 'ten_AAAAAAAAAAAAAAAAAAAAAA' references tenants`
const id = (prefix: string) => `text primary key check (id ~ '^${prefix}_[A-Za-z0-9_-]{22}$')`

/** Of a rule: who made it, and until when it holds. A rule that was taken back keeps its row. */
const ruleColumns = `expires_at timestamptz,
    reason     text,
    created_at timestamptz not null,
    created_by text not null,
    ended_at   timestamptz`

const statements = [
  `alter table audiences
    add column sector        text check (sector <> ''),
    add column acr_values    text[] not null default '{}',
    add column dpop_required boolean not null default false`,
  // Other names under which a request may ask for an audience. A retired audience gives its names up.
  `create table audience_aliases (
    tenant_id   text not null,
    alias       text not null check (alias <> ''),
    audience_id text not null,
    primary key (tenant_id, alias),
    foreign key (audience_id, tenant_id) references audiences (id, tenant_id))`,
  `create index audience_aliases_audience on audience_aliases (audience_id)`,
  // The subject of a user in a sector, random and kept for good: it outlives the user as a tombstone.
  `create table pairwise_subjects (
    user_id    text not null,
    sector     text not null,
    ${tenantColumn},
    sub        text not null unique check (sub ~ '^p_[A-Za-z0-9_-]{22}$'),
    created_at timestamptz not null,
    primary key (user_id, sector),
    foreign key (user_id, tenant_id) references users (id, tenant_id))`,
  // Which account at the relying app is this user's: entered by an administrator, never guessed.
  `create table audience_accounts (
    user_id     text not null,
    audience_id text not null,
    ${tenantColumn},
    aud_sub     text not null check (aud_sub <> ''),
    aud_tenant  text check (aud_tenant <> ''),
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    primary key (user_id, audience_id),
    foreign key (user_id, tenant_id) references users (id, tenant_id),
    foreign key (audience_id, tenant_id) references audiences (id, tenant_id))`,
  `create unique index audience_accounts_account on audience_accounts
    (audience_id, aud_sub, coalesce(aud_tenant, ''))`,

  `alter table agents
    add column dpop_bound_access_tokens boolean not null default false,
    add column client_metadata_url text,
    add column client_metadata jsonb,
    add column client_metadata_seen_at timestamptz`,
  `create unique index agents_client_metadata_url on agents (client_metadata_url) where status <> 'retired'`,

  // Null: every type that the audience catalogues.
  `alter table entitlements add column authorization_details_types text[]`,
  // Null: whatever the entitlement allows, as a policy delegation has it.
  `alter table delegations
    add column authorization_details jsonb default '[]' check (jsonb_typeof(authorization_details) = 'array'),
    add column offline boolean not null default false`,
  `alter table interactions
    add column authorization_details jsonb not null default '[]'
      check (jsonb_typeof(authorization_details) = 'array')`,

  `alter table sessions add column acr text`,
  // The thumbprint of the key that the grant is bound to.
  `alter table refresh_token_families add column dpop_jkt text`,
  `alter table authorization_codes add column dpop_jkt text`,

  // A subject of a trusted issuer has no session here, and may have no time of authentication.
  `alter table issuances
    alter column session_id drop not null,
    alter column auth_time drop not null,
    add column trusted_issuer_id text,
    add column actor_ids text[],
    add column authorization_details_types text[],
    add column dpop_jkt text`,

  `create table trusted_issuers (
    id              ${id('tis')},
    ${tenantColumn},
    issuer          text not null check (issuer <> ''),
    jwks_uri        text,
    clients         jsonb not null check (jsonb_typeof(clients) = 'array'),
    claim_mapping   jsonb not null check (jsonb_typeof(claim_mapping) = 'object'),
    provisioning    text not null check (provisioning in ('link', 'create', 'refuse')),
    trust_auth_time boolean not null,
    trust_contacts  boolean not null,
    ${ruleColumns})`,
  `create unique index trusted_issuers_live on trusted_issuers (tenant_id, issuer) where ended_at is null`,
  // Whose account a subject of an issuer is. It outlives the registration, so that no subject changes hands.
  `create table upstream_accounts (
    tenant_id  text not null,
    issuer     text not null,
    subject    text not null,
    user_id    text not null,
    created_at timestamptz not null,
    created_by text not null,
    primary key (tenant_id, issuer, subject),
    foreign key (user_id, tenant_id) references users (id, tenant_id))`,
  `create index upstream_accounts_user on upstream_accounts (user_id)`,

  `create table actor_permissions (
    id          ${id('apm')},
    ${tenantColumn},
    agent_id    text not null,
    actor_id    text not null,
    user_id     text,
    audience_id text,
    scopes      text[],
    ${ruleColumns},
    check (agent_id <> actor_id),
    foreign key (agent_id, tenant_id) references agents (id, tenant_id),
    foreign key (actor_id, tenant_id) references agents (id, tenant_id),
    foreign key (user_id, tenant_id) references users (id, tenant_id),
    foreign key (audience_id, tenant_id) references audiences (id, tenant_id))`,
  `create index actor_permissions_live on actor_permissions (agent_id, actor_id) where ended_at is null`,

  `create table blocks (
    id          ${id('blk')},
    ${tenantColumn},
    user_id     text,
    agent_id    text,
    audience_id text,
    ${ruleColumns},
    check (num_nonnulls(user_id, agent_id, audience_id) > 0),
    foreign key (user_id, tenant_id) references users (id, tenant_id),
    foreign key (agent_id, tenant_id) references agents (id, tenant_id),
    foreign key (audience_id, tenant_id) references audiences (id, tenant_id))`,
  `create index blocks_user on blocks (user_id) where ended_at is null`,
  `create index blocks_agent on blocks (agent_id) where ended_at is null`,
  `create index blocks_audience on blocks (audience_id) where ended_at is null`,

  `create table client_metadata_rules (
    id          ${id('cmr')},
    ${tenantColumn},
    url         text,
    host        text,
    owner_id    text not null,
    purpose     text not null check (purpose <> ''),
    environment text,
    agent_expires_at timestamptz not null,
    ${ruleColumns},
    check (num_nonnulls(url, host) = 1),
    foreign key (owner_id, tenant_id) references users (id, tenant_id))`,
  `create unique index client_metadata_rules_url on client_metadata_rules (url) where ended_at is null`,
  `create unique index client_metadata_rules_host on client_metadata_rules (host) where ended_at is null`,
]
