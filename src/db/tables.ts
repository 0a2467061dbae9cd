import type { ColumnType, Generated, JSONColumnType, Kysely, Selectable, Transaction } from 'kysely'

/** The data model on one page; the constraints are in migrations/. */
export type Tables = {
  tenants: TenantsTable
  users: UsersTable
  user_passwords: UserPasswordsTable
  agents: AgentsTable
  credentials: CredentialsTable
  audiences: AudiencesTable
  audience_aliases: AudienceAliasesTable
  audience_discoveries: AudienceDiscoveriesTable
  audience_accounts: AudienceAccountsTable
  pairwise_subjects: PairwiseSubjectsTable
  entitlements: EntitlementsTable
  delegations: DelegationsTable
  interactions: InteractionsTable
  sessions: SessionsTable
  refresh_token_families: RefreshTokenFamiliesTable
  refresh_tokens: RefreshTokensTable
  authorization_codes: AuthorizationCodesTable
  spent_assertions: SpentAssertionsTable
  signing_keys: SigningKeysTable
  revocations: RevocationsTable
  admin_keys: AdminKeysTable
  idempotency_keys: IdempotencyKeysTable
  issuances: IssuancesTable
  audit_events: AuditEventsTable
  seals: SealsTable
  trusted_issuers: TrustedIssuersTable
  upstream_accounts: UpstreamAccountsTable
  actor_permissions: ActorPermissionsTable
  blocks: BlocksTable
  client_metadata_rules: ClientMetadataRulesTable
  event_deliveries: EventDeliveriesTable
  revocation_events: RevocationEventsTable
  withheld_endings: WithheldEndingsTable
  ssf_receivers: SsfReceiversTable
  streams: StreamsTable
  stream_subjects: StreamSubjectsTable
  stream_events: StreamEventsTable
}

/** The database, or a transaction on it: what every query takes first. */
export type Db = Kysely<Tables> | Transaction<Tables>
export type Row<Name extends keyof Tables> = Selectable<Tables[Name]>

type TenantsTable = {
  id: string
  name: string
  status: Generated<'active' | 'suspended'>
  created_at: Generated<Date>
}

type UsersTable = {
  id: string
  tenant_id: Generated<string>
  email: string | null
  email_verified_at: Date | null
  /** Who vouched for the address: an admin key's id, or `environment` for the key of the environment. */
  email_verified_by: string | null
  phone_number: string | null
  phone_verified_at: Date | null
  phone_verified_by: string | null
  name: string | null
  external_id: string | null
  status: Generated<'active' | 'suspended' | 'deleted'>
  /** Since then no policy delegation is made for this user (a revocation by user). */
  policy_barred_at: Date | null
  created_at: Date
  updated_at: Date
  deleted_at: Date | null
}

type UserPasswordsTable = {
  user_id: string
  tenant_id: Generated<string>
  hash: string
  changed_at: Date
}

export type AuthMethod = 'private_key_jwt' | 'client_secret_basic' | 'client_secret_post' | 'none'

type AgentsTable = {
  id: string
  tenant_id: Generated<string>
  name: string
  purpose: string | null
  owner_id: string | null
  environment: string | null
  expires_at: Date | null
  token_endpoint_auth_method: AuthMethod
  jwks_uri: string | null
  redirect_uris: string[]
  grant_types: string[]
  id_token_signed_response_alg: string
  dpop_bound_access_tokens: Generated<boolean>
  /** Of an agent that is known by its client metadata document: its `client_id`. */
  client_metadata_url: string | null
  /** What of that document was last seen. */
  client_metadata: JSONColumnType<Record<string, unknown>> | null
  client_metadata_seen_at: Date | null
  status: 'requested' | 'active' | 'suspended' | 'retired'
  status_reason: string | null
  created_at: Date
  updated_at: Date
}

type CredentialsTable = {
  id: string
  tenant_id: Generated<string>
  agent_id: string
  kind: 'jwk' | 'secret'
  slot: 1 | 2
  kid: string | null
  jwk: JSONColumnType<Record<string, unknown>> | null
  secret_hash: Buffer | null
  created_at: Date
  ended_at: Date | null
}

