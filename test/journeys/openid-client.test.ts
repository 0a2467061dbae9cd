/**
 * The whole story as strangers live it: `openid-client` is the agent, `jose` the relying app, and between them
 * and the server lie sockets. What they check is decided by their authors.
 */

import assert from 'node:assert/strict'
import type { webcrypto } from 'node:crypto'
import { after, describe, test } from 'node:test'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import {
  authorizeUrl,
  browser,
  type Client,
  PASSWORD,
  redirected,
  signIn,
  type Visit,
} from '../support/browser.ts'
import { openHttpHouse } from '../support/http-house.ts'
import { newAgent, RESOURCE, type Story, type StoryAgent, tellStory } from '../support/story.ts'

const house = await openHttpHouse({ after })
const ISSUER = new URL(house.config.issuer)

type Method = 'private_key_jwt' | 'client_secret_basic' | 'client_secret_post'

const AUTHENTICATION: Record<Method, (agent: StoryAgent) => client.ClientAuth> = {
  private_key_jwt: ({ privateKey, jwk }) =>
    client.PrivateKeyJwt({ key: privateKey as webcrypto.CryptoKey, kid: String(jwk?.kid) }),
  client_secret_basic: ({ client_secret }) => client.ClientSecretBasic(client_secret),
  client_secret_post: ({ client_secret }) => client.ClientSecretPost(client_secret),
}

for (const [method, id_token_signed_response_alg] of [
  ['private_key_jwt', 'ES256'],
  ['client_secret_basic', 'RS256'],
  ['client_secret_post', 'RS256'],
] as const) {
  test(`an agent with ${method} goes from discovery to revocation`, async () => {
    const story = await tellStory(house, {
      agent: { token_endpoint_auth_method: method, id_token_signed_response_alg },
    })
    const config = await discover(story.agent, method, { id_token_signed_response_alg })
    assert.ok(config.serverMetadata().supportsPKCE())
    assert.ok(config.serverMetadata().token_endpoint_auth_methods_supported?.includes(method))

    const tokens = await signInWith(config, story)
    assert.equal(tokens.claims()?.sub, story.user.id)
    const info = await client.fetchUserInfo(config, tokens.access_token, story.user.id)
    assert.equal(info.name, 'Kim')

    const refreshed = await client.refreshTokenGrant(config, String(tokens.refresh_token))
    assert.equal(refreshed.claims()?.auth_time, tokens.claims()?.auth_time)
    assert.notEqual(refreshed.refresh_token, tokens.refresh_token)

    const exchange = () => exchangeWith(config, story, String(refreshed.id_token))
    const question = await consentNeeded(exchange())
    assert.equal(await consentNeeded(exchange()), question, 'asking early repeats the question')
    await allow(story, question)

    const { access_token: idJag, ...rest } = await exchange()
    assert.equal(rest.issued_token_type, TOKEN_TYPE.idJag)
    assert.equal(rest.token_type, 'n_a', 'N_A, which the client writes small')
    assert.equal(rest.scope, 'docs.read')
    assert.equal(rest.refresh_token, undefined)
    assert.equal(rest.expires_in, 300)
    await verifyAsRelyingApp(story, idJag)

    const byRefreshToken = await exchangeWith(
      config,
      story,
      String(refreshed.refresh_token),
      TOKEN_TYPE.refreshToken,
    )
    await verifyAsRelyingApp(story, byRefreshToken.access_token)

    await stop(story)
    const next = await consentNeeded(exchange())
    assert.notEqual(next, question, 'what was answered once is asked anew')

    await client.tokenRevocation(config, String(refreshed.refresh_token))
    await assert.rejects(client.refreshTokenGrant(config, String(refreshed.refresh_token)), {
      error: 'invalid_grant',
    })
  })
}

test('signing out ends what the agent holds, and the client is told so', async () => {
  const story = await tellStory(house)
  await story.delegate()
  const config = await discover(story.agent, 'private_key_jwt')
  const tokens = await signInWith(config, story)
  await exchangeWith(config, story, String(tokens.id_token))

  const page = await story.browser.get('/account')
  const signOut = page.text.slice(page.text.indexOf('action="/sign-out"'))
  const csrf = /name="csrf" value="([^"]*)"/.exec(signOut)?.[1]
  const left = await story.browser.post('/sign-out', { csrf })
  assert.match(left.text, /You are signed out/)

  const refused = await refusal(exchangeWith(config, story, String(tokens.id_token)))
  assert.equal(refused.error, 'invalid_grant')
  assert.ok(refused.error_description)
})

