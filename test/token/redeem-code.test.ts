import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { authorize, browser, newVerifier, signIn } from '../support/browser.ts'
import {
  askToken,
  claimsOf,
  enrolAgent,
  enrolUser,
  events,
  redeem,
  refresh,
} from '../support/enrol.ts'
import { type Answer, ISSUER, openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const agent = await enrolAgent(house)
const user = await enrolUser(house, {
  name: 'Kim Reyes',
  email_verified: true,
  phone_number: '+4915123456789',
})
const there = browser(house)
await signIn(there, user)

function refused(answer: Answer, error: string) {
  assert.equal(answer.status, error === 'invalid_client' ? 401 : 400, answer.text)
  assert.equal(answer.body.error, error)
  assert.equal(answer.headers['cache-control'], 'no-store')
}

const lastReason = async () => (await events(house, 'authorization_code.refused'))[0]?.reason

test('a code gives an ID token, an access token and no refresh token unasked', async () => {
  const answer = await redeem(house, agent, await authorize(there, agent))
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.headers['cache-control'], 'no-store')
  const { id_token, access_token, ...rest } = answer.body
  assert.deepEqual(rest, { token_type: 'Bearer', expires_in: 300, scope: 'openid' })

  const keys = createLocalJWKSet(JSON.parse(house.deps.keys.jwks().body))
  const currentDate = house.clock.now
  const id = await jwtVerify(id_token, keys, {
    issuer: ISSUER,
    audience: agent.client_id,
    typ: 'JWT',
    algorithms: ['RS256'],
    currentDate,
  })
  assert.equal(id.payload.sub, user.id)
  assert.equal((id.payload.exp ?? 0) - (id.payload.iat ?? 0), 600)
  assert.deepEqual(id.payload.amr, ['pwd'])
  assert.equal(typeof id.payload.auth_time, 'number')
  assert.match(String(id.payload.sid), /^ses_/)
  assert.match(String(id.payload.agent_idp_grant), /^rtf_/)
  assert.equal(id.payload.azp, undefined)

  const access = await jwtVerify(access_token, keys, {
    issuer: ISSUER,
    audience: ISSUER,
    typ: 'at+jwt',
    currentDate,
  })
  assert.equal(access.payload.client_id, agent.client_id)
  assert.equal(access.payload.scope, 'openid')
  assert.equal((access.payload.exp ?? 0) - (access.payload.iat ?? 0), 300)
  assert.ok(access.payload.jti)
})

test("the ID token is signed by the agent's algorithm (OP-20)", async () => {
  const modern = await enrolAgent(house, { id_token_signed_response_alg: 'ES256' })
  const { body } = await redeem(house, modern, await authorize(there, modern))
  const [header = ''] = body.id_token.split('.')
  assert.equal(JSON.parse(Buffer.from(header, 'base64url').toString()).alg, 'ES256')
})

test('claims follow the scope, and an unverified contact is called so', async () => {
  const code = await authorize(there, agent, { scope: 'openid profile email phone' })
  const claims = claimsOf((await redeem(house, agent, code)).body.id_token)
  assert.equal(claims.name, 'Kim Reyes')
  assert.equal(claims.email, user.email)
  assert.equal(claims.email_verified, true)
  assert.equal(claims.phone_number, '+4915123456789')
  assert.equal(claims.phone_number_verified, false)
  const bare = claimsOf((await redeem(house, agent, await authorize(there, agent))).body.id_token)
  for (const name of ['name', 'email', 'email_verified', 'phone_number']) {
    assert.equal(name in bare, false)
  }
})

test('a refresh token comes with offline_access, to an agent with that grant (OP-23)', async () => {
  const asked = { scope: 'openid offline_access' }
  const { body } = await redeem(house, agent, await authorize(there, agent, asked))
  assert.match(body.refresh_token, /^[A-Za-z0-9_-]{43}$/)
  assert.equal(body.scope, 'openid offline_access')

  const without = await enrolAgent(house, { grant_types: ['authorization_code'] })
  const plain = await redeem(house, without, await authorize(there, without, asked))
  assert.equal(plain.body.refresh_token, undefined)
  assert.equal(plain.body.scope, 'openid')
})

