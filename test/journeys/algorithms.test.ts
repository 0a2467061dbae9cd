/**
 * Every algorithm that is advertised works (DS-12), from the sign-in to the relying app. `openid-client`, told to
 * check signatures too, judges the ID tokens; `jose` and our own verifier for relying apps the ID-JAGs.
 */

import assert from 'node:assert/strict'
import { createHash, type webcrypto } from 'node:crypto'
import { after, test } from 'node:test'
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import * as client from 'openid-client'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { createReplayStore, trustIssuer, verifyIdJag } from '../../src/relying-app/verify-id-jag.ts'
import { PASSWORD } from '../support/browser.ts'
import { openHttpHouse } from '../support/http-house.ts'
import { RESOURCE, type Story, type StoryAgent, tellStory } from '../support/story.ts'

const house = await openHttpHouse({ after })
const ISSUER = house.config.issuer

/** With what `at_hash` is reckoned (OIDC Core §3.1.3.6). */
const ALGS = {
  RS256: 'sha256',
  ES256: 'sha256',
  EdDSA: 'sha512',
  PS256: 'sha256',
  ES384: 'sha384',
}
type Alg = keyof typeof ALGS

/** Kept by the relying app, whatever the audience: made once, as its documentation has it. */
const issuers = [trustIssuer(ISSUER)]

for (const alg of Object.keys(ALGS) as Alg[]) {
  test(`${alg}: an ID token that a stock client accepts, and an ID-JAG that relying apps do (DS-12, IJ-02, OP-20)`, async () => {
    const story = await tellStory(house, {
      agent: { id_token_signed_response_alg: alg },
      audience: { id_jag_signing_alg: alg },
    })
    await story.delegate()
    const config = await discover(story.agent, alg)
    const supported = config.serverMetadata().id_token_signing_alg_values_supported
    assert.deepEqual(supported, Object.keys(ALGS))

    const tokens = await signInWith(config, story)
    const refreshed = await client.refreshTokenGrant(config, String(tokens.refresh_token))
    for (const { id_token, access_token } of [tokens, refreshed]) {
      assert.equal(decodeProtectedHeader(String(id_token)).alg, alg)
      await verifyIdToken(story, alg, String(id_token), access_token)
      // Whatever the ID token has, for the access token is ours alone to read.
      assert.equal(decodeProtectedHeader(access_token).alg, 'ES256')
      const idJag = await exchangeWith(config, story, String(id_token))
      assert.equal(decodeProtectedHeader(idJag).alg, alg)
      await verifyAsRelyingApp(story, alg, idJag)
    }
    const info = await client.fetchUserInfo(config, refreshed.access_token, story.user.id)
    assert.equal(info.sub, story.user.id)
  })
}

test('an agent whose algorithm changes is answered by the new one; what it holds goes on', async () => {
  const story = await tellStory(house)
  await story.delegate()
  const { id_token } = await story.signIn()
  for (const alg of Object.keys(ALGS) as Alg[]) {
    for (const [path, members] of [
      [`/agents/${story.agent.id}`, { id_token_signed_response_alg: alg }],
      [`/audiences/${story.audience.id}`, { id_jag_signing_alg: alg }],
    ] as const) {
      assert.equal((await house.admin('PATCH', path, members)).status, 200)
    }
    const next = await story.signIn()
    assert.equal(decodeProtectedHeader(next.id_token).alg, alg)
    for (const subject_token of [id_token, next.id_token]) {
      const answer = await story.exchange({ subject_token, resource: RESOURCE })
      assert.equal(answer.status, 200, answer.text)
      await verifyAsRelyingApp(story, alg, answer.body.access_token)
    }
  }
})

function discover({ client_id, privateKey, jwk }: StoryAgent, alg: Alg) {
  const key = { key: privateKey as webcrypto.CryptoKey, kid: String(jwk?.kid) }
  return client.discovery(
    new URL(ISSUER),
    client_id,
    { id_token_signed_response_alg: alg },
    client.PrivateKeyJwt(key),
    { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] },
  )
}

async function signInWith(config: client.Configuration, { browser, user, agent }: Story) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()]
  const { pathname, search } = client.buildAuthorizationUrl(config, {
    redirect_uri: agent.redirect_uri,
    scope: 'openid offline_access',
    state: expectedState,
    nonce: expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  })
  const page = await browser.get(pathname + search)
  const visit = await browser.submit(page, { email: user.email, password: PASSWORD })
  const callback = new URL(String(visit.headers.location))
  return client.authorizationCodeGrant(config, callback, {
    pkceCodeVerifier,
    expectedState,
    expectedNonce,
    idTokenExpected: true,
  })
}

async function exchangeWith(
  config: client.Configuration,
  { audience }: Story,
  subject_token: string,
): Promise<string> {
  const { access_token } = await client.genericGrantRequest(config, GRANT.tokenExchange, {
    requested_token_type: TOKEN_TYPE.idJag,
    subject_token,
    subject_token_type: TOKEN_TYPE.idToken,
    audience: audience.issuer,
    resource: RESOURCE,
    scope: 'docs.read',
  })
  return access_token
}

const publishedKeys = createRemoteJWKSet(new URL('/.well-known/jwks.json', ISSUER))

async function verifyIdToken(
  { agent, user }: Story,
  alg: Alg,
  idToken: string,
  accessToken: string,
) {
  const { payload } = await jwtVerify(idToken, publishedKeys, {
    issuer: ISSUER,
    audience: agent.client_id,
    algorithms: [alg],
    typ: 'JWT',
  })
  assert.equal(payload.sub, user.id)
  const digest = createHash(ALGS[alg]).update(accessToken).digest()
  assert.equal(payload.at_hash, digest.subarray(0, digest.length / 2).toString('base64url'))
}

async function verifyAsRelyingApp({ audience, user }: Story, alg: Alg, idJag: string) {
  const { payload } = await jwtVerify(idJag, publishedKeys, {
    issuer: ISSUER,
    audience: audience.issuer,
    algorithms: [alg],
    typ: 'oauth-id-jag+jwt',
  })
  assert.equal(payload.sub, user.id)
  const verdict = await verifyIdJag(idJag, {
    profile: 'idjag',
    self: audience.issuer,
    issuers,
    replay: createReplayStore(),
    now: () => new Date(),
    client: { id: 'client-at-paperclip' },
    asked: {},
    resources: [RESOURCE],
    defaultResources: [],
  })
  assert.ok(verdict.ok, JSON.stringify(verdict))
  assert.equal(verdict.claims.sub, user.id)
  assert.deepEqual(verdict.scopes, ['docs.read'])
}
