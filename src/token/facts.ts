import type pg from 'pg'
import type { AgentFacts } from '../agents/authenticate.ts'
import { allowedUntil } from '../agents/metadata-queries.ts'
import { columns, createBatch } from '../db/batch.ts'
import { holdsMintsUp } from '../events/waiting.ts'
import type {
  AccountFacts,
  AudienceFacts,
  BlockFacts,
  DelegationFacts,
  EntitlementFacts,
  UserFacts,
} from '../policy/facts.ts'
import { type FactsRow, toFacts } from './facts-row.ts'

/** What one exchange names, none of it believed yet. */
export type Names = {
  client_id: string
  audience: string | null
  /** The same identifier with or without its one trailing slash (TX-05). */
  audience_other: string | null
  /** Of an ID token: the grant it came from. */
  family_id: string | null
  /** Of a refresh token: its hash. */
  refresh_hash: Buffer | null
  /** Where no session of ours says who the user is: a subject of a trusted issuer, or a dry run. */
  user_id: string | null
}

/** Of a request that names nothing else. */
export const clientAlone = (client_id: string): Names => ({
  client_id,
  audience: null,
  audience_other: null,
  family_id: null,
  refresh_hash: null,
  user_id: null,
})

export type Facts = {
  agent: AgentFacts | undefined
  family: FamilyFacts | undefined
  session: SessionFacts | undefined
  user: UserFacts | undefined
  audience: AudienceFacts | undefined
  entitlement: EntitlementFacts | undefined
  delegation: DelegationFacts | undefined
  /** The user's account at the audience, where an administrator has entered it. */
  account: AccountFacts | undefined
  /** The block that lasts longest of those that forbid this. */
  block: BlockFacts | undefined
  /** An older revocation that the audience has not heard of yet (EV-14); `due_at`: when it is told next. */
  event: { id: string; due_at: Date | null } | undefined
}
export type FamilyFacts = {
  id: string
  agent_id: string
  user_id: string
  session_id: string
  ended: boolean
  expires_at: Date
  /** Thumbprint of the key that its tokens are bound to. */
  dpop_jkt: string | null
  /** Set when the request named a refresh token of this family. */
  token?: { spent: boolean; expires_at: Date } | undefined
}
export type SessionFacts = {
  id: string
  user_id: string
  ended: boolean
  expires_at: Date
  auth_time: Date
  amr: string[]
  acr: string | null
}

export type GatherFacts = (names: Names) => Promise<Facts>

/** Requests in one reading statement at the most. */
const MOST = 32

/** Everything that a decision needs, read in one statement for all the requests in flight. */
export function createGatherFacts(pool: pg.Pool): GatherFacts {
  return createBatch<Names, Facts>({
    most: MOST,
    run: async (names) => {
      const { rows } = await pool.query<FactsRow>({
        name: 'gather_facts',
        text: GATHER,
        values: columns(names, [
          (of) => storable(of.client_id),
          (of) => storable(of.audience),
          (of) => storable(of.audience_other),
          (of) => storable(of.family_id),
          (of) => of.refresh_hash,
          (of) => of.user_id,
        ]),
      })
      const found: Facts[] = []
      for (const row of rows) found[Number(row.n) - 1] = toFacts(row)
      return found
    },
  })
}

// Lists travel as words: scopes, claims, URIs and the like hold no spaces, and splitting is cheaper than
// reading arrays. Instants travel as milliseconds, credentials as one JSON text.
// A row's version is its xmin, which every change of the row replaces: spend-and-record.ts compares it under lock.
const words = (column: string) => `array_to_string(${column}, ' ')`
const milliseconds = (column: string) => `extract(epoch from ${column}) * 1000`

