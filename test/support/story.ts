import assert from 'node:assert/strict'
import { randomUUID, type webcrypto } from 'node:crypto'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { CLIENT_ASSERTION_TYPE, GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { authorize, type Browser, browser, PASSWORD, signIn } from './browser.ts'
import type { Answer, Doors, Form } from './house.ts'

/** Whom and what a story is about, made through the doors as an administrator would. */
export type Story = {
  house: Doors
  user: { id: string; email: string }
  owner: { id: string }
  agent: StoryAgent
  audience: { id: string; issuer: string }
  entitlement: { id: string }
  browser: Browser
  /** Signs the user in (once) and gives the agent fresh tokens. */
  signIn(agent?: StoryAgent, scope?: string): Promise<Tokens>
  delegate(members?: object): Promise<{ id: string }>
  exchange(overrides?: Form, as?: StoryAgent, headers?: Record<string, string>): Promise<Answer>
}
export type Tokens = { id_token: string; refresh_token: string; access_token: string }
export type StoryAgent = {
  id: string
  client_id: string
  client_secret: string | undefined
  redirect_uri: string
  privateKey: webcrypto.CryptoKey | undefined
  jwk: JWK | undefined
  credential_id: string
}
type Options = {
  /** Of all of it, where it is another than the one that is always there. */
  tenant_id?: string | undefined
  agent?: object
  audience?: object
  entitlement?: object | null
  user?: object
}

export const AUDIENCE = 'https://auth.paperclip.example'
export const RESOURCE = 'https://api.paperclip.example/'
const REDIRECT = 'https://agent.example/callback'

const made = (answer: Answer) => {
  assert.ok(answer.status === 201 || answer.status === 200, `${answer.status} ${answer.text}`)
  return answer.body
}

export async function newUser(house: Doors, members: object = {}) {
  const email = `${randomUUID()}@orbit.example`
  const body = { email, email_verified: true, name: 'Kim', password: PASSWORD, ...members }
  const user = made(await house.admin('POST', '/users', body))
  return { id: user.id as string, email }
}

export async function newAgent(
  house: Doors,
  owner: { id: string },
  members: object = {},
): Promise<StoryAgent> {
  const method =
    (members as { token_endpoint_auth_method?: string }).token_endpoint_auth_method ??
    'private_key_jwt'
  const keys =
    method === 'private_key_jwt' ? await generateKeyPair('ES256', { extractable: true }) : undefined
  const jwk = keys && { ...(await exportJWK(keys.publicKey)), kid: randomUUID(), alg: 'ES256' }
  const agent = made(
    await house.admin('POST', '/agents', {
      name: 'Orbit Writer',
      purpose: 'writes',
      owner_id: owner.id,
      expires_at: new Date(house.clock.now.getTime() + 90 * 24 * 3_600_000).toISOString(),
      token_endpoint_auth_method: method,
      redirect_uris: [REDIRECT],
      ...(jwk && { jwks: { keys: [jwk] } }),
      ...members,
    }),
  )
  const { data } = (await house.admin('GET', `/agents/${agent.id}/credentials`)).body
  return {
    id: agent.id,
    client_id: agent.client_id,
    client_secret: agent.client_secret,
    redirect_uri: REDIRECT,
    privateKey: keys?.privateKey,
    jwk,
    credential_id: data[0]?.id,
  }
}

export async function newAudience(house: Doors, members: object = {}) {
  const body = {
    issuer: AUDIENCE,
    name: 'Paperclip',
    profile: 'idjag',
    resources: [
      {
        identifier: RESOURCE,
        scopes: [{ name: 'docs.read', description: 'Read documents' }, { name: 'docs.write' }],
      },
    ],
    ...members,
  }
  const audience = made(await house.admin('POST', '/audiences', body))
  return { id: audience.id as string, issuer: body.issuer }
}

export async function entitle(
  house: Doors,
  agent: { id: string },
  audience: { id: string },
  members: object = {},
) {
  const body = {
    client_id: 'client-at-paperclip',
    scopes: ['docs.read', 'docs.write'],
    consent: 'user',
    ...members,
  }
  const path = `/agents/${agent.id}/entitlements/${audience.id}`
  return made(await house.admin('PUT', path, body)) as { id: string }
}

/** A user, an agent with its owner, an audience and the entitlement between them; no delegation yet. */
export async function tellStory(house: Doors, options: Options = {}): Promise<Story> {
  const { tenant_id } = options
  const of = tenant_id === undefined ? {} : { tenant_id }
  const user = await newUser(house, { ...of, ...options.user })
  const owner = await newUser(house, { ...of, password: undefined })
  const agent = await newAgent(house, owner, { ...of, ...options.agent })
  const audience = await newAudience(house, {
    ...of,
    issuer: `https://${randomUUID()}.paperclip.example`,
    ...options.audience,
  })
  const entitlement =
    options.entitlement === null
      ? { id: '' }
      : await entitle(house, agent, audience, options.entitlement)
  const visitor = browser(house)
  let tokens: Tokens | undefined
  const story: Story = {
    house,
    user,
    owner,
    agent,
    audience,
    entitlement,
    browser: visitor,
    async signIn(as = agent, scope = 'openid offline_access') {
      if (!visitor.cookies.has('session')) await signIn(visitor, user)
      const code = await authorize(visitor, as, { scope })
      const answer = await house.form('/oauth2/token', {
        grant_type: GRANT.authorizationCode,
        ...code,
        ...(await clientAuthentication(house, as)),
      })
      if (as === agent) tokens = answer.body
      return made(answer) as Tokens
    },
    async delegate(members = {}) {
      const body = {
        user_id: user.id,
        agent_id: agent.id,
        audience_id: audience.id,
        scopes: ['docs.read'],
        mode: 'always',
        ...members,
      }
      return made(await house.admin('POST', '/delegations', body)) as { id: string }
    },
    async exchange(overrides = {}, as = agent, headers = {}) {
      const { id_token } = tokens ?? (await story.signIn())
      const fields = {
        grant_type: GRANT.tokenExchange,
        requested_token_type: TOKEN_TYPE.idJag,
        audience: audience.issuer,
        scope: 'docs.read',
        subject_token: id_token,
        subject_token_type: TOKEN_TYPE.idToken,
        ...(await clientAuthentication(house, as)),
        ...overrides,
      }
      return house.form('/oauth2/token', fields, headers)
    },
  }
  return story
}

/** The parameters by which an agent proves itself, by its own method. */
export async function clientAuthentication(house: Doors, agent: StoryAgent): Promise<Form> {
  if (agent.privateKey) {
    return {
      client_assertion_type: CLIENT_ASSERTION_TYPE,
      client_assertion: await clientAssertion(house, agent),
    }
  }
  if (agent.client_secret) {
    return { client_id: agent.client_id, client_secret: agent.client_secret }
  }
  return { client_id: agent.client_id }
}

/** A client assertion with nothing wrong with it, but for what is asked otherwise. */
export async function clientAssertion(
  house: Doors,
  agent: StoryAgent,
  { header = {}, ...claims }: Record<string, unknown> & { header?: object } = {},
): Promise<string> {
  const now = Math.floor(house.clock.now.getTime() / 1000)
  const payload = {
    iss: agent.client_id,
    sub: agent.client_id,
    aud: house.config.issuer,
    jti: randomUUID(),
    iat: now,
    exp: now + 120,
    ...claims,
  }
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'ES256', kid: agent.jwk?.kid as string, ...header })
    .sign(agent.privateKey as webcrypto.CryptoKey)
}
