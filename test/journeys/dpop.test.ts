/**
 * Key-bound tokens as strangers ask for them: `oauth4webapi` and `openid-client` make the proofs, over sockets,
 * of a server that wants nonces. What they check is decided by their authors.
 */

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import { GRANT, JWT_BEARER_GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import {
  createReplayStore,
  refusalBody,
  trustIssuer,
  verifyIdJag,
} from '../../src/relying-app/verify-id-jag.ts'
import { authorizeUrl, newVerifier, PASSWORD } from '../support/browser.ts'
import { loopback, openDpopClient, type Seen } from '../support/dpop-client.ts'
import { claimsOf } from '../support/enrol.ts'
import { openHttpHouse } from '../support/http-house.ts'
import { RESOURCE, type Story, tellStory } from '../support/story.ts'

const house = await openHttpHouse({ after }, { DPOP_NONCES: 'on' })
const ISSUER = new URL(house.config.issuer)
const server = await oauth.processDiscoveryResponse(
  ISSUER,
  await oauth.discoveryRequest(ISSUER, loopback),
)

const statuses = ({ asked }: { asked: Seen[] }) => asked.map(({ status }) => status)

test('the metadata says which proofs are taken (DS-12)', () => {
  assert.deepEqual(server.dpop_signing_alg_values_supported, ['ES256', 'RS256', 'EdDSA'])
})

for (const alg of ['ES256', 'RS256', 'Ed25519']) {
  test(`oauth4webapi binds all it gets to its ${alg} key, through nonce challenges and at the app (TV-76, TV-78, DP-13)`, async () => {
    const story = await tellStory(house, { agent: { dpop_bound_access_tokens: true } })
    await story.delegate()
    const agent = await openDpopClient(server, story, alg)
    const { jkt } = agent
    const boundTo = (jws: string) => claimsOf(jws).cnf?.jkt

    const verifier = newVerifier()
    const callback = await callbackOf(story, { verifier, dpop_jkt: jkt })
    const redeemed = await agent.redeem(callback, verifier)
    assert.deepEqual(statuses(redeemed), [400, 200], 'a challenge, and then the tokens')
    const tokens = redeemed.answer
    assert.equal(tokens.token_type, 'dpop')
    assert.equal(boundTo(tokens.access_token), jkt)

    const info = await agent.userinfo(tokens.access_token)
    assert.deepEqual(statuses(info), [200], 'with the nonce of the token endpoint')
    await takenByTheLibrary(info.asked[0] as Seen)
    const challenged = await agent.userinfo(tokens.access_token, agent.anew())
    assert.deepEqual(statuses(challenged), [401, 200])
    await refusedAsBearer(agent.client, tokens.access_token, story.user.id)

    const { answer: refreshed } = await agent.refresh(String(tokens.refresh_token))
    assert.equal(refreshed.token_type, 'dpop')
    assert.equal(boundTo(refreshed.access_token), jkt)

    const refreshToken = String(refreshed.refresh_token)
    for (const [token, type] of [
      [String(refreshed.id_token), TOKEN_TYPE.idToken],
      [refreshToken, TOKEN_TYPE.refreshToken],
    ] as const) {
      const exchanged = await agent.exchange(token, type, agent.anew())
      assert.deepEqual(statuses(exchanged), [400, 200])
      const { answer } = exchanged
      assert.equal(answer.token_type, 'n_a', 'N_A, which the library writes small')
      assert.equal(answer.issued_token_type, TOKEN_TYPE.idJag)
      assert.equal(boundTo(answer.access_token), jkt)
      await redeemAtRelyingApp(story, agent, answer.access_token)
    }

    const thief = oauth.DPoP(agent.client, await oauth.generateKeyPair(alg))
    await assert.rejects(agent.exchange(refreshToken, TOKEN_TYPE.refreshToken, thief), {
      error: 'invalid_grant',
    })
  })
}

test('openid-client does the same, and retries by itself', async () => {
  const story = await tellStory(house)
  await story.delegate()
  const { agent, user, audience } = story
  const key = agent.privateKey as oauth.CryptoKey
  const config = await openid.discovery(
    ISSUER,
    agent.client_id,
    {},
    openid.PrivateKeyJwt({ key, kid: String(agent.jwk?.kid) }),
    { execute: [openid.allowInsecureRequests] },
  )
  const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair())
  const pkceCodeVerifier = newVerifier()
  const callback = await callbackOf(story, { verifier: pkceCodeVerifier })
  const checks = { pkceCodeVerifier, expectedState: 'the state', expectedNonce: 'the nonce' }
  const by = { DPoP }
  const tokens = await openid.authorizationCodeGrant(config, callback, checks, undefined, by)
  assert.equal(tokens.token_type, 'dpop')
  const info = await openid.fetchUserInfo(config, tokens.access_token, user.id, by)
  assert.equal(info.sub, user.id)
  const token = String(tokens.refresh_token)
  const refreshed = await openid.refreshTokenGrant(config, token, undefined, by)
  const fields = {
    requested_token_type: TOKEN_TYPE.idJag,
    subject_token: String(refreshed.id_token),
    subject_token_type: TOKEN_TYPE.idToken,
    audience: audience.issuer,
  }
  const idJag = await openid.genericGrantRequest(config, GRANT.tokenExchange, fields, by)
  assert.equal(claimsOf(idJag.access_token).cnf.jkt, await DPoP.calculateThumbprint())
})

