/** The peers' users, agents and delegations, one of each per case, and the fixture of one peer. */
import fs from 'node:fs'
import type { Client } from 'pg'
import { type Case, type Fixture, ID_TOKEN } from '../fixture.ts'
import { encodePart, type Jwk, newJwk, privateKeyOf, publicJwk, signJwt } from '../jwt.ts'

export const AUDIENCES = 20

/** Everything a peer is started with; it goes to its process in a file of mode 0600. */
export interface World {
  issuerKey: Jwk
  agents: { id: string; jwk: Jwk }[]
}

export function newWorld(cases: number): World {
  const agents = Array.from({ length: cases }, (_, i) => ({
    id: `agent-${i}`,
    jwk: newJwk(`agent-key-${i}`),
  }))
  return { issuerKey: newJwk('issuer-key'), agents }
}

export async function seedPeers(db: Client, world: World): Promise<void> {
  await db.query(fs.readFileSync(new URL('./schema.sql', import.meta.url), 'utf8'))
  const agents = world.agents.map(({ id, jwk }) => ({ id, jwk: publicJwk(jwk) }))
  await db.query(
    'insert into agents (id, jwk) select * from jsonb_to_recordset($1) as a (id text, jwk jsonb)',
    [JSON.stringify(agents)],
  )
  const last = agents.length - 1
  await db.query(
    `insert into users (id, email, signed_in_at)
      select 'user-' || n, 'user-' || n || '@bench.example', extract(epoch from now())::bigint - 60
      from generate_series(0, $1::int) n`,
    [last],
  )
  await db.query(
    `insert into audiences (issuer, resources)
      select 'https://as-' || n || '.bench.example', array['https://api-' || n || '.bench.example']
      from generate_series(0, $1::int - 1) n`,
    [AUDIENCES],
  )
  await db.query(
    `insert into entitlements (agent_id, audience, client_id, scopes)
      select 'agent-' || n, 'https://as-' || n % $2::int || '.bench.example', 'client-' || n,
        array['read', 'history']
      from generate_series(0, $1::int) n`,
    [last, AUDIENCES],
  )
  await db.query(
    `insert into delegations (user_id, agent_id, audience, scopes, expires_at)
      select 'user-' || n, agent_id, audience, scopes, now() + interval '1 day'
      from generate_series(0, $1::int) n join entitlements on agent_id = 'agent-' || n`,
    [last],
  )
  await db.query('vacuum analyze')
}

export function peerFixture(name: string, issuer: string, world: World): Fixture {
  const key = privateKeyOf(world.issuerKey)
  const header = encodePart({ alg: 'ES256', typ: 'JWT', kid: world.issuerKey.kid })
  const now = Math.floor(Date.now() / 1000)
  const cases = world.agents.map(({ id, jwk }, i): Case => {
    const idToken = {
      iss: issuer,
      sub: `user-${i}`,
      aud: id,
      iat: now,
      exp: now + 7200,
      auth_time: now - 60,
      amr: ['pwd'],
      nonce: crypto.randomUUID(),
      sid: crypto.randomUUID(),
    }
    return {
      client_id: id,
      jwk,
      subject_token: signJwt(header, idToken, key),
      subject_token_type: ID_TOKEN,
      audience: `https://as-${i % AUDIENCES}.bench.example`,
      resource: `https://api-${i % AUDIENCES}.bench.example`,
      scope: 'read history',
    }
  })
  return {
    name,
    issuer,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    assertion_audience: issuer,
    expected_rps: 4000,
    cases,
  }
}