/** An entry of authorization details (RFC 9396 §2). */
export type Detail = { type: string } & Record<string, unknown>

export type Profile = 'idjag' | 'mcp-ema' | 'authmd-0.1' | 'authmd-0.2' | 'authmd-head'
export type AudienceResource = {
  identifier: string
  scopes: { name: string; description?: string }[]
  /** Of RFC 9396; the description is for the consent page. */
  authorization_details_types?: { type: string; description?: string }[]
}

/** `set`: a security event token (RFC 8417); `logout`: as auth.md had it at first. */
export type EventDialect = 'set' | 'logout'

type AudiencesTable = {
  id: string
  tenant_id: Generated<string>
  issuer: string
  name: string
  profile: Profile
  resources: JSONColumnType<AudienceResource[]>
  default_scopes: string[]
  default_resources: string[]
  claims: string[]
  subject_type: 'public' | 'pairwise'
  /** Of a pairwise audience: those of one sector are told the same `sub`. */
  sector: string | null
  /** Authentication context classes it accepts; none: any. */
  acr_values: Generated<string[]>
  dpop_required: Generated<boolean>
  /** Seconds. */
  max_auth_age: number | null
  /** Seconds. */
  id_jag_lifetime: number | null
  id_jag_signing_alg: string
  /** Where it hears of revocations, and how; `none`: not at all. */
  events_endpoint: string | null
  events_dialect: Generated<EventDialect | 'none'>
  /** The spelling of the event's URI that it knows; null: the official one. */
  event_type: string | null
  /** Whether it understands an event about one agent alone. */
  event_names_agent: Generated<boolean>
  /** Whether it is told of delegations that end by time. */
  notify_expiry: Generated<boolean>
  /** At each ending, or when the last delegation of a subject there has ended. */
  notify_when: Generated<'each' | 'last'>
  owner_id: string | null
  review_at: Date | null
  status: Generated<'active' | 'suspended' | 'retired'>
  status_reason: string | null
  created_at: Date
  updated_at: Date
}

type EntitlementsTable = {
  id: string
  tenant_id: Generated<string>
  agent_id: string
  audience_id: string
  client_id: string | null
  /** When it replaced another `client_id`; null: it is the first. */
  client_id_since: Date | null
  scopes: string[]
  /** Null: every resource of the audience. */
  resources: string[] | null
  /** Null: every type that the audience catalogues. */
  authorization_details_types: string[] | null
  consent: 'user' | 'admin'
  expires_at: Date | null
  created_at: Date
  updated_at: Date
  ended_at: Date | null
}

type DelegationsTable = {
  id: string
  tenant_id: Generated<string>
  user_id: string
  agent_id: string
  audience_id: string
  scopes: string[]
  /** Null: every resource the entitlement allows. */
  resources: string[] | null
  /** Null: whatever the entitlement allows. */
  authorization_details: ColumnType<Detail[] | null, string | null | undefined, string | null>
  /** What the audience may be told of the user beside `sub`. */
  claims: string[]
  mode: 'once' | 'always'
  /** It outlives the session of its user: the agent may use it with its refresh token. */
  offline: Generated<boolean>
  source: 'user' | 'admin' | 'policy'
  sub_asserted: string
  text_version: string | null
  /** As stored; a row whose `expires_at` has passed may still say `active`. */
  status: Generated<'active' | 'consumed' | 'expired' | 'revoked'>
  created_at: Date
  expires_at: Date | null
  consumed_at: Date | null
  revoked_at: Date | null
  /** Why it ended: `user`, `admin`, a revocation's id, or `replaced` by a newer consent. */
  end_reason: string | null
}

type InteractionsTable = {
  id: string
  tenant_id: Generated<string>
  user_id: string
  agent_id: string
  audience_id: string
  scopes: string[]
  resources: string[]
  authorization_details: ColumnType<Detail[], string | undefined, string>
  /** Digest of scopes, resources and details, for an index: they themselves may be longer than it can hold. */
  question: Buffer
  status: Generated<'open' | 'granted' | 'denied' | 'expired'>
  created_at: Date
  expires_at: Date
  decided_at: Date | null
  delegation_id: string | null
}

