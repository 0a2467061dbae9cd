import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import {
  authorize,
  authorizeUrl,
  browser,
  challengeOf,
  newVerifier,
  redirected,
  signIn,
} from '../support/browser.ts'
import { claimsOf, enrolAgent, enrolUser, redeem } from '../support/enrol.ts'
import { type Form, ISSUER, openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const agent = await enrolAgent(house)
const user = await enrolUser(house)
const there = browser(house)
await signIn(there, user)

test('a signed-in user is sent back with a code, state and iss (OP-03, OP-04)', async () => {
  const params = redirected(await there.get(authorizeUrl(agent)), agent)
  assert.match(params.get('code') ?? '', /^[A-Za-z0-9_-]{43}$/)
  assert.equal(params.get('state'), 'the state')
  assert.equal(params.get('iss'), ISSUER)
})

test('a user who is not signed in passes the sign-in page first', async () => {
  const stranger = browser(house)
  const page = await stranger.get(authorizeUrl(agent, { login_hint: user.email }))
  assert.match(page.url, /^\/sign-in\?/)
  assert.ok(page.text.includes(`value="${user.email}"`), 'login_hint prefills the address')
  const visit = await stranger.submit(page, { email: user.email, password: user.password })
  assert.ok(redirected(visit, agent).get('code'))
})

test('the page before a redirect to the client does not forbid it by form-action', async () => {
  const page = await browser(house).get(authorizeUrl(agent))
  assert.doesNotMatch(String(page.headers['content-security-policy']), /form-action/)
  const plain = await browser(house).get('/sign-in')
  assert.match(String(plain.headers['content-security-policy']), /form-action 'self'/)
})

test('the request may be a form', async () => {
  const fields = Object.fromEntries(new URLSearchParams(authorizeUrl(agent).split('?')[1]))
  const visit = await there.post('/oauth2/authorize', fields)
  assert.ok(redirected(visit, agent).get('code'))
  // As from another site: SameSite keeps the cookie back, and the browser asks again by GET.
  const answer = await house.form('/oauth2/authorize', fields)
  assert.equal(answer.status, 303)
  assert.ok(redirected(await there.get(String(answer.headers.location)), agent).get('code'))
})

for (const [what, url] of [
  ['an unknown client', authorizeUrl({ ...agent, client_id: `agt_${'A'.repeat(22)}` })],
  ['a malformed client_id', authorizeUrl({ ...agent, client_id: 'x\0y' })],
  ['no client_id', authorizeUrl(agent, { client_id: undefined })],
  ['a repeated client_id', authorizeUrl(agent, { client_id: [agent.client_id, agent.client_id] })],
  ['an unregistered redirect_uri', authorizeUrl(agent, { redirect_uri: 'https://evil.example/' })],
  ['a longer redirect_uri', authorizeUrl(agent, { redirect_uri: `${agent.redirect_uri}/x` })],
  ['another case', authorizeUrl(agent, { redirect_uri: agent.redirect_uri.toUpperCase() })],
  ['no redirect_uri', authorizeUrl(agent, { redirect_uri: undefined })],
  [
    'a repeated redirect_uri',
    authorizeUrl(agent, { redirect_uri: [agent.redirect_uri, agent.redirect_uri] }),
  ],
] as const) {
  test(`${what} gets a page and never a redirect (OP-02)`, async () => {
    const visit = await there.get(url)
    assert.equal(visit.status, 400)
    assert.equal(visit.headers.location, undefined)
    assert.match(visit.text, /role="alert"/)
  })
}

test('a loopback redirect URI may vary in its port and in nothing else (OP-02)', async () => {
  const native = await enrolAgent(house, {
    redirect_uris: ['http://127.0.0.1/callback', 'http://[::1]:1234/cb?x=1'],
  })
  for (const redirect_uri of [
    'http://127.0.0.1:49152/callback',
    'http://127.0.0.1/callback',
    'http://[::1]:49152/cb?x=1',
  ]) {
    const visit = await there.get(authorizeUrl(native, { redirect_uri }))
    assert.ok(redirected(visit, { ...native, redirect_uri }).get('code'))
  }
  for (const redirect_uri of [
    'http://127.0.0.1:49152/other',
    'http://127.0.0.1:99999/callback',
    'http://127.0.0.1:80@evil.example/callback',
    'http://127.0.0.1.evil.example/callback',
    'https://127.0.0.1/callback',
    'http://localhost:49152/callback',
  ]) {
    assert.equal((await there.get(authorizeUrl(native, { redirect_uri }))).status, 400)
  }
})

const challenge = challengeOf(newVerifier())
const faults: [string, Form, string][] = [
  ['no response_type', { response_type: undefined }, 'invalid_request'],
  ['another response_type', { response_type: 'token' }, 'unsupported_response_type'],
  ['a hybrid response_type', { response_type: 'code id_token' }, 'unsupported_response_type'],
  ['another response_mode', { response_mode: 'fragment' }, 'invalid_request'],
  ['no code_challenge', { code_challenge: undefined }, 'invalid_request'],
  ['a short code_challenge', { code_challenge: 'short' }, 'invalid_request'],
  ['a plain code_challenge', { code_challenge_method: 'plain' }, 'invalid_request'],
  ['no code_challenge_method', { code_challenge_method: undefined }, 'invalid_request'],
  ['no scope', { scope: undefined }, 'invalid_scope'],
  ['a scope without openid', { scope: 'email' }, 'invalid_scope'],
  ['a malformed scope', { scope: 'openid  email' }, 'invalid_scope'],
  ['a repeated scope', { scope: ['openid', 'email'] }, 'invalid_request'],
  ['a repeated code_challenge', { code_challenge: [challenge, challenge] }, 'invalid_request'],
  ['an unknown prompt', { prompt: 'create' }, 'invalid_request'],
  ['prompt none with another', { prompt: 'none login' }, 'invalid_request'],
  ['a max_age that is no number', { max_age: '-1' }, 'invalid_request'],
  ['a NUL in the nonce', { nonce: 'a\0b' }, 'invalid_request'],
  ['an endless nonce', { nonce: 'x'.repeat(2000) }, 'invalid_request'],
  ['claims that are no JSON', { claims: '{' }, 'invalid_request'],
  ['claims that are no object', { claims: '[]' }, 'invalid_request'],
  [
    'an essential acr',
    { claims: '{"id_token":{"acr":{"essential":true,"values":["urn:x"]}}}' },
    'unmet_authentication_requirements',
  ],
  ['a request object', { request: 'eyJ' }, 'request_not_supported'],
  ['a request_uri', { request_uri: 'https://a.example/' }, 'request_uri_not_supported'],
  ['a dpop_jkt that is no thumbprint', { dpop_jkt: 'x' }, 'invalid_request'],
  ['a dpop_jkt of 44 characters', { dpop_jkt: '-'.repeat(44) }, 'invalid_request'],
  ['a dpop_jkt with stray bits', { dpop_jkt: 'B'.repeat(43) }, 'invalid_request'],
  ['a repeated dpop_jkt', { dpop_jkt: ['A'.repeat(43), 'A'.repeat(43)] }, 'invalid_request'],
  ['authorization_details', { authorization_details: '[]' }, 'invalid_request'],
  ['resource', { resource: 'https://api.example/' }, 'invalid_request'],
  ['a bad id_token_hint', { id_token_hint: 'x.y.z' }, 'invalid_request'],
]
for (const [what, fields, error] of faults) {
  test(`${what} is answered ${error}, with state and iss (OP-01, OP-05…OP-08, TV-104)`, async () => {
    const params = redirected(await there.get(authorizeUrl(agent, fields)), agent)
    assert.equal(params.get('error'), error)
    assert.equal(params.get('state'), 'the state')
    assert.equal(params.get('iss'), ISSUER)
    assert.equal(params.get('code'), null)
    assert.match(params.get('error_description') ?? '', /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
  })
}

test('an unsupported parameter is named', async () => {
  const url = authorizeUrl(agent, { resource: 'x' })
  assert.match(redirected(await there.get(url), agent).get('error_description') ?? '', /resource/)
})

test('dpop_jkt is kept with the code, through a sign-in too (DP-10, OP-09)', async () => {
  const dpop_jkt = 'A'.repeat(43)
  const stranger = browser(house)
  const asked = authorizeUrl(agent, { dpop_jkt })
  const page = await stranger.get(asked)
  const { email, password } = user
  redirected(await stranger.submit(page, { email, password }), agent)
  redirected(await there.get(asked), agent)
  await authorize(there, agent)
  const codes = await house.deps.db
    .selectFrom('authorization_codes')
    .select('dpop_jkt')
    .orderBy(sql`xmin::text::bigint`, 'desc')
    .limit(3)
    .execute()
  assert.deepEqual(
    codes.map((code) => code.dpop_jkt),
    [null, dpop_jkt, dpop_jkt],
  )
})

test('a repeated state is refused and not echoed', async () => {
  const params = redirected(await there.get(authorizeUrl(agent, { state: ['a', 'b'] })), agent)
  assert.equal(params.get('error'), 'invalid_request')
  assert.equal(params.get('state'), null)
})

test('voluntary wishes, unknown scopes and unknown parameters are no fault', async () => {
  const code = await authorize(there, agent, {
    scope: 'openid chat.read',
    acr_values: 'urn:x',
    claims: '{"id_token":{"acr":{"value":"urn:x"}}}',
    ui_locales: 'de',
    something: 'else',
  })
  assert.equal((await redeem(house, agent, code)).body.scope, 'openid')
})

test('an agent that may not act is refused: suspended, past its end, without the grant', async () => {
  const refused = async (of: typeof agent) => {
    const params = redirected(await there.get(authorizeUrl(of)), of)
    assert.equal(params.get('error'), 'unauthorized_client')
  }
  const suspended = await enrolAgent(house)
  await house.admin('POST', `/agents/${suspended.id}/suspend`, {})
  await refused(suspended)

  const exchangeOnly = await enrolAgent(house, {
    grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'],
  })
  await refused(exchangeOnly)

  const orphan = await enrolAgent(house)
  await house.admin('PATCH', `/users/${orphan.owner_id}`, { status: 'suspended' })
  await refused(orphan)

  const expired = await enrolAgent(house)
  await house.deps.db
    .updateTable('agents')
    .set({ expires_at: house.clock.now })
    .where('id', '=', expired.id)
    .execute()
  await refused(expired)
})

test('a retired agent is unknown', async () => {
  const retired = await enrolAgent(house)
  await house.admin('POST', `/agents/${retired.id}/retire`, {})
  assert.equal((await there.get(authorizeUrl(retired))).status, 400)
})

test("a user of another tenant may not use the tenant's agents", async () => {
  const tenant = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
  assert.equal(tenant.status, 201, tenant.text)
  const foreign = await enrolAgent(house, { tenant_id: tenant.body.id })
  const params = redirected(await there.get(authorizeUrl(foreign)), foreign)
  assert.equal(params.get('error'), 'access_denied')
})

test('the redirect URI keeps its own query', async () => {
  const redirect_uri = 'https://agent.example/callback?tab=1'
  const odd = await enrolAgent(house, { redirect_uris: [redirect_uri] })
  const params = redirected(await there.get(authorizeUrl(odd)), odd)
  assert.equal(params.get('tab'), '1')
  assert.ok(params.get('code'))
})

test('a code is kept as a digest and appears in no log (SE-07, SE-11)', async () => {
  const { code } = await authorize(there, agent)
  const rows = await house.deps.db.selectFrom('authorization_codes').selectAll().execute()
  assert.ok(rows.length > 0)
  assert.ok(!JSON.stringify(rows.map((row) => ({ ...row, hash: String(row.hash) }))).includes(code))
  assert.ok(!house.logs.some((line) => line.includes(code)))
})

test('the ID token speaks of the user who signed in, with the nonce of the request', async () => {
  const { body } = await redeem(house, agent, await authorize(there, agent, { nonce: 'n-1' }))
  assert.equal(claimsOf(body.id_token).sub, user.id)
  assert.equal(claimsOf(body.id_token).nonce, 'n-1')
})
