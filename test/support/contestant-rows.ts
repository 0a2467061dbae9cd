import type { Insertable } from 'kysely'
import type { Tables } from '../../src/db/tables.ts'
import { GRANT } from '../../src/oauth/names.ts'
import { hashSecret } from '../../src/oauth/secret.ts'
import { STANDARD_CLAIMS } from '../../src/rules/trusted-issuer-schema.ts'
import { challengeOf } from './browser.ts'
import { JWK, KID, REDIRECT, VERIFIER } from './contestant-requests.ts'
import type { Actor, Contestant, Elsewhere, Kind } from './contestants.ts'

/** In the order in which they refer to one another. */
export const TABLES = [
  'tenants',
  'users',
  'client_metadata_rules',
  'agents',
  'credentials',
  'audiences',
  'audience_aliases',
  'audience_accounts',
  'entitlements',
  'delegations',
  'sessions',
  'refresh_token_families',
  'refresh_tokens',
  'authorization_codes',
  'actor_permissions',
  'trusted_issuers',
  'upstream_accounts',
] as const
type Rows = { [Name in (typeof TABLES)[number]]: Insertable<Tables[Name]>[] }

export const RESOURCE = 'https://api.paperclip.example/'
/** Types of authorization details that every audience knows. */
export const TYPES = ['draft', 'export'] as const
const SCOPES = ['docs.read', 'docs.write']
const YEAR = 365 * 24 * 3_600_000

/** Everything that a contestant has. */
export function rowsOf(of: Contestant, kind: Kind, now: Date): Rows {
  const { tenant_id, user_id, owner_id, agent_id, actor, elsewhere } = of
  const born = { tenant_id, created_at: now }
  const people = new Set([user_id, owner_id, ...(actor ? [actor.owner_id] : [])])
  const agents = [of, ...(actor ? [actor] : [])]
  const places: Elsewhere[] = [
    { ...of, delegation_id: of.delegation_id ?? '' },
    ...(elsewhere ? [elsewhere] : []),
  ]
  return {
    tenants: kind.ownTenant ? [{ id: tenant_id, name: 'Contest' }] : [],
    users: Array.from(people, (id) => ({
      id,
      email: `${id.toLowerCase()}@orbit.example`,
      email_verified_at: now,
      email_verified_by: 'environment',
      ...born,
      updated_at: now,
    })),
    client_metadata_rules: agents.flatMap((one) => metadataRuleRow(one, of, now)),
    agents: agents.map((one) => agentRow(one, of, now)),
    credentials: agents
      .filter((one) => !one.document)
      .map((one) => ({
        id: one.credential_id,
        agent_id: one.agent_id,
        kind: 'jwk',
        slot: 1,
        kid: KID,
        jwk: JSON.stringify(JWK),
        ...born,
      })),
    audiences: places.map((place) => audienceRow(place, of, kind, now)),
    audience_aliases: of.alias ? [{ tenant_id, alias: of.alias, audience_id: of.audience_id }] : [],
    audience_accounts: kind.account
      ? [{ user_id, audience_id: of.audience_id, aud_sub: user_id, ...born, updated_at: now }]
      : [],
    entitlements: places.map(({ entitlement_id, audience_id }) => ({
      id: entitlement_id,
      agent_id,
      audience_id,
      client_id: 'racer',
      scopes: SCOPES,
      consent: kind.consent ?? 'user',
      ...born,
      updated_at: now,
    })),
    delegations:
      kind.delegation === null ? [] : places.map((place) => delegationRow(place, of, kind, now)),
    ...signInRows(of, kind, now),
    actor_permissions: actor ? permissionRows(actor, of, now) : [],
    ...upstreamRows(of, kind, now),
  }
}

type Agent = Pick<Actor, 'agent_id' | 'owner_id' | 'document'>

const metadataRuleRow = ({ owner_id, document }: Agent, { tenant_id }: Contestant, now: Date) =>
  document === undefined
    ? []
    : [
        {
          id: document.rule_id,
          tenant_id,
          url: document.url,
          owner_id,
          purpose: 'races',
          agent_expires_at: new Date(now.getTime() + YEAR),
          created_at: now,
          created_by: 'environment',
        },
      ]

