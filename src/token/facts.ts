import type pg from 'pg'
import type { AgentFacts } from '../agents/authenticate.ts'
import { columns, createBatch } from '../db/batch.ts'
import type {
  AudienceFacts,
  DelegationFacts,
  EntitlementFacts,
  UserFacts,
} from '../policy/decide.ts'

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
}

export type Facts = {
  agent: AgentFacts | undefined
  family: FamilyFacts | undefined
  session: SessionFacts | undefined
  user: UserFacts | undefined
  audience: AudienceFacts | undefined
  entitlement: EntitlementFacts | undefined
  delegation: DelegationFacts | undefined
}
export type FamilyFacts = {
  id: string
  agent_id: string
  user_id: string
  session_id: string
  ended: boolean
  expires_at: Date
  /** Set when the request named a refresh token of this family. */
  token?: { spent: boolean; expires_at: Date }
}
export type SessionFacts = {
  id: string
  user_id: string
  ended: boolean
  expires_at: Date
  auth_time: Date
  amr: string[]
}

export type GatherFacts = (names: Names) => Promise<Facts>

/** Requests in one reading statement at the most. */
const MOST = 32

/** Everything that a decision needs, read in one statement for all the requests in flight. */
export function createGatherFacts(pool: pg.Pool): GatherFacts {
  return createBatch<Names, Facts>({
    most: MOST,
    run: async (names) => {
      const { rows } = await pool.query<{ n: string; facts: FactsJson }>({
        name: 'gather_facts',
        text: GATHER,
        values: columns(names, [
          (of) => storable(of.client_id),
          (of) => storable(of.audience),
          (of) => storable(of.audience_other),
          (of) => storable(of.family_id),
          (of) => of.refresh_hash,
        ]),
      })
      const found: Facts[] = []
      for (const { n, facts } of rows) found[Number(n) - 1] = toFacts(facts)
      return found
    },
  })
}

