/**
 * Many stories at once, for races: rows as the doors would have left them, written in bulk, because a race
 * spends its story and a password would cost more than the race. What the races do goes through the doors.
 */

import { randomUUID } from 'node:crypto'
import type { Insertable, Kysely } from 'kysely'
import { DEFAULT_TENANT, newId } from '../../src/db/ids.ts'
import type { Tables } from '../../src/db/tables.ts'
import { GRANT } from '../../src/oauth/names.ts'
import { hashSecret, newSecret } from '../../src/oauth/secret.ts'
import { challengeOf } from './browser.ts'
import { JWK, KID, REDIRECT, VERIFIER } from './contestant-requests.ts'

export type Contestant = {
  tenant_id: string
  user_id: string
  owner_id: string
  agent_id: string
  credential_id: string
  audience_id: string
  issuer: string
  entitlement_id: string
  /** Undefined where nobody has consented yet. */
  delegation_id: string | undefined
  session_id: string
  cookie: string
  family_id: string
  refresh_token: string
  /** One that the family had before. */
  spent_token: string
  code: string
}

export type Kind = {
  /** Each in a tenant of its own. */
  ownTenant?: boolean
  consent?: 'user' | 'admin'
  /** No delegation: `null`. */
  delegation?: 'always' | 'once' | null
}

const RESOURCE = 'https://api.paperclip.example/'
const YEAR = 365 * 24 * 3_600_000

/** So many stories that have nothing to do with one another, but for the tenant perhaps. */
export async function makeContestants(
  db: Kysely<Tables>,
  count: number,
  kind: Kind = {},
): Promise<Contestant[]> {
  const made = Array.from({ length: count }, () => newContestant(kind))
  const parts = made.map((one) => rowsOf(one, kind, new Date()))
  await db.transaction().execute(async (tx) => {
    for (const table of TABLES) {
      const rows = parts.flatMap((part): object[] => part[table])
      // Rows of one table at a time: `Rows` says that they fit.
      if (rows.length > 0)
        await tx
          .insertInto(table)
          .values(rows as never)
          .execute()
    }
  })
  return made
}

const newContestant = ({ ownTenant = false, delegation }: Kind): Contestant => ({
  tenant_id: ownTenant ? newId('ten') : DEFAULT_TENANT,
  user_id: newId('usr'),
  owner_id: newId('usr'),
  agent_id: newId('agt'),
  credential_id: newId('crd'),
  audience_id: newId('aud'),
  issuer: `https://${randomUUID()}.paperclip.example`,
  entitlement_id: newId('ent'),
  delegation_id: delegation === null ? undefined : newId('dlg'),
  session_id: newId('ses'),
  cookie: newSecret(),
  family_id: newId('rtf'),
  refresh_token: newSecret(),
  spent_token: newSecret(),
  code: newSecret(),
})

/** In the order in which they refer to one another. */
const TABLES = [
  'tenants',
  'users',
  'agents',
  'credentials',
  'audiences',
  'entitlements',
  'delegations',
  'sessions',
  'refresh_token_families',
  'refresh_tokens',
  'authorization_codes',
] as const
type Rows = { [Name in (typeof TABLES)[number]]: Insertable<Tables[Name]>[] }

function rowsOf(of: Contestant, kind: Kind, now: Date): Rows {
  const { consent = 'user', delegation: mode = 'always' } = kind
  const { tenant_id, user_id, owner_id, agent_id, audience_id, session_id, family_id } = of
  const born = { tenant_id, created_at: now }
  const changed = { ...born, updated_at: now }
  const expires_at = new Date(now.getTime() + YEAR)
  const scopes = ['docs.read', 'docs.write']
  const scope = ['openid', 'offline_access']
  return {
    tenants: kind.ownTenant ? [{ id: tenant_id, name: 'Contest' }] : [],
    users: [user_id, owner_id].map((id) => ({
      id,
      email: `${id.toLowerCase()}@orbit.example`,
      email_verified_at: now,
      email_verified_by: 'environment',
      ...changed,
    })),
    agents: [
      {
        id: agent_id,
        owner_id,
        name: 'Racer',
        purpose: 'races',
        expires_at,
        token_endpoint_auth_method: 'private_key_jwt',
        redirect_uris: [REDIRECT],
        grant_types: Object.values(GRANT),
        id_token_signed_response_alg: 'ES256',
        status: 'active',
        ...changed,
      },
    ],
    credentials: [
      {
        id: of.credential_id,
        agent_id,
        kind: 'jwk',
        slot: 1,
        kid: KID,
        jwk: JSON.stringify(JWK),
        ...born,
      },
    ],
    audiences: [
      {
        id: audience_id,
        issuer: of.issuer,
        name: 'Paperclip',
        profile: 'idjag',
        resources: JSON.stringify([
          { identifier: RESOURCE, scopes: scopes.map((name) => ({ name })) },
        ]),
        default_scopes: [],
        default_resources: [],
        claims: [],
        subject_type: 'public',
        id_jag_signing_alg: 'ES256',
        ...changed,
      },
    ],
    entitlements: [
      {
        id: of.entitlement_id,
        agent_id,
        audience_id,
        client_id: 'racer',
        scopes,
        consent,
        ...changed,
      },
    ],
    delegations:
      of.delegation_id === undefined || mode === null
        ? []
        : [
            {
              id: of.delegation_id,
              user_id,
              agent_id,
              audience_id,
              scopes,
              claims: [],
              mode,
              source: consent === 'admin' ? 'policy' : 'user',
              sub_asserted: user_id,
              ...born,
            },
          ],
    sessions: [
      {
        id: session_id,
        user_id,
        token_hash: hashSecret(of.cookie),
        auth_time: now,
        amr: ['pwd'],
        expires_at,
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