type SessionsTable = {
  id: string
  tenant_id: Generated<string>
  user_id: string
  token_hash: Buffer
  auth_time: Date
  amr: string[]
  acr: string | null
  /** The first session of this user in this browser, when this one came of signing in again. */
  continues: string | null
  created_at: Date
  expires_at: Date
  ended_at: Date | null
  end_reason: string | null
}

type RefreshTokenFamiliesTable = {
  id: string
  tenant_id: Generated<string>
  agent_id: string
  user_id: string
  session_id: string
  scope: string[]
  /** Thumbprint of the key that its tokens are bound to. */
  dpop_jkt: string | null
  /** The keys that signed its ID tokens; null if nobody wrote that down. */
  id_token_kids: string[] | null
  created_at: Date
  expires_at: Date
  ended_at: Date | null
  end_reason: string | null
}

type RefreshTokensTable = {
  hash: Buffer
  tenant_id: Generated<string>
  family_id: string
  created_at: Date
  expires_at: Date
  spent_at: Date | null
}

type AuthorizationCodesTable = {
  hash: Buffer
  tenant_id: Generated<string>
  agent_id: string
  user_id: string
  session_id: string
  redirect_uri: string
  code_challenge: string
  nonce: string | null
  scope: string[]
  /** Thumbprint of the key that has to redeem it. */
  dpop_jkt: string | null
  created_at: Date
  expires_at: Date
  consumed_at: Date | null
  /** What its redemption made: ended when the code is presented again. */
  family_id: string | null
}

/** Digests of what was presented once: client assertions, actor tokens, DPoP proofs. */
type SpentAssertionsTable = { digest: Buffer; tenant_id: Generated<string>; expires_at: Date }

export type KeyPurpose = 'id_token' | 'id_jag' | 'seal'

type SigningKeysTable = {
  /** RFC 7638 thumbprint. */
  kid: string
  tenant_id: Generated<string>
  alg: string
  purpose: KeyPurpose
  public_jwk: JSONColumnType<Record<string, unknown>>
  /** Encrypted, or where else it is (keys/custody.ts); null once it is destroyed. */
  private_key: string | null
  /** That the server made the key: a MAC under a key that the database does not hold. */
  proof: string
  status: 'next' | 'active' | 'retired' | 'removed' | 'compromised'
  created_at: Date
  published_at: Date
  activated_at: Date | null
  retired_at: Date | null
  removed_at: Date | null
  /** Seconds that what it signs lives at the most; null if nobody wrote that down. */
  token_lifetime: number | null
  compromised_at: Date | null
  compromise_reason: string | null
  /** Since then nothing rests on the compromised key any more. */
  cleared_at: Date | null
}

type RevocationsTable = {
  id: string
  tenant_id: Generated<string>
  agent_id: string | null
  user_id: string | null
  audience_id: string | null
  owner_id: string | null
  revoked_tenant_id: string | null
  reason: string
  admin_key_id: string | null
  delegations_revoked: number
  refresh_tokens_revoked: number
  events_queued: number
  created_at: Date
}

type AdminKeysTable = {
  id: string
  tenant_id: Generated<string>
  name: string
  key_hash: Buffer
  scopes: string[]
  created_at: Date
  created_by: string | null
  expires_at: Date | null
  ended_at: Date | null
}

type IdempotencyKeysTable = {
  admin_key_id: string
  key: string
  tenant_id: Generated<string>
  body_digest: Buffer
  status: number | null
  answer: JSONColumnType<Record<string, unknown>> | null
  created_at: Date
}

type IssuancesTable = {
  jti: string
  tenant_id: Generated<string>
  at: Date
  agent_id: string
  owner_id: string
  user_id: string
  audience_id: string
  delegation_id: string
  credential_id: string | null
  /** Null for a subject of a trusted issuer. */
  session_id: string | null
  family_id: string | null
  trusted_issuer_id: string | null
  /** Who acts for the agent, newest first. */
  actor_ids: string[] | null
  authorization_details_types: string[] | null
  dpop_jkt: string | null
  resources: string[]
  scopes: string[]
  kid: string
  auth_time: Date | null
  expires_at: Date
  agent_context_id: string | null
  request_id: string | null
  /** Which transaction of which database cluster wrote the row: for the database alone to say. */
  cluster: ColumnType<string, never, never>
  xid: ColumnType<string, never, never>
}