/** Signs the user in for an authorization request: where the browser arrives at the client. */
async function callbackOf(
  { browser, user, agent }: Story,
  fields: Parameters<typeof authorizeUrl>[1],
): Promise<URL> {
  const scope = 'openid offline_access'
  const page = await browser.get(authorizeUrl(agent, { scope, ...fields }))
  const visit = await browser.submit(page, { email: user.email, password: PASSWORD })
  return new URL(String(visit.headers.location))
}

/** The library as a resource server: it believes our token with that proof (RFC 9068, RFC 9449 §7). */
async function takenByTheLibrary({ url, headers }: Seen): Promise<void> {
  const request = new Request(url, { headers })
  const options = { ...loopback, requireDPoP: true }
  const claims = await oauth.validateJwtAccessToken(server, request, ISSUER.origin, options)
  assert.match(claims.jti, /./)
}

async function refusedAsBearer(client: oauth.Client, token: string, sub: string): Promise<void> {
  const answer = await oauth.userInfoRequest(server, client, token, loopback)
  await assert.rejects(oauth.processUserInfoResponse(server, client, sub, answer), (error) => {
    assert.ok(error instanceof oauth.WWWAuthenticateChallengeError, String(error))
    const [challenge] = error.cause
    assert.equal(challenge?.scheme, 'dpop')
    assert.equal(challenge?.parameters.error, 'invalid_token')
    return true
  })
}

/** Takes a new proof, by the same key, for the endpoint of the relying app (DP-13). */
async function redeemAtRelyingApp(
  { audience }: Story,
  { client, handle }: { client: oauth.Client; handle: oauth.DPoPHandle },
  idJag: string,
): Promise<void> {
  const app = { issuer: audience.issuer, token_endpoint: `${audience.issuer}/token` }
  const replay = createReplayStore()
  async function answer(headers: Headers): Promise<Response> {
    const proof = await jwtVerify(String(headers.get('dpop')), EmbeddedJWK, { typ: 'dpop+jwt' })
    assert.equal(proof.payload.htu, app.token_endpoint)
    assert.equal(proof.payload.nonce, undefined, 'our nonces are for us')
    const verdict = await verifyIdJag(idJag, {
      profile: 'idjag',
      self: app.issuer,
      issuers: [trustIssuer(ISSUER.origin)],
      replay,
      now: () => new Date(),
      client: { id: 'client-at-paperclip' },
      asked: { scope: undefined, resource: [] },
      resources: [RESOURCE],
      proof: { jkt: await calculateJwkThumbprint(proof.protectedHeader.jwk as object) },
      requiresBinding: true,
    })
    return Response.json(verdict.ok ? { scopes: verdict.scopes } : refusalBody(verdict))
  }
  const redeem = async (DPoP: oauth.DPoPHandle) => {
    const fields = { assertion: idJag }
    const none = oauth.None()
    const answered = await oauth.genericTokenEndpointRequest(
      app,
      client,
      none,
      JWT_BEARER_GRANT,
      fields,
      { DPoP, [oauth.customFetch]: (_url, { headers }) => answer(new Headers(headers)) },
    )
    return answered.json() as Promise<{ scopes?: string[]; error?: string }>
  }
  const stolen = await redeem(oauth.DPoP(client, await oauth.generateKeyPair('ES256')))
  assert.equal(stolen.error, 'invalid_grant')
  assert.deepEqual(await redeem(handle), { scopes: ['docs.read'] })
}