test('a client with the wrong secret reads the challenge of the 401', async () => {
  const story = await tellStory(house, {
    agent: { token_endpoint_auth_method: 'client_secret_basic' },
  })
  const config = await discover({ ...story.agent, client_secret: 'guess' }, 'client_secret_basic')
  const refused = await client
    .refreshTokenGrant(config, 'whatever')
    .catch((error: client.WWWAuthenticateChallengeError) => error)
  assert.ok(refused instanceof client.WWWAuthenticateChallengeError, String(refused))
  assert.equal(refused.status, 401)
  assert.equal(refused.cause[0]?.scheme, 'basic')
})

describe('every authorization response names its issuer (OP-03, TV-104)', async () => {
  const agent = await newAgent(house, (await tellStory(house)).owner)
  const asClient: oauth.Client = { client_id: agent.client_id }
  const server = await oauth.processDiscoveryResponse(
    ISSUER,
    await oauth.discoveryRequest(ISSUER, { [oauth.allowInsecureRequests]: true }),
  )
  const validated = (callback: URL) =>
    oauth.validateAuthResponse(server, asClient, callback, 'the state')

  test('the metadata promises it', () => {
    assert.equal(server.authorization_response_iss_parameter_supported, true)
  })

  test('a success', async () => {
    const story = await tellStory(house)
    await signIn(story.browser, story.user)
    const callback = callbackOf(await story.browser.get(authorizeUrl(agent)), agent)
    assert.match(validated(callback).get('code') ?? '', /./)
    refusedWithoutIssuer(callback)
  })

  for (const [error, changes] of [
    ['login_required', { prompt: 'none' }],
    ['invalid_request', { prompt: 'none login' }],
    ['invalid_request', { code_challenge: undefined }],
    ['invalid_request', { code_challenge_method: 'plain' }],
    ['invalid_request', { response_mode: 'fragment' }],
    ['invalid_request', { id_token_hint: 'not.a.token' }],
    ['invalid_request', { scope: ['openid', 'openid'] }],
    ['unsupported_response_type', { response_type: 'token' }],
    ['invalid_scope', { scope: 'docs.read' }],
    ['request_not_supported', { request: 'a.b.c' }],
    ['request_uri_not_supported', { request_uri: 'urn:example:1' }],
    [
      'unmet_authentication_requirements',
      { claims: '{"id_token":{"acr":{"essential":true,"values":["phr"]}}}' },
    ],
  ] as const) {
    test(`${error}, for ${JSON.stringify(changes)}`, async () => {
      const visit = await browser(house).get(
        authorizeUrl(agent, changes as Parameters<typeof authorizeUrl>[1]),
      )
      const callback = callbackOf(visit, agent)
      assert.throws(() => validated(callback), isResponseError(error))
      refusedWithoutIssuer(callback)
    })
  }

  test('access_denied, when the user declines', async () => {
    const story = await tellStory(house)
    await signIn(story.browser, story.user)
    const page = await story.browser.get(authorizeUrl(agent, { prompt: 'consent' }))
    const visit = await story.browser.submit(page, { decision: 'deny' })
    assert.throws(() => validated(callbackOf(visit, agent)), isResponseError('access_denied'))
  })

  test('unauthorized_client, when the agent is suspended', async () => {
    const { agent } = await tellStory(house)
    const { client_id } = agent
    const suspended = await house.admin('POST', `/agents/${client_id}/suspend`, {})
    assert.equal(suspended.status, 200, suspended.text)
    const callback = callbackOf(await browser(house).get(authorizeUrl(agent)), agent)
    assert.throws(
      () => oauth.validateAuthResponse(server, { client_id }, callback, 'the state'),
      isResponseError('unauthorized_client'),
    )
  })

  function refusedWithoutIssuer(callback: URL) {
    for (const iss of [undefined, 'https://other.example']) {
      const altered = new URL(callback)
      altered.searchParams.delete('iss')
      if (iss !== undefined) altered.searchParams.set('iss', iss)
      assert.throws(() => validated(altered), { code: 'OAUTH_INVALID_RESPONSE' })
    }
  }
})

function discover(
  agent: StoryAgent,
  method: Method,
  metadata: Partial<client.ClientMetadata> = {},
) {
  return client.discovery(
    ISSUER,
    agent.client_id,
    { token_endpoint_auth_method: method, ...metadata },
    AUTHENTICATION[method](agent),
    { execute: [client.allowInsecureRequests] },
  )
}

