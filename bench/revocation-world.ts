/**
 * Delegations to revoke, of which each has minted once: the audience, the agents and their entitlements through
 * the admin API, users and what they allowed as rows, because thousands of sign-ins are not what is measured.
 */
import { randomBytes } from 'node:crypto'
import type pg from 'pg'
import { newJwk, publicJwk } from './jwt.ts'

export type Ask = <Answer = undefined>(
  method: string,
  path: string,
  body?: unknown,
) => Promise<Answer>

export interface World {
  /** So many delegations of a new agent, each of another user, at the one audience. */
  delegate(count: number): Promise<{ agentId: string; delegationIds: string[] }>
}

export async function openWorld(
  db: pg.Client,
  admin: Ask,
  { issuer, events_endpoint }: { issuer: string; events_endpoint: string },
): Promise<World> {
  const born = { email: `owner-${newName()}@bench.example`, email_verified: true, name: 'Owner' }
  const owner = await admin<{ id: string }>('POST', '/users', born)
  const resource = 'https://api.bench.example/'
  const audience = await admin<{ id: string }>('POST', '/audiences', {
    issuer,
    name: 'Relying app',
    profile: 'idjag',
    resources: [{ identifier: resource, scopes: [{ name: 'read' }] }],
    events_endpoint,
    events_dialect: 'set',
  })
  return {
    async delegate(count) {
      const agent = await admin<{ id: string }>('POST', '/agents', {
        name: 'Agent',
        purpose: 'To be measured',
        owner_id: owner.id,
        expires_at: new Date(Date.now() + 86_400_000).toISOString(),
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: [publicJwk(newJwk('agent-key'))] },
        redirect_uris: ['https://agent.bench.example/callback'],
      })
      await admin('PUT', `/agents/${agent.id}/entitlements/${audience.id}`, {
        scopes: ['read'],
        client_id: 'client',
        consent: 'user',
      })
      const rows = Array.from({ length: count }, () => ({
        user_id: `usr_${newName()}`,
        delegation_id: `dlg_${newName()}`,
        jti: newName(),
      }))
      const { rows: made } = await db.query<{ id: string }>(DELEGATE, [
        JSON.stringify(rows),
        owner.id,
        agent.id,
        audience.id,
      ])
      return { agentId: agent.id, delegationIds: made.map(({ id }) => id) }
    },
  }
}

const newName = () => randomBytes(16).toString('base64url')

const DELEGATE = `
with made as (select * from jsonb_to_recordset($1) as made(user_id text, delegation_id text, jti text)),
people as (
  insert into users (id, email, email_verified_at, email_verified_by, created_at, updated_at)
  select user_id, lower(user_id) || '@bench.example', now(), 'environment', now(), now() from made),
allowed as (
  insert into delegations (id, user_id, agent_id, audience_id, scopes, claims, mode, source, sub_asserted, created_at)
  select delegation_id, user_id, $3, $4, '{read}', '{}', 'always', 'user', user_id, now() from made
  returning id),
minted as (
  insert into issuances (jti, at, agent_id, owner_id, user_id, audience_id, delegation_id, session_id,
    resources, scopes, kid, auth_time, expires_at)
  select jti, now(), $3, $2, user_id, $4, delegation_id, 'ses_' || jti, '{}', '{read}',
    (select kid from signing_keys where purpose = 'id_jag' and alg = 'ES256' and status = 'active'),
    now(), now() + interval '5 minutes'
  from made)
select id from allowed`