test('a second use is refused and ends what the first gave (OP-09)', async () => {
  const code = await authorize(there, agent, { scope: 'openid offline_access' })
  const first = await redeem(house, agent, code)
  refused(await redeem(house, agent, code), 'invalid_grant')
  assert.equal(await lastReason(), 'spent_code')
  refused(await refresh(house, agent, first.body.refresh_token), 'invalid_grant')
  assert.equal((await events(house, 'authorization_code.reused')).length, 1)
})

test('of two redemptions at once one succeeds, and then nothing of it is left', async () => {
  const code = await authorize(there, agent, { scope: 'openid offline_access' })
  const answers = await Promise.all([redeem(house, agent, code), redeem(house, agent, code)])
  assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 400])
  const won = answers.find((answer) => answer.status === 200)
  refused(await refresh(house, agent, won?.body.refresh_token), 'invalid_grant')
})

test('a code is good for sixty seconds', async () => {
  const code = await authorize(there, agent)
  const late = await authorize(there, agent)
  house.wait(59)
  assert.equal((await redeem(house, agent, code)).status, 200)
  house.wait(1)
  refused(await redeem(house, agent, late), 'invalid_grant')
  assert.equal(await lastReason(), 'code_expired')
})

test('refuses a wrong verifier, a missing one, another redirect URI and no code', async () => {
  const code = await authorize(there, agent)
  const attempt = (fields: object) => redeem(house, agent, { ...code, ...fields })
  refused(await attempt({ code_verifier: newVerifier() }), 'invalid_grant')
  assert.equal(await lastReason(), 'wrong_code_verifier')
  refused(await attempt({ code_verifier: undefined }), 'invalid_grant')
  refused(await attempt({ redirect_uri: 'https://agent.example/other' }), 'invalid_grant')
  assert.equal(await lastReason(), 'wrong_redirect_uri')
  refused(await attempt({ redirect_uri: undefined }), 'invalid_grant')
  refused(await attempt({ code: undefined }), 'invalid_request')
  refused(await attempt({ code: 'unknown' }), 'invalid_grant')
  assert.equal(await lastReason(), 'unknown_code')
  assert.equal((await redeem(house, agent, code)).status, 200)
})

test("refuses another client's code and leaves it as it was", async () => {
  const thief = await enrolAgent(house)
  const code = await authorize(there, agent)
  refused(await redeem(house, thief, code), 'invalid_grant')
  const { status, body } = await redeem(house, agent, code)
  assert.equal(status, 200)
  refused(await redeem(house, thief, code), 'invalid_grant')
  assert.equal(body.scope, 'openid')
})

test('refuses an agent whose state changed after the code was given', async () => {
  const short = await enrolAgent(house)
  const code = await authorize(there, short)
  await house.admin('POST', `/agents/${short.id}/suspend`, {})
  const answer = await redeem(house, short, code)
  refused(answer, 'unauthorized_client')
})

test('refuses a code whose user was suspended or signed out since', async () => {
  const person = await enrolUser(house)
  const mine = browser(house)
  await signIn(mine, person)
  const early = await authorize(mine, agent)
  const page = await mine.get('/oauth2/logout')
  await mine.post('/sign-out', { csrf: /name="csrf" value="([^"]*)"/.exec(page.text)?.[1] })
  refused(await redeem(house, agent, early), 'invalid_grant')
  assert.equal(await lastReason(), 'session_ended')

  await signIn(mine, person)
  const late = await authorize(mine, agent)
  await house.admin('PATCH', `/users/${person.id}`, { status: 'suspended' })
  refused(await redeem(house, agent, late), 'invalid_grant')
})

test('a wrong secret is refused before anything is said of the code', async () => {
  const code = await authorize(there, agent)
  const wrong = { ...agent, client_secret: 'wrong' }
  refused(await redeem(house, wrong, code), 'invalid_client')
  assert.equal((await redeem(house, agent, code)).status, 200)
})

test('a public client redeems with PKCE alone', async () => {
  const open = await enrolAgent(house, {
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'],
  })
  const asked = { scope: 'openid offline_access' }
  const { body } = await redeem(house, open, await authorize(there, open, asked))
  assert.ok(body.id_token)
  const next = await askToken(house, open, {
    grant_type: 'refresh_token',
    refresh_token: body.refresh_token,
  })
  assert.equal(next.status, 200, next.text)
})
