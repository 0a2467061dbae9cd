import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import * as oauth from 'oauth4webapi'
import { authorizeUrl, browser, newVerifier, signIn } from '../support/browser.ts'
import { enrolAgent, enrolUser } from '../support/enrol.ts'
import { ISSUER, openHouse } from '../support/house.ts'

// A client library we did not write walks the code flow, with all the checks it makes by itself.

const house = await openHouse({ after })

const insecure = {
  [oauth.allowInsecureRequests]: true,
  async [oauth.customFetch](
    url: string,
    { method, headers, body }: oauth.CustomFetchOptions<string, unknown>,
  ) {
    const answer = await house.app.inject({
      method: method as 'GET',
      url: url.slice(ISSUER.length),
      headers: headers as Record<string, string>,
      ...(body !== undefined && body !== null && { payload: String(body) }),
    })
    return new Response(answer.body || null, {
      status: answer.statusCode,
      headers: answer.headers as Record<string, string>,
    })
  },
}

test('oauth4webapi discovers, signs a user in, refreshes, asks userinfo and revokes', async () => {
  const agent = await enrolAgent(house)
  const user = await enrolUser(house, { name: 'Kim Reyes' })
  const there = browser(house)
  await signIn(there, user)

  const issuer = new URL(ISSUER)
  const server = await oauth.processDiscoveryResponse(
    issuer,
    await oauth.discoveryRequest(issuer, insecure),
  )
  const client: oauth.Client = { client_id: agent.client_id, id_token_signed_response_alg: 'RS256' }
  const secret = oauth.ClientSecretPost(agent.client_secret ?? '')

  const verifier = newVerifier()
  const scope = 'openid profile offline_access'
  const visit = await there.get(authorizeUrl(agent, { verifier, scope }))
  const callback = new URL(String(visit.headers.location))
  const params = oauth.validateAuthResponse(server, client, callback, 'the state')
  const tokens = await oauth.processAuthorizationCodeResponse(
    server,
    client,
    await oauth.authorizationCodeGrantRequest(
      server,
      client,
      secret,
      params,
      agent.redirect_uri,
      verifier,
      insecure,
    ),
    { expectedNonce: 'the nonce', requireIdToken: true, maxAge: 60 },
  )
  assert.equal(oauth.getValidatedIdTokenClaims(tokens)?.sub, user.id)

  const info = await oauth.processUserInfoResponse(
    server,
    client,
    user.id,
    await oauth.userInfoRequest(server, client, tokens.access_token, insecure),
  )
  assert.equal(info.name, 'Kim Reyes')

  const refreshed = await oauth.processRefreshTokenResponse(
    server,
    client,
    await oauth.refreshTokenGrantRequest(
      server,
      client,
      secret,
      tokens.refresh_token ?? '',
      insecure,
    ),
  )
  const token = refreshed.refresh_token ?? ''
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(server, client, secret, token, insecure),
  )
  await assert.rejects(
    async () =>
      oauth.processRefreshTokenResponse(
        server,
        client,
        await oauth.refreshTokenGrantRequest(server, client, secret, token, insecure),
      ),
    { error: 'invalid_grant' },
  )
})

test('oauth4webapi reads an error response of ours as one', async () => {
  const agent = await enrolAgent(house)
  const visit = await browser(house).get(authorizeUrl(agent, { prompt: 'none' }))
  const server = { issuer: ISSUER, authorization_response_iss_parameter_supported: true }
  const callback = new URL(String(visit.headers.location))
  assert.throws(
    () => oauth.validateAuthResponse(server, { client_id: agent.client_id }, callback, 'the state'),
    { error: 'login_required' },
  )
})