type AuditEventsTable = {
  id: string
  tenant_id: Generated<string>
  at: Date
  type: string
  actor_kind: 'agent' | 'user' | 'admin' | 'system' | 'unknown'
  actor_id: string | null
  agent_id: string | null
  user_id: string | null
  audience_id: string | null
  delegation_id: string | null
  jti: string | null
  error: string | null
  reason: string | null
  detail: JSONColumnType<Record<string, unknown>> | null
  request_id: string | null
  /** Which transaction of which database cluster wrote the row: for the database alone to say. */
  cluster: ColumnType<string, never, never>
  xid: ColumnType<string, never, never>
}

type SealsTable = {
  position: string
  tenant_id: Generated<string>
  at: Date
  snapshot: string
  cluster: string
  previous_hash: Buffer
  root: Buffer
  row_count: number
  row_tables: string[]
  row_ids: string[]
  leaves: Buffer
  kid: string
  signature: string
  hash: Buffer
}

type Json = Record<string, unknown>

/** What is known of an audience by its documents; their shapes are in audiences/discovery.ts. */
type AudienceDiscoveriesTable = {
  audience_id: string
  tenant_id: string
  /** Where it began. */
  url: string
  documents: JSONColumnType<Json[]>
  /** What of them the record goes by, and since when that is approved. */
  found: JSONColumnType<Json>
  approved_at: Date | null
  /** What awaits approval. */
  pending: JSONColumnType<Json> | null
  /** The audience is suspended because of that, and by no administrator. */
  stopped: Generated<boolean>
  flags: Generated<string[]>
  read_at: Date
  expires_at: Date
  /** Since the last reading that succeeded. */
  failures: Generated<number>
  last_failure: string | null
  failed_at: Date | null
  asked_at: Date
  next_read_at: Date
  /** Until then somebody is reading. */
  claimed_until: Date | null
}

type AudienceAliasesTable = { tenant_id: string; alias: string; audience_id: string }

type AudienceAccountsTable = {
  user_id: string
  audience_id: string
  tenant_id: Generated<string>
  aud_sub: string
  aud_tenant: string | null
  created_at: Date
  updated_at: Date
}

type PairwiseSubjectsTable = {
  user_id: string
  sector: string
  tenant_id: Generated<string>
  sub: string
  created_at: Date
}

/** Of every rule: who made it and until when it holds. */
type RuleColumns = {
  id: string
  tenant_id: Generated<string>
  expires_at: Date | null
  reason: string | null
  created_at: Date
  created_by: string
  ended_at: Date | null
}

/** A client of a trusted issuer, and the agents that may present the tokens made for it. */
export type UpstreamClient = { client_id: string; agent_ids: string[] }

type TrustedIssuersTable = RuleColumns & {
  issuer: string
  /** Null: found by discovery. */
  jwks_uri: string | null
  clients: JSONColumnType<UpstreamClient[]>
  /** Which claim of its tokens says what. */
  claim_mapping: JSONColumnType<Record<string, string>>
  /** What happens to a subject that is not linked to a user yet. */
  provisioning: 'link' | 'create' | 'refuse'
  trust_auth_time: boolean
  trust_contacts: boolean
}

type UpstreamAccountsTable = {
  tenant_id: string
  issuer: string
  subject: string
  user_id: string
  created_at: Date
  created_by: string
}

type ActorPermissionsTable = RuleColumns & {
  /** Who is acted for: the client that presents the actor token, or the actor before. */
  agent_id: string
  actor_id: string
  /** Null: any. */
  user_id: string | null
  audience_id: string | null
  scopes: string[] | null
}

type BlocksTable = RuleColumns & {
  /** Null: any. One at least is named. */
  user_id: string | null
  agent_id: string | null
  audience_id: string | null
}

type ClientMetadataRulesTable = RuleColumns & {
  /** One of the two. */
  url: string | null
  host: string | null
  /** For the agents that come of it. */
  owner_id: string
  purpose: string
  environment: string | null
  agent_expires_at: Date
}

/** What a relying app answered, or `failure`: why no answer came. All of it shortened. */
export type EventAnswer = {
  status?: number
  err?: string
  description?: string
  failure?: string
}