const GATHER = `
select asked.n,
  a.id as a_id, a.tenant_id as a_tenant, t.status as t_status, a.name as a_name, a.status as a_status,
  ${milliseconds('a.expires_at')} as a_expires, a.owner_id as a_owner, o.status as o_status,
  a.token_endpoint_auth_method as a_method, a.jwks_uri as a_jwks_uri, ${words('a.grant_types')} as a_grants,
  a.id_token_signed_response_alg as a_alg, a.dpop_bound_access_tokens as a_dpop,
  a.client_metadata_url as a_url, ${milliseconds(allowedUntil('a'))} as a_allowed_until, a.xmin::text as a_version,
  (select json_agg(json_build_array(c.id, c.kid, c.jwk::text, encode(c.secret_hash, 'hex')))::text
    from credentials c where c.agent_id = a.id and c.ended_at is null) as a_credentials,
  f.id as f_id, f.agent_id as f_agent, f.user_id as f_user, f.session_id as f_session,
  f.dpop_jkt as f_jkt, f.ended_at is not null as f_ended, ${milliseconds('f.expires_at')} as f_expires,
  rt.spent_at is not null as rt_spent, ${milliseconds('rt.expires_at')} as rt_expires,
  s.id as s_id, s.user_id as s_user, s.ended_at is not null as s_ended,
  ${milliseconds('s.expires_at')} as s_expires, ${milliseconds('s.auth_time')} as s_auth_time,
  ${words('s.amr')} as s_amr, s.acr as s_acr,
  u.id as u_id, u.tenant_id as u_tenant, u.status as u_status, u.email as u_email,
  u.email_verified_at is not null as u_email_verified, u.phone_number as u_phone,
  u.phone_verified_at is not null as u_phone_verified, u.name as u_name, u.xmin::text as u_version,
  au.id as au_id, au.issuer as au_issuer, au.profile as au_profile, au.status as au_status,
  au.resources::text as au_resources, ${words('au.default_scopes')} as au_default_scopes,
  ${words('au.default_resources')} as au_default_resources, ${words('au.claims')} as au_claims,
  au.max_auth_age as au_max_auth_age, au.id_jag_lifetime as au_lifetime, au.id_jag_signing_alg as au_alg,
  au.dpop_required as au_dpop, au.event_names_agent as au_names_agent, ${words('au.acr_values')} as au_acr, au.xmin::text as au_version,
  e.id as e_id, e.client_id as e_client_id, ${words('e.scopes')} as e_scopes,
  ${words('e.resources')} as e_resources, to_json(e.authorization_details_types)::text as e_types, e.consent as e_consent, ${milliseconds('e.expires_at')} as e_expires,
  e.version as e_version,
  d.id as d_id, ${words('d.scopes')} as d_scopes, ${words('d.resources')} as d_resources,
  d.authorization_details::text as d_details, d.offline as d_offline,
  ${words('d.claims')} as d_claims, d.mode as d_mode, d.source as d_source,
  d.sub_asserted as d_sub, ${milliseconds('d.expires_at')} as d_expires, d.version as d_version,
  ac.aud_sub as ac_sub, ac.aud_tenant as ac_tenant,
  b.id as b_id, ${milliseconds('b.expires_at')} as b_expires,
  ev.id as ev_id, ${milliseconds('ev.next_attempt_at')} as ev_due
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[])
  with ordinality as asked(client_id, audience, audience_other, family_id, refresh_hash, user_id, n)
left join agents a on a.id = asked.client_id
left join tenants t on t.id = a.tenant_id
left join users o on o.id = a.owner_id
left join refresh_tokens rt on rt.hash = asked.refresh_hash
left join refresh_token_families f on f.id = coalesce(rt.family_id, asked.family_id)
left join sessions s on s.id = f.session_id
left join users u on u.id = coalesce(s.user_id, asked.user_id)
left join audiences au on au.id = coalesce(
  (select exact.id from audiences exact
    where exact.tenant_id = a.tenant_id and exact.issuer = asked.audience and exact.status <> 'retired'),
  (select known.audience_id from audience_aliases known
    where known.tenant_id = a.tenant_id and known.alias = asked.audience),
  (select other.id from audiences other
    where other.tenant_id = a.tenant_id and other.issuer = asked.audience_other
      and other.status <> 'retired'))
left join lateral (
  select live.*, live.xmin::text as version from entitlements live
  where live.agent_id = a.id and live.audience_id = au.id and live.ended_at is null limit 1) e on true
left join lateral (
  select live.*, live.xmin::text as version from delegations live
  where live.user_id = u.id and live.agent_id = a.id and live.audience_id = au.id
    and live.status = 'active' limit 1) d on true
left join audience_accounts ac on ac.user_id = u.id and ac.audience_id = au.id
left join lateral (
  select live.id, live.expires_at from (
    select * from blocks of_user where of_user.user_id = u.id and of_user.ended_at is null
    union all
    select * from blocks of_agent
    where of_agent.agent_id = a.id and of_agent.user_id is null and of_agent.ended_at is null
    union all
    select * from blocks of_audience where of_audience.audience_id = au.id
      and of_audience.user_id is null and of_audience.agent_id is null and of_audience.ended_at is null) live
  where (live.agent_id is null or live.agent_id = a.id)
    and (live.audience_id is null or live.audience_id = au.id)
  order by live.expires_at desc nulls first limit 1) b on true
left join lateral (
  select waiting.id, waiting.next_attempt_at from event_deliveries waiting
  where ${holdsMintsUp('waiting', { tenant: 'a.tenant_id', aud: 'au.issuer', sub: 'coalesce(d.sub_asserted, u.id)', agent: 'a.id' })} limit 1) ev on true`

/**
 * PostgreSQL has no U+0000 in text and refuses the whole statement for one, with everybody's request in it.
 * No record's name has it either, so it names nothing.
 */
const storable = (text: string | null): string | null => (text?.includes('\0') ? null : text)