// Each record travels as one JSON value: cheaper to read than some fifty columns, arrays among them.
// A row's version is its xmin, which every change of the row replaces: record.ts compares it under lock.
const GATHER = `
select asked.n, json_build_object(
  'agent', case when a.id is not null then json_build_object(
    'id', a.id, 'tenant_id', a.tenant_id, 'tenant_status', t.status, 'name', a.name, 'status', a.status,
    'expires_at', extract(epoch from a.expires_at), 'owner_id', a.owner_id, 'owner_status', o.status,
    'token_endpoint_auth_method', a.token_endpoint_auth_method, 'jwks_uri', a.jwks_uri,
    'grant_types', a.grant_types, 'id_token_signed_response_alg', a.id_token_signed_response_alg,
    'version', a.xmin::text,
    'credentials', (select coalesce(json_agg(json_build_object('id', c.id, 'kid', c.kid, 'jwk', c.jwk::text,
        'secret_hash', encode(c.secret_hash, 'hex'))), '[]'::json)
      from credentials c where c.agent_id = a.id and c.ended_at is null)) end,
  'family', case when f.id is not null then json_build_object(
    'id', f.id, 'agent_id', f.agent_id, 'user_id', f.user_id, 'session_id', f.session_id,
    'ended', f.ended_at is not null, 'expires_at', extract(epoch from f.expires_at),
    'token', case when rt.hash is not null then json_build_object(
      'spent', rt.spent_at is not null, 'expires_at', extract(epoch from rt.expires_at)) end) end,
  'session', case when s.id is not null then json_build_object(
    'id', s.id, 'user_id', s.user_id, 'ended', s.ended_at is not null,
    'expires_at', extract(epoch from s.expires_at), 'auth_time', extract(epoch from s.auth_time),
    'amr', s.amr) end,
  'user', case when u.id is not null then json_build_object(
    'id', u.id, 'tenant_id', u.tenant_id, 'status', u.status, 'email', u.email,
    'email_verified', u.email_verified_at is not null, 'phone_number', u.phone_number,
    'phone_verified', u.phone_verified_at is not null, 'name', u.name, 'version', u.xmin::text) end,
  'audience', case when au.id is not null then json_build_object(
    'id', au.id, 'issuer', au.issuer, 'profile', au.profile, 'status', au.status,
    'resources', au.resources, 'default_scopes', au.default_scopes,
    'default_resources', au.default_resources, 'claims', au.claims, 'max_auth_age', au.max_auth_age,
    'id_jag_lifetime', au.id_jag_lifetime, 'id_jag_signing_alg', au.id_jag_signing_alg,
    'version', au.version) end,
  'entitlement', case when e.id is not null then json_build_object(
    'id', e.id, 'client_id', e.client_id, 'scopes', e.scopes, 'resources', e.resources,
    'consent', e.consent, 'expires_at', extract(epoch from e.expires_at), 'version', e.xmin::text) end,
  'delegation', case when d.id is not null then json_build_object(
    'id', d.id, 'scopes', d.scopes, 'resources', d.resources, 'mode', d.mode,
    'sub_asserted', d.sub_asserted, 'expires_at', extract(epoch from d.expires_at),
    'version', d.xmin::text) end) as facts
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[])
  with ordinality as asked(client_id, audience, audience_other, family_id, refresh_hash, n)
left join agents a on a.id = asked.client_id
left join tenants t on t.id = a.tenant_id
left join users o on o.id = a.owner_id
left join refresh_tokens rt on rt.hash = asked.refresh_hash
left join refresh_token_families f on f.id = coalesce(rt.family_id, asked.family_id)
left join sessions s on s.id = f.session_id
left join users u on u.id = s.user_id
left join lateral (
  select known.*, known.xmin::text as version from audiences known
  where known.tenant_id = a.tenant_id and known.status <> 'retired'
    and known.issuer in (asked.audience, asked.audience_other)
  order by known.issuer = asked.audience desc limit 1) au on true
left join entitlements e on e.agent_id = a.id and e.audience_id = au.id and e.ended_at is null
left join delegations d on d.user_id = u.id and d.agent_id = a.id and d.audience_id = au.id
  and d.status = 'active'`

/**
 * PostgreSQL has no U+0000 in text and refuses the whole statement for one, with everybody's request in it.
 * No record's name has it either, so it names nothing.
 */
const storable = (text: string | null): string | null => (text?.includes('\0') ? null : text)

type Timed = 'expires_at' | 'auth_time'
/** A record as JSON has it: instants are seconds. */
type Json<Value> = Value extends undefined
  ? null
  : { [Name in keyof Value]: Name extends Timed ? number | null : Value[Name] }
type FactsJson = {
  [Name in keyof Facts]: Json<Facts[Name]>
}

function toFacts(json: FactsJson): Facts {
  const { agent, family, session, user, audience, entitlement, delegation } = json
  return {
    agent: agent ? { ...agent, expires_at: instant(agent.expires_at) } : undefined,
    family: family
      ? { ...family, expires_at: required(family.expires_at), ...tokenOf(family) }
      : undefined,
    session: session
      ? {
          ...session,
          expires_at: required(session.expires_at),
          auth_time: required(session.auth_time),
        }
      : undefined,
    user: user ?? undefined,
    audience: audience ?? undefined,
    entitlement: entitlement
      ? { ...entitlement, expires_at: instant(entitlement.expires_at) }
      : undefined,
    delegation: delegation
      ? { ...delegation, expires_at: instant(delegation.expires_at) }
      : undefined,
  } as Facts
}

function tokenOf(family: { token?: unknown }) {
  const token = family.token as { spent: boolean; expires_at: number } | null | undefined
  return {
    token: token ? { spent: token.spent, expires_at: required(token.expires_at) } : undefined,
  }
}

const instant = (seconds: number | null): Date | null =>
  seconds === null ? null : new Date(Math.round(seconds * 1000))

const required = (seconds: number | null): Date => new Date(Math.round((seconds ?? 0) * 1000))