/** The user's part happens on the pages; the client checks state, issuer, nonce, signature and age. */
async function signInWith(config: client.Configuration, { browser: visitor, user, agent }: Story) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()]
  const { pathname, search } = client.buildAuthorizationUrl(config, {
    redirect_uri: agent.redirect_uri,
    scope: 'openid profile offline_access',
    state: expectedState,
    nonce: expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  })
  const page = await visitor.get(pathname + search)
  const visit = await visitor.submit(page, { email: user.email, password: PASSWORD })
  return client.authorizationCodeGrant(config, callbackOf(visit, agent), {
    pkceCodeVerifier,
    expectedState,
    expectedNonce,
    idTokenExpected: true,
    maxAge: 60,
  })
}

const exchangeWith = (
  config: client.Configuration,
  { audience }: Story,
  subject_token: string,
  subject_token_type: string = TOKEN_TYPE.idToken,
) =>
  client.genericGrantRequest(config, GRANT.tokenExchange, {
    requested_token_type: TOKEN_TYPE.idJag,
    subject_token,
    subject_token_type,
    audience: audience.issuer,
    resource: RESOURCE,
    scope: 'docs.read',
  })

async function refusal(asked: Promise<unknown>): Promise<client.ResponseBodyError> {
  const error = await asked.then(
    () => assert.fail('it was granted'),
    (error) => error,
  )
  assert.ok(error instanceof client.ResponseBodyError, String(error))
  return error
}

/** What a stock client shows of the refusal leads the user to the question. */
async function consentNeeded(asked: Promise<unknown>): Promise<string> {
  const { status, error, error_description, cause } = await refusal(asked)
  assert.equal(status, 400)
  assert.equal(error, 'interaction_required')
  assert.match(error_description ?? '', /^[\x20-\x21\x23-\x5b\x5d-\x7e]{10,}$/)
  assert.equal(typeof cause.expires_in, 'number')
  const uri = new URL(String(cause.interaction_uri))
  assert.equal(uri.origin, ISSUER.origin)
  assert.match(uri.pathname, /^\/consent\//)
  return uri.href
}

async function allow({ browser: visitor }: Story, uri: string): Promise<void> {
  const page = await visitor.get(new URL(uri).pathname)
  const answer = { decision: 'allow', mode: 'always', scope: 'docs.read' }
  const decided = await visitor.submit(page, answer)
  assert.equal(decided.status, 200, decided.text)
}

/** By the one button of the account page. */
async function stop({ browser: visitor }: Story): Promise<void> {
  const page = await visitor.get('/account')
  const path = /action="(\/account\/delegations\/[^"]*\/stop)"/.exec(page.text)?.[1]
  const csrf = /name="csrf" value="([^"]*)"/.exec(page.text)?.[1]
  assert.ok(path, page.text)
  const stopped = await visitor.post(path, { csrf })
  assert.match(stopped.text, /The agent was stopped/)
}

/** As docs/relying-apps.md has it: from the issuer's URL alone. */
async function verifyAsRelyingApp({ audience, user }: Story, idJag: string): Promise<void> {
  const discovered = await fetch(new URL('/.well-known/oauth-authorization-server', ISSUER))
  const { issuer, jwks_uri } = (await discovered.json()) as { issuer: string; jwks_uri: string }
  assert.equal(issuer, house.config.issuer)
  const keys = createRemoteJWKSet(new URL(jwks_uri))
  const expected = { typ: 'oauth-id-jag+jwt', issuer, algorithms: ['ES256', 'RS256'] }
  const required = { requiredClaims: ['jti', 'exp', 'iat', 'client_id', 'sub'] }
  const { payload } = await jwtVerify(idJag, keys, {
    ...expected,
    ...required,
    audience: audience.issuer,
  })
  assert.equal(payload.aud, audience.issuer, 'one audience, as a string')
  assert.equal(payload.sub, user.id)
  assert.equal(payload.client_id, 'client-at-paperclip')
  assert.equal(payload.scope, 'docs.read')
  assert.equal(payload.resource, RESOURCE)

  const elsewhere = { ...expected, audience: 'https://elsewhere.example' }
  await assert.rejects(jwtVerify(idJag, keys, elsewhere), errors.JWTClaimValidationFailed)
  const asIdToken = { ...expected, typ: 'JWT', audience: audience.issuer }
  await assert.rejects(jwtVerify(idJag, keys, asIdToken), errors.JWTClaimValidationFailed)
}

/** Where the user's browser arrives at the client. */
function callbackOf(visit: Visit, agent: Client): URL {
  redirected(visit, agent)
  return new URL(String(visit.headers.location))
}

/** Not just any error: the client took the response for ours and read the refusal in it. */
const isResponseError = (code: string) => (error: unknown) => {
  assert.ok(error instanceof oauth.AuthorizationResponseError, String(error))
  assert.equal(error.error, code)
  assert.ok(error.error_description)
  return true
}
