/** What is asked beside the endings (endings.ts), for the rows that it takes. */

import { generateKeyPairSync } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Tables } from '../../src/db/tables.ts'
import { authorize, exchange, REDIRECT, redeem, refresh } from './contestant-requests.ts'
import type { ContestantSite } from './contestant-site.ts'
import type { Contestant, Kind } from './contestants.ts'
import type { Answer, Doors } from './house.ts'

export type Act = {
  name: string
  made?: Kind
  before?: (db: Kysely<Tables>, of: Contestant) => Promise<void>
  end: (at: Doors, of: Contestant) => Promise<Answer>
  /** The rows for which it is seen to wait. */
  waits: string
}

const ANOTHER_JWK = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })
const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString()

const MINT = 'tenant user owner agent audience entitlement delegation credential session family'
export const actsOn = ({ jwksUri, clients }: ContestantSite): Act[] => [
  { name: 'a refresh token is exchanged', end: (at, of) => exchange(at, of), waits: MINT },
  {
    name: 'a refresh token is exchanged by an actor',
    made: { actor: true },
    end: (at, of) => exchange(at, of),
    waits: MINT,
  },
  {
    name: 'a refresh token is rotated',
    end: (at, of) => refresh(at, of),
    waits: 'tenant user owner agent credential session family',
  },
  {
    name: 'a code is redeemed',
    end: (at, of) => redeem(at, of),
    waits: 'tenant user owner agent credential session code',
  },
  { name: 'a code is made', end: authorize, waits: 'tenant user agent session' },
  {
    name: 'a delegation is made by an administrator',
    end: (at, { user_id, agent_id, audience_id }) =>
      at.admin('POST', '/delegations', {
        ...{ user_id, agent_id, audience_id },
        scopes: ['docs.read'],
        mode: 'always',
      }),
    waits: 'tenant user owner agent audience entitlement delegation',
  },
  {
    name: 'a delegation is made by policy',
    made: { consent: 'admin', delegation: null },
    end: (at, of) => exchange(at, of),
    waits: 'tenant user owner agent audience entitlement credential session family',
  },
  {
    name: 'an entitlement is put',
    end: (at, { agent_id, audience_id }) =>
      at.admin('PUT', `/agents/${agent_id}/entitlements/${audience_id}`, {
        client_id: 'racer',
        scopes: ['docs.read'],
        consent: 'user',
      }),
    waits: 'tenant agent audience entitlement',
  },
  {
    name: 'an agent is enrolled',
    end: (at, { tenant_id, owner_id }) =>
      at.admin('POST', '/agents', {
        ...{ tenant_id, owner_id, name: 'Racer', purpose: 'races', expires_at: inAnHour() },
        token_endpoint_auth_method: 'client_secret_post',
        redirect_uris: [REDIRECT],
      }),
    waits: 'tenant owner',
  },
  {
    name: 'an agent is given an owner',
    end: (at, { agent_id, owner_id }) => at.admin('PATCH', `/agents/${agent_id}`, { owner_id }),
    waits: 'owner agent',
  },
  {
    name: 'an agent is resumed',
    before: async (db, { agent_id }) => {
      await db
        .updateTable('agents')
        .set({ status: 'suspended' })
        .where('id', '=', agent_id)
        .execute()
    },
    end: (at, { agent_id }) => at.admin('POST', `/agents/${agent_id}/resume`),
    waits: 'owner agent',
  },
  {
    name: 'an agent is given another key',
    end: (at, { agent_id }) =>
      at.admin('POST', `/agents/${agent_id}/credentials`, { jwk: ANOTHER_JWK }),
    waits: 'tenant agent',
  },
  {
    name: 'an audience is registered',
    end: (at, { tenant_id, owner_id }) =>
      at.admin('POST', '/audiences', {
        ...{ tenant_id, owner_id, name: 'Stapler', issuer: 'https://stapler.example' },
        profile: 'idjag',
        resources: [{ identifier: 'https://api.stapler.example/', scopes: [{ name: 'read' }] }],
      }),
    waits: 'tenant owner',
  },
  {
    name: 'an audience is given an owner',
    end: (at, { audience_id, owner_id }) =>
      at.admin('PATCH', `/audiences/${audience_id}`, { owner_id }),
    waits: 'owner audience',
  },
  {
    name: 'an account at an audience is put',
    end: (at, { user_id, audience_id }) =>
      at.admin('PUT', `/users/${user_id}/audience-accounts/${audience_id}`, { aud_sub: user_id }),
    waits: 'tenant user audience',
  },
  {
    name: 'an actor is permitted',
    made: { actor: true },
    end: (at, { actor, agent_id, user_id, audience_id }) =>
      at.admin('POST', '/actor-permissions', {
        ...{ agent_id, user_id, audience_id },
        actor_id: actor?.agent_id,
      }),
    waits: 'tenant user agent audience',
  },
  {
    name: 'an issuer is trusted',
    end: (at, { agent_id }) =>
      at.admin('POST', '/trusted-issuers', {
        issuer: 'https://login.example',
        jwks_uri: jwksUri,
        clients: [{ client_id: 'racer', agent_ids: [agent_id] }],
        provisioning: 'refuse',
      }),
    waits: 'tenant agent',
  },
  {
    name: 'a rule lets a client come that came by another',
    made: { clients },
    end: async (at, { document, owner_id }) => {
      await at.admin('DELETE', `/client-metadata-rules/${document?.rule_id}`)
      return at.admin('POST', '/client-metadata-rules', {
        url: document?.url,
        owner_id,
        purpose: 'races',
        agent_expires_at: inAnHour(),
      })
    },
    waits: 'tenant owner agent delegation',
  },
]