function agentRow(
  { agent_id, owner_id, document }: Agent,
  { tenant_id }: Contestant,
  now: Date,
): Insertable<Tables['agents']> {
  return {
    id: agent_id,
    tenant_id,
    owner_id,
    name: 'Racer',
    purpose: 'races',
    expires_at: new Date(now.getTime() + YEAR),
    token_endpoint_auth_method: 'private_key_jwt',
    client_metadata_url: document?.url ?? null,
    redirect_uris: [REDIRECT],
    grant_types: Object.values(GRANT),
    id_token_signed_response_alg: 'ES256',
    status: 'active',
    created_at: now,
    updated_at: now,
  }
}

function audienceRow(
  { audience_id, issuer }: Elsewhere,
  { tenant_id }: Contestant,
  kind: Kind,
  now: Date,
): Insertable<Tables['audiences']> {
  return {
    id: audience_id,
    tenant_id,
    issuer,
    name: 'Paperclip',
    profile: 'idjag',
    resources: JSON.stringify([
      {
        identifier: RESOURCE,
        scopes: SCOPES.map((name) => ({ name })),
        authorization_details_types: TYPES.map((type) => ({ type })),
      },
    ]),
    default_scopes: [],
    default_resources: [],
    claims: [],
    subject_type: 'public',
    id_jag_signing_alg: 'ES256',
    created_at: now,
    updated_at: now,
    ...kind.audience,
  }
}

function delegationRow(
  { delegation_id, audience_id }: Elsewhere,
  { tenant_id, user_id, agent_id }: Contestant,
  { consent, delegation, granted }: Kind,
  now: Date,
): Insertable<Tables['delegations']> {
  return {
    id: delegation_id,
    tenant_id,
    user_id,
    agent_id,
    audience_id,
    scopes: SCOPES,
    authorization_details:
      consent === 'admin' ? null : JSON.stringify(TYPES.map((type) => ({ type }))),
    claims: [],
    mode: delegation ?? 'always',
    source: consent === 'admin' ? 'policy' : 'user',
    sub_asserted: user_id,
    created_at: now,
    ...granted,
  }
}

/** A session, what the agent has of it, and a code on its way. */
function signInRows(of: Contestant, { signedOut }: Kind, now: Date) {
  const { tenant_id, user_id, agent_id, session_id, family_id } = of
  const born = { tenant_id, created_at: now }
  const expires_at = new Date(now.getTime() + YEAR)
  const scope = ['openid', 'offline_access']
  return {
    sessions: [
      {
        id: session_id,
        user_id,
        token_hash: hashSecret(of.cookie),
        auth_time: now,
        amr: ['pwd'],
        expires_at,
        ...(signedOut && { ended_at: now, end_reason: 'signed_out' }),
        ...born,
      },
    ],
    refresh_token_families: [
      { id: family_id, agent_id, user_id, session_id, scope, expires_at, ...born },
    ],
    refresh_tokens: [
      { hash: hashSecret(of.refresh_token), family_id, expires_at, ...born },
      { hash: hashSecret(of.spent_token), family_id, expires_at, spent_at: now, ...born },
    ],
    authorization_codes: [
      {
        hash: hashSecret(of.code),
        agent_id,
        user_id,
        session_id,
        redirect_uri: REDIRECT,
        code_challenge: challengeOf(VERIFIER),
        scope,
        expires_at,
        ...born,
      },
    ],
  }
}

function permissionRows(
  { agent_id: actor_id, permission_id, narrow_permission_id }: Actor,
  { tenant_id, agent_id }: Contestant,
  now: Date,
): Insertable<Tables['actor_permissions']>[] {
  const pair = { agent_id, actor_id, tenant_id, created_at: now, created_by: 'environment' }
  return [
    { id: permission_id, ...pair },
    ...(narrow_permission_id ? [{ id: narrow_permission_id, ...pair, scopes: ['docs.read'] }] : []),
  ]
}

function upstreamRows(
  { tenant_id, user_id, agent_id, upstream }: Contestant,
  { provisioning }: Kind,
  now: Date,
) {
  if (upstream === undefined) return { trusted_issuers: [], upstream_accounts: [] }
  const { id, issuer, jwks_uri, subject } = upstream
  const born = { tenant_id, issuer, created_at: now, created_by: 'environment' }
  return {
    trusted_issuers: [
      {
        id,
        jwks_uri,
        clients: JSON.stringify([{ client_id: 'racer', agent_ids: [agent_id] }]),
        claim_mapping: JSON.stringify(STANDARD_CLAIMS),
        provisioning: provisioning ?? ('refuse' as const),
        trust_auth_time: false,
        trust_contacts: false,
        ...born,
      },
    ],
    upstream_accounts: provisioning ? [] : [{ subject, user_id, ...born }],
  }
}
