/**
 * Fills an agent-idp through its own doors, as its people would: an administrator enrols users, agents,
 * audiences, entitlements and delegations; then every user signs in, and their agent gets its ID token by
 * code and PKCE. What comes out is the fixture of a load run. Names are new each time, so it can be repeated.
 */
import { createHash, randomBytes } from 'node:crypto'
import { browse } from './browser.ts'
import { type Case, type Fixture, ID_TOKEN, JWT_BEARER } from './fixture.ts'
import {
  assertionHeader,
  clientAssertion,
  type Jwk,
  newJwk,
  privateKeyOf,
  publicJwk,
  readJwt,
} from './jwt.ts'

interface Enrolled {
  email: string
  password: string
  clientId: string
  jwk: Jwk
  redirectUri: string
  audience: Audience
}

interface Audience {
  id: string
  issuer: string
  resource: string
}

interface Metadata {
  issuer: string
  authorization_endpoint: string
  token_endpoint: string
  jwks_uri: string
}

type Admin = <Answer>(method: string, path: string, body: unknown) => Promise<Answer>

const AUDIENCES = 20
const SCOPES = ['read', 'history']
/** Sign-in hashes a password on purpose slowly; more at once than this only queue. */
const AT_ONCE = 4

export async function enrol(issuer: string, adminKey: string, cases: number): Promise<Fixture> {
  const metadata = await readMetadata(issuer)
  const admin = administrator(issuer, adminKey)
  const run = randomBytes(4).toString('hex')
  const { id: ownerId } = await admin<{ id: string }>('POST', '/users', {
    email: `owner-${run}@bench.example`,
    email_verified: true,
    name: 'Owner',
  })
  const audiences: Audience[] = []
  for (let n = 0; n < Math.min(AUDIENCES, cases); n++) {
    audiences.push(await enrolAudience(admin, `${n}-${run}`))
  }

  const made: Case[] = new Array(cases)
  let turn = 0
  const work = async () => {
    for (let n = turn++; n < cases; n = turn++) {
      const audience = audiences[n % audiences.length] as Audience
      const enrolled = await enrolCase(admin, ownerId, audience, `${n}-${run}`)
      made[n] = await caseOf(metadata, enrolled)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return {
    name: 'agent-idp',
    issuer,
    token_endpoint: metadata.token_endpoint,
    jwks_uri: metadata.jwks_uri,
    assertion_audience: issuer,
    expected_rps: 4000,
    cases: made,
  }
}

async function enrolAudience(admin: Admin, name: string): Promise<Audience> {
  const issuer = `https://as-${name}.bench.example`
  const resource = `https://api-${name}.bench.example`
  const { id } = await admin<{ id: string }>('POST', '/audiences', {
    issuer,
    name: `Relying app ${name}`,
    profile: 'idjag',
    resources: [{ identifier: resource, scopes: [...SCOPES, 'write'].map((name) => ({ name })) }],
    claims: ['email'],
  })
  return { id, issuer, resource }
}

async function enrolCase(
  admin: Admin,
  ownerId: string,
  audience: Audience,
  name: string,
): Promise<Enrolled> {
  const email = `user-${name}@bench.example`
  const password = randomBytes(24).toString('base64url')
  const redirectUri = `https://agent-${name}.bench.example/callback`
  const jwk = newJwk(`agent-key-${name}`)
  const user = await admin<{ id: string }>('POST', '/users', {
    email,
    email_verified: true,
    name: `User ${name}`,
    password,
  })
  const agent = await admin<{ id: string; client_id: string }>('POST', '/agents', {
    name: `Agent ${name}`,
    purpose: 'To be measured',
    owner_id: ownerId,
    expires_at: new Date(Date.now() + 86_400_000).toISOString(),
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [publicJwk(jwk)] },
    redirect_uris: [redirectUri],
    id_token_signed_response_alg: 'ES256',
  })
  const rights = { scopes: SCOPES, resources: [audience.resource] }
  await admin('PUT', `/agents/${agent.id}/entitlements/${audience.id}`, {
    ...rights,
    client_id: `client-${name}`,
    consent: 'user',
  })
  await admin('POST', '/delegations', {
    ...rights,
    user_id: user.id,
    agent_id: agent.id,
    audience_id: audience.id,
    mode: 'always',
  })
  return { email, password, clientId: agent.client_id, jwk, redirectUri, audience }
}

async function caseOf(metadata: Metadata, enrolled: Enrolled): Promise<Case> {
  const { audience, clientId, jwk } = enrolled
  const idToken = await signIn(metadata, enrolled)
  const { alg } = readJwt(idToken).header
  if (alg !== 'ES256') throw new Error(`the ID token is signed with ${alg}, the peers' with ES256`)
  return {
    client_id: clientId,
    jwk,
    subject_token: idToken,
    subject_token_type: ID_TOKEN,
    audience: audience.issuer,
    resource: audience.resource,
    scope: SCOPES.join(' '),
  }
}

/** Authorization code with PKCE: the user in a browser, then the agent at the token endpoint. */
async function signIn(metadata: Metadata, enrolled: Enrolled): Promise<string> {
  const { clientId, email, jwk, password, redirectUri } = enrolled
  const verifier = randomBytes(32).toString('base64url')
  const ask = new URL(metadata.authorization_endpoint)
  ask.search = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    scope: 'openid',
    state: randomBytes(16).toString('base64url'),
    nonce: randomBytes(16).toString('base64url'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  }).toString()
  const back = await browse(ask, redirectUri, { email, password })
  const code = back.searchParams.get('code')
  if (!code) throw new Error(`no code: ${back.searchParams}`)

  const answer = await fetch(metadata.token_endpoint, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: redirectUri,
      code_verifier: verifier,
      client_assertion_type: JWT_BEARER,
      client_assertion: clientAssertion(
        assertionHeader(jwk),
        clientId,
        metadata.issuer,
        privateKeyOf(jwk),
      ),
    }),
  })
  const body = (await answer.json()) as { id_token?: string; error?: string }
  if (!body.id_token) throw new Error(`no ID token: ${answer.status} ${body.error}`)
  return body.id_token
}

function administrator(issuer: string, key: string): Admin {
  return async (method, path, body) => {
    const answer = await fetch(`${issuer}/admin/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text.slice(0, 500)}`)
    return JSON.parse(text)
  }
}

async function readMetadata(issuer: string): Promise<Metadata> {
  const answer = await fetch(`${issuer}/.well-known/openid-configuration`)
  if (!answer.ok) throw new Error(`no metadata: ${answer.status}`)
  return (await answer.json()) as Metadata
}
