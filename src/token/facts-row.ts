import type { AgentFacts, LiveCredential } from '../agents/authenticate.ts'
import type {
  AudienceFacts,
  DelegationFacts,
  EntitlementFacts,
  UserFacts,
} from '../policy/facts.ts'
import type { Facts, FamilyFacts, SessionFacts } from './facts.ts'

/** As the driver gives it: of a record that was not found every column is null, flags apart. */
export type FactsRow = Record<Text, string | null> &
  Record<Flag, boolean> &
  Record<Count, number | null>
type Flag =
  | 'a_dpop'
  | 'f_ended'
  | 'rt_spent'
  | 's_ended'
  | 'u_email_verified'
  | 'u_phone_verified'
  | 'au_dpop'
  | 'au_names_agent'
  | 'd_offline'
type Count = 'au_max_auth_age' | 'au_lifetime'
type Text =
  | 'n'
  | `a_${'id' | 'tenant' | 'name' | 'status' | 'expires' | 'owner' | 'method' | 'jwks_uri' | 'grants' | 'alg'}`
  | `a_${'url' | 'allowed_until' | 'version' | 'credentials'}`
  | 't_status'
  | 'o_status'
  | `f_${'id' | 'agent' | 'user' | 'session' | 'jkt' | 'expires'}`
  | 'rt_expires'
  | `s_${'id' | 'user' | 'expires' | 'auth_time' | 'amr' | 'acr'}`
  | `u_${'id' | 'tenant' | 'status' | 'email' | 'phone' | 'name' | 'version'}`
  | `au_${'id' | 'issuer' | 'profile' | 'status' | 'resources' | 'default_scopes' | 'default_resources'}`
  | `au_${'claims' | 'acr' | 'alg' | 'version'}`
  | `e_${'id' | 'client_id' | 'scopes' | 'resources' | 'types' | 'consent' | 'expires' | 'version'}`
  | `d_${'id' | 'scopes' | 'resources' | 'details' | 'claims' | 'mode' | 'source' | 'sub'}`
  | `d_${'expires' | 'version'}`
  | `ac_${'sub' | 'tenant'}`
  | `b_${'id' | 'expires'}`
  | `ev_${'id' | 'due'}`

/** The records of one row of facts.ts's statement; its column names say of which table. */
export function toFacts(row: FactsRow): Facts {
  return {
    agent: row.a_id === null ? undefined : agentOf(row),
    family: row.f_id === null ? undefined : familyOf(row),
    session: row.s_id === null ? undefined : sessionOf(row),
    user: row.u_id === null ? undefined : userOf(row),
    audience: row.au_id === null ? undefined : audienceOf(row),
    entitlement: row.e_id === null ? undefined : entitlementOf(row),
    delegation: row.d_id === null ? undefined : delegationOf(row),
    account: row.ac_sub === null ? undefined : { aud_sub: row.ac_sub, aud_tenant: row.ac_tenant },
    block: row.b_id === null ? undefined : { id: row.b_id, expires_at: instant(row.b_expires) },
    event: row.ev_id === null ? undefined : { id: row.ev_id, due_at: instant(row.ev_due) },
  }
}

const agentOf = (row: FactsRow): AgentFacts => ({
  id: row.a_id as string,
  tenant_id: row.a_tenant as string,
  tenant_status: row.t_status as AgentFacts['tenant_status'],
  name: row.a_name as string,
  status: row.a_status as AgentFacts['status'],
  expires_at: instant(row.a_expires),
  owner_id: row.a_owner,
  owner_status: row.o_status as AgentFacts['owner_status'],
  token_endpoint_auth_method: row.a_method as AgentFacts['token_endpoint_auth_method'],
  jwks_uri: row.a_jwks_uri,
  grant_types: list(row.a_grants),
  id_token_signed_response_alg: row.a_alg as string,
  dpop_bound_access_tokens: row.a_dpop,
  client_metadata_url: row.a_url,
  client_metadata_allowed_until: instant(row.a_allowed_until),
  version: row.a_version as string,
  credentials: credentialsOf(row.a_credentials),
})

function credentialsOf(json: string | null): LiveCredential[] {
  const rows = JSON.parse(json ?? '[]') as [string, string | null, string | null, string | null][]
  return rows.map(([id, kid, jwk, secret_hash]) => ({ id, kid, jwk, secret_hash }))
}

const familyOf = (row: FactsRow): FamilyFacts => ({
  id: row.f_id as string,
  agent_id: row.f_agent as string,
  user_id: row.f_user as string,
  session_id: row.f_session as string,
  ended: row.f_ended,
  expires_at: required(row.f_expires),
  dpop_jkt: row.f_jkt,
  token:
    row.rt_expires === null
      ? undefined
      : { spent: row.rt_spent, expires_at: required(row.rt_expires) },
})

const sessionOf = (row: FactsRow): SessionFacts => ({
  id: row.s_id as string,
  user_id: row.s_user as string,
  ended: row.s_ended,
  expires_at: required(row.s_expires),
  auth_time: required(row.s_auth_time),
  amr: list(row.s_amr),
  acr: row.s_acr,
})

const userOf = (row: FactsRow): UserFacts => ({
  id: row.u_id as string,
  tenant_id: row.u_tenant as string,
  status: row.u_status as UserFacts['status'],
  email: row.u_email,
  email_verified: row.u_email_verified,
  phone_number: row.u_phone,
  phone_verified: row.u_phone_verified,
  name: row.u_name,
  version: row.u_version as string,
})

const audienceOf = (row: FactsRow): AudienceFacts => ({
  id: row.au_id as string,
  issuer: row.au_issuer as string,
  profile: row.au_profile as AudienceFacts['profile'],
  status: row.au_status as AudienceFacts['status'],
  resources: JSON.parse(row.au_resources as string) as AudienceFacts['resources'],
  default_scopes: list(row.au_default_scopes),
  default_resources: list(row.au_default_resources),
  claims: list(row.au_claims),
  max_auth_age: row.au_max_auth_age,
  acr_values: list(row.au_acr),
  dpop_required: row.au_dpop,
  event_names_agent: row.au_names_agent,
  id_jag_lifetime: row.au_lifetime,
  id_jag_signing_alg: row.au_alg as string,
  version: row.au_version as string,
})

const entitlementOf = (row: FactsRow): EntitlementFacts => ({
  id: row.e_id as string,
  client_id: row.e_client_id,
  scopes: list(row.e_scopes),
  resources: row.e_resources === null ? null : list(row.e_resources),
  authorization_details_types: row.e_types === null ? null : JSON.parse(row.e_types),
  consent: row.e_consent as EntitlementFacts['consent'],
  expires_at: instant(row.e_expires),
  version: row.e_version as string,
})

const delegationOf = (row: FactsRow): DelegationFacts => ({
  id: row.d_id as string,
  scopes: list(row.d_scopes),
  resources: row.d_resources === null ? null : list(row.d_resources),
  authorization_details: row.d_details === null ? null : JSON.parse(row.d_details),
  claims: list(row.d_claims),
  mode: row.d_mode as DelegationFacts['mode'],
  offline: row.d_offline,
  source: row.d_source as DelegationFacts['source'],
  sub_asserted: row.d_sub as string,
  expires_at: instant(row.d_expires),
  version: row.d_version as string,
})

const list = (words: string | null): string[] => (words ? words.split(' ') : [])

const instant = (milliseconds: string | null): Date | null =>
  milliseconds === null ? null : new Date(Math.round(Number(milliseconds)))

const required = (milliseconds: string | null): Date =>
  instant(milliseconds) ?? new Date(Number.NaN)
