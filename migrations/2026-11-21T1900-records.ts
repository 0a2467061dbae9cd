import { type Kysely, sql } from 'kysely'

/**
 * Every record of the first release. Ids are text, a prefix and 128 random bits; `tenant_id` is on every
 * record; a child names its parents together with their tenant, so that the database refuses a row that
 * joins two tenants. Rows change state and keep their history.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}

const defaultTenant = `'ten_AAAAAAAAAAAAAAAAAAAAAA'`
const tenantColumn = `tenant_id text not null default ${defaultTenant} references tenants`
const id = (prefix: string) => `text primary key check (id ~ '^${prefix}_[A-Za-z0-9_-]{22}$')`

const statements = [
  `create table tenants (
    id         ${id('ten')},
    name       text not null check (name <> ''),
    status     text not null default 'active' check (status in ('active', 'suspended')),
    created_at timestamptz not null default now())`,
  `insert into tenants (id, name) values (${defaultTenant}, 'Default')`,

  `create table users (
    id                 ${id('usr')},
    ${tenantColumn},
    email              text check (email <> ''),
    email_verified_at  timestamptz,
    email_verified_by  text,
    phone_number       text check (phone_number ~ '^\\+[1-9][0-9]{6,14}$'),
    phone_verified_at  timestamptz,
    phone_verified_by  text,
    name               text,
    external_id        text check (external_id <> ''),
    status             text not null default 'active' check (status in ('active', 'suspended', 'deleted')),
    policy_barred_at   timestamptz,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,
    deleted_at         timestamptz,
    unique (id, tenant_id),
    check ((email_verified_at is null) = (email_verified_by is null)),
    check ((phone_verified_at is null) = (phone_verified_by is null)),
    check (email_verified_at is null or email is not null),
    check (phone_verified_at is null or phone_number is not null),
    check ((status = 'deleted') = (deleted_at is not null)),
    check (status <> 'deleted' or coalesce(email, phone_number, name, external_id) is null))`,
  `create unique index users_email on users (tenant_id, lower(email))`,
  `create unique index users_external_id on users (tenant_id, external_id)`,
  `create index users_email_any_tenant on users (lower(email))`,

  `create table user_passwords (
    user_id    text primary key references users,
    ${tenantColumn},
    hash       text not null check (hash like '$argon2id$%'),
    changed_at timestamptz not null)`,

  `create table agents (
    id                           ${id('agt')},
    ${tenantColumn},
    name                         text not null check (name <> ''),
    purpose                      text,
    owner_id                     text,
    environment                  text,
    expires_at                   timestamptz,
    token_endpoint_auth_method   text not null check (token_endpoint_auth_method in
      ('private_key_jwt', 'client_secret_basic', 'client_secret_post', 'none')),
    jwks_uri                     text,
    redirect_uris                text[] not null,
    grant_types                  text[] not null,
    id_token_signed_response_alg text not null,
    status                       text not null check (status in ('requested', 'active', 'suspended', 'retired')),
    status_reason                text,
    created_at                   timestamptz not null,
    updated_at                   timestamptz not null,
    unique (id, tenant_id),
    foreign key (owner_id, tenant_id) references users (id, tenant_id),
    check (status in ('requested', 'retired') or (owner_id is not null and purpose <> '' and expires_at is not null)),
    check (jwks_uri is null or token_endpoint_auth_method = 'private_key_jwt'))`,
  `create index agents_owner on agents (owner_id)`,

  // At most two live credentials: a slot each, and a slot holds one live credential.
  `create table credentials (
    id          ${id('crd')},
    ${tenantColumn},
    agent_id    text not null,
    kind        text not null check (kind in ('jwk', 'secret')),
    slot        smallint not null check (slot in (1, 2)),
    kid         text,
    jwk         jsonb,
    secret_hash bytea,
    created_at  timestamptz not null,
    ended_at    timestamptz,
    foreign key (agent_id, tenant_id) references agents (id, tenant_id),
    check ((kind = 'jwk') = (jwk is not null)),
    check ((kind = 'secret') = (secret_hash is not null)),
    check (not jwk ?| array['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']))`,
  `create unique index credentials_live on credentials (agent_id, slot) where ended_at is null`,

  `create table audiences (
    id                 ${id('aud')},
    ${tenantColumn},
    issuer             text not null check (issuer <> ''),
    name               text not null check (name <> ''),
    profile            text not null check (profile in
      ('idjag', 'mcp-ema', 'authmd-0.1', 'authmd-0.2', 'authmd-head')),
    resources          jsonb not null check (jsonb_typeof(resources) = 'array'),
    default_scopes     text[] not null,
    default_resources  text[] not null,
    claims             text[] not null,
    subject_type       text not null check (subject_type in ('public', 'pairwise')),
    max_auth_age       integer check (max_auth_age > 0),
    id_jag_lifetime    integer check (id_jag_lifetime between 60 and 300),
    id_jag_signing_alg text not null,
    owner_id           text,
    review_at          timestamptz,
    status             text not null default 'active' check (status in ('active', 'suspended', 'retired')),
    status_reason      text,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,
    unique (id, tenant_id),
    foreign key (owner_id, tenant_id) references users (id, tenant_id))`,
  `create unique index audiences_issuer on audiences (tenant_id, issuer) where status <> 'retired'`,

  `create table entitlements (
    id          ${id('ent')},
    ${tenantColumn},
    agent_id    text not null,
    audience_id text not null,
    client_id   text check (client_id <> ''),
    scopes      text[] not null,
    resources   text[],
    consent     text not null check (consent in ('user', 'admin')),
    expires_at  timestamptz,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    ended_at    timestamptz,
    foreign key (agent_id, tenant_id) references agents (id, tenant_id),
    foreign key (audience_id, tenant_id) references audiences (id, tenant_id))`,
  `create unique index entitlements_live on entitlements (agent_id, audience_id) where ended_at is null`,
  `create index entitlements_audience on entitlements (audience_id) where ended_at is null`,

  `create table delegations (
    id           ${id('dlg')},
    ${tenantColumn},
    user_id      text not null,
    agent_id     text not null,
    audience_id  text not null,
    scopes       text[] not null,
    resources    text[],
    mode         text not null check (mode in ('once', 'always')),
    source       text not null check (source in ('user', 'admin', 'policy')),
    sub_asserted text not null,
    text_version text,
    status       text not null default 'active' check (status in ('active', 'consumed', 'expired', 'revoked')),
    created_at   timestamptz not null,
    expires_at   timestamptz,
    consumed_at  timestamptz,
    revoked_at   timestamptz,
    end_reason   text,
    foreign key (user_id, tenant_id) references users (id, tenant_id),
    foreign key (agent_id, tenant_id) references agents (id, tenant_id),
    foreign key (audience_id, tenant_id) references audiences (id, tenant_id),
    check ((status = 'consumed') = (consumed_at is not null)),
    check ((status = 'revoked') = (revoked_at is not null)),
    check (status <> 'consumed' or mode = 'once'))`,
  `create unique index delegations_live on delegations (user_id, agent_id, audience_id) where status = 'active'`,
  `create index delegations_triple on delegations (user_id, agent_id, audience_id, created_at desc)`,
  `create index delegations_agent on delegations (agent_id, id)`,
  `create index delegations_audience on delegations (audience_id, id)`,

  `create table interactions (
    id            ${id('int')},
    ${tenantColumn},
    user_id       text not null,
    agent_id      text not null,
    audience_id   text not null,
    scopes        text[] not null,
    resources     text[] not null,
    status        text not null default 'open' check (status in ('open', 'granted', 'denied', 'expired')),
    created_at    timestamptz not null,
    expires_at    timestamptz not null,
    decided_at    timestamptz,
    delegation_id text references delegations,
    foreign key (user_id, tenant_id) references users (id, tenant_id),
    foreign key (agent_id, tenant_id) references agents (id, tenant_id),
    foreign key (audience_id, tenant_id) references audiences (id, tenant_id),
    check ((status = 'granted') = (delegation_id is not null)))`,
  `create unique index interactions_open on interactions
    (user_id, agent_id, audience_id, scopes, resources) where status = 'open'`,

  // Public clients of the provider's own sign-in: sessions, codes, refresh tokens.
  `create table sessions (
    id         ${id('ses')},
    ${tenantColumn},
    user_id    text not null,
    token_hash bytea not null unique,
    auth_time  timestamptz not null,
    amr        text[] not null,
    continues  text references sessions,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at   timestamptz,
    end_reason text,
    foreign key (user_id, tenant_id) references users (id, tenant_id))`,
  `create index sessions_user on sessions (user_id) where ended_at is null`,

  `create table refresh_token_families (
    id         ${id('rtf')},
    ${tenantColumn},
    agent_id   text not null,
    user_id    text not null,
    session_id text not null references sessions,
    scope      text[] not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at   timestamptz,
    end_reason text,
    foreign key (user_id, tenant_id) references users (id, tenant_id),
    foreign key (agent_id, tenant_id) references agents (id, tenant_id))`,
  `create index refresh_token_families_agent on refresh_token_families (agent_id) where ended_at is null`,
  `create index refresh_token_families_user on refresh_token_families (user_id) where ended_at is null`,
  `create index refresh_token_families_session on refresh_token_families (session_id)`,

  `create table refresh_tokens (
    hash       bytea primary key,
    ${tenantColumn},
    family_id  text not null references refresh_token_families,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    spent_at   timestamptz)`,
  `create unique index refresh_tokens_current on refresh_tokens (family_id) where spent_at is null`,

  `create table authorization_codes (
    hash           bytea primary key,
    ${tenantColumn},
    agent_id       text not null,
    user_id        text not null,
    session_id     text not null references sessions,
    redirect_uri   text not null,
    code_challenge text not null,
    nonce          text,
    scope          text[] not null,
    created_at     timestamptz not null,
    expires_at     timestamptz not null,
    consumed_at    timestamptz,
    family_id      text references refresh_token_families,
    foreign key (user_id, tenant_id) references users (id, tenant_id),
    foreign key (agent_id, tenant_id) references agents (id, tenant_id))`,

  // What was presented once may not be presented again: digests of client assertions' jti. Without a
  // foreign key, so that writing one waits for nobody's lock.
  `create table spent_assertions (
    digest     bytea primary key,
    tenant_id  text not null,
    expires_at timestamptz not null)`,
  `create index spent_assertions_expiry on spent_assertions (expires_at)`,

  `create table rate_limits (
    key    varchar(255) primary key,
    points integer not null default 0,
    expire bigint)`,

  `create table signing_keys (
    kid          text primary key check (kid ~ '^[A-Za-z0-9_-]{43}$'),
    ${tenantColumn},
    alg          text not null,
    purpose      text not null check (purpose in ('id_token', 'id_jag', 'seal')),
    public_jwk   jsonb not null check (not public_jwk ?| array['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']),
    private_key  text,
    status       text not null check (status in ('next', 'active', 'retired', 'removed', 'compromised')),
    created_at   timestamptz not null,
    published_at timestamptz not null,
    activated_at timestamptz,
    retired_at   timestamptz,
    removed_at   timestamptz)`,
  `create unique index signing_keys_active on signing_keys (purpose, alg) where status = 'active'`,
  `create unique index signing_keys_next on signing_keys (purpose, alg) where status = 'next'`,

  `create table revocations (
    id                     ${id('rev')},
    ${tenantColumn},
    agent_id               text references agents,
    user_id                text references users,
    audience_id            text references audiences,
    owner_id               text references users,
    revoked_tenant_id      text references tenants,
    reason                 text not null check (reason <> ''),
    admin_key_id           text,
    delegations_revoked    integer not null,
    refresh_tokens_revoked integer not null,
    events_queued          integer not null,
    created_at             timestamptz not null,
    check (num_nonnulls(agent_id, user_id, audience_id, owner_id, revoked_tenant_id) = 1))`,

  `create table admin_keys (
    id         ${id('adm')},
    ${tenantColumn},
    name       text not null check (name <> ''),
    key_hash   bytea not null unique,
    scopes     text[] not null,
    created_at timestamptz not null,
    created_by text,
    expires_at timestamptz,
    ended_at   timestamptz)`,

  // Without a foreign key: the call that follows in the same transaction may stop that very tenant, and two
  // such calls would each hold what the other wants.
  `create table idempotency_keys (
    admin_key_id text not null,
    key          text not null,
    tenant_id    text not null default ${defaultTenant},
    body_digest  bytea not null,
    status       smallint,
    answer       jsonb,
    created_at   timestamptz not null,
    primary key (admin_key_id, key))`,
  `create index idempotency_keys_age on idempotency_keys (created_at)`,
]