type EventDeliveriesTable = {
  id: string
  tenant_id: string
  /** The call that set it in motion. */
  revocation_id: string | null
  /** The key because of which it is sent. */
  compromised_kid: string | null
  audience_id: string
  user_id: string
  /** What gave rise to it, in a word. */
  cause: string | null
  /** The agent that it names; null: none, for it is about all of them. */
  agent_id: string | null
  /** As the audience knows it. */
  agent_client_id: string | null
  dialect: EventDialect
  /** These as they were when it was queued. */
  endpoint: string
  aud: string
  sub: string
  event_type: string
  jti: string
  earlier_jtis: Generated<string[]>
  /** Null, like the token: not signed yet, for no key could be had. */
  kid: string | null
  jws: string | null
  status: Generated<'queued' | 'delivered' | 'failed' | 'superseded'>
  attempts: Generated<number>
  /** It was sent by this `jti`, and nobody knows what came of it. */
  outcome_unknown: Generated<boolean>
  /** What was tried against a refusal; each helps once. */
  remedies: Generated<('new_jti' | 'cache_window' | 'metadata')[]>
  next_attempt_at: Date | null
  last_attempt_at: Date | null
  last_answer: JSONColumnType<EventAnswer> | null
  created_at: Date
  /** Given up then. */
  expires_at: Date
  delivered_at: Date | null
  failed_at: Date | null
  superseded_at: Date | null
  /** Sent again by hand: a mint no longer waits for it, and a newer consent drops it. */
  resent_at: Date | null
  /** The mints that it is about: those of this cluster whose transaction the snapshot shows as ended. */
  cluster: Generated<string>
  covers: Generated<string>
}

/** An audience that is told at the last ending only is yet to hear that something of these has ended. */
type WithheldEndingsTable = {
  audience_id: string
  user_id: string
  sub: string
  since: Date
  /** The calls that will be proved by the event. */
  revocation_ids: Generated<string[]>
}

/** Events on their way already when a revocation asked for the same. */
type RevocationEventsTable = {
  revocation_id: string
  delivery_id: string
}

/** Who receives Shared Signals: an OAuth client of its own kind. */
type SsfReceiversTable = {
  id: string
  tenant_id: Generated<string>
  name: string
  /** The `aud` of its stream. */
  audience: string
  scopes: string[]
  secret_hash: Buffer
  created_at: Date
  created_by: string
  ended_at: Date | null
}

type StreamsTable = {
  id: string
  tenant_id: string
  receiver_id: string
  method: 'push' | 'poll'
  /** Of push alone, like the header, which is encrypted. */
  endpoint_url: string | null
  authorization_header: string | null
  events_requested: string[]
  description: string | null
  status: Generated<'enabled' | 'paused' | 'disabled'>
  status_reason: string | null
  /** When its receiver last asked for a verification. */
  verified_at: Date | null
  /** When its receiver was last heard of. */
  active_at: Date
  failing_since: Date | null
  created_at: Date
  updated_at: Date
  ended_at: Date | null
}

type StreamSubjectsTable = {
  stream_id: string
  tenant_id: string
  user_id: string
  complex: boolean
  by_email: boolean
  /** When the address was verified that it was named by. */
  email_verified_at: Date | null
  /** Empty: every session. */
  session_id: Generated<string>
  created_at: Date
}

type StreamEventsTable = {
  jti: string
  tenant_id: string
  stream_id: string
  txn: string
  event_type: string
  event: JSONColumnType<Record<string, unknown>>
  /** Null: it is about the stream. */
  user_id: string | null
  session_id: string | null
  complex: Generated<boolean>
  /** Where the stream knows the user by it, until the event has ended. */
  email: string | null
  status: Generated<'queued' | 'delivered' | 'failed' | 'dropped'>
  attempts: Generated<number>
  next_attempt_at: Date
  first_attempt_at: Date | null
  last_answer: JSONColumnType<EventAnswer> | null
  /** What was tried against a refusal; each helps once. */
  remedies: Generated<('new_jti' | 'cache_window' | 'metadata')[]>
  created_at: Date
  ended_at: Date | null
}
