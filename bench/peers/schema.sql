-- What the peers know and write. The ceiling writes issuances and reads nothing.
create table users (
  id           text primary key,
  email        text not null,
  active       boolean not null default true,
  signed_in_at bigint not null);
create table agents (
  id     text primary key,
  jwk    jsonb not null,
  active boolean not null default true);
create table audiences (
  issuer    text primary key,
  resources text[] not null,
  lifetime  int not null default 300,
  active    boolean not null default true);
create table entitlements (
  agent_id  text not null references agents,
  audience  text not null references audiences,
  client_id text not null,
  scopes    text[] not null,
  primary key (agent_id, audience));
create table delegations (
  id             bigint generated always as identity primary key,
  user_id        text not null references users,
  agent_id       text not null references agents,
  audience       text not null references audiences,
  scopes         text[] not null,
  expires_at     timestamptz not null,
  revoked_at     timestamptz,
  last_minted_at timestamptz,
  unique (user_id, agent_id, audience));
create table issuances (
  id            bigint generated always as identity primary key,
  issued_at     timestamptz not null default now(),
  agent_id      text not null,
  user_id       text not null,
  audience      text not null,
  jti           text not null,
  delegation_id bigint,
  scope         text);
create table provider_state (
  model      text not null,
  id         text not null,
  payload    jsonb not null,
  expires_at timestamptz,
  primary key (model, id));
