// The scope `delegate`: which clients get it, and what an access token with it is good for (TX-29).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { authorize, authorizeUrl, browser, signIn } from '../support/browser.ts'
import { askToken, claimsOf, enrolAgent, enrolUser, redeem, refresh } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after }, { DELEGATE_TOKENS: 'on' })
const off = await openHouse({ after })
const agent = await enrolAgent(house)
const METADATA = '/.well-known/openid-configuration'
const WITH_ALL = 'openid email delegate offline_access'

async function tokensFor(at = house, of = agent, scope = WITH_ALL) {
  const there = browser(at)
  await signIn(there, await enrolUser(at))
  const { status, text, body } = await redeem(at, of, await authorize(there, of, { scope }))
  assert.equal(status, 200, text)
  return body
}
const scopeOf = (token: string) => claimsOf(token).scope

test('an access token has the scope when it was asked for, and after a refresh', async () => {
  const body = await tokensFor()
  assert.equal(body.scope, 'openid email offline_access delegate')
  assert.equal(scopeOf(body.access_token), body.scope)
  assert.equal(claimsOf(body.access_token).aud, house.config.issuer)
  const next = await refresh(house, agent, body.refresh_token)
  assert.equal(scopeOf(next.body.access_token), body.scope)
  const less = await refresh(house, agent, next.body.refresh_token, { scope: 'openid' })
  assert.equal(scopeOf(less.body.access_token), 'openid')
  const plain = await tokensFor(house, agent, 'openid offline_access')
  assert.equal(scopeOf(plain.access_token), 'openid offline_access')
  const more = await refresh(house, agent, plain.refresh_token, { scope: 'openid delegate' })
  assert.equal(more.body.error, 'invalid_scope')
})

test('the scope opens userinfo no further', async () => {
  const { access_token } = await tokensFor(house, agent, 'openid delegate')
  const headers = { authorization: `Bearer ${access_token}` }
  const { status, body } = await house.inject({ method: 'GET', url: '/oauth2/userinfo', headers })
  assert.equal(status, 200)
  assert.deepEqual(Object.keys(body), ['sub'])
})

for (const [what, members] of [
  ['that is public', { token_endpoint_auth_method: 'none' }],
  ['that may not exchange', { grant_types: [GRANT.authorizationCode, GRANT.refreshToken] }],
] as const) {
  test(`for a client ${what} it is a scope like any unknown one (FL-05)`, async () => {
    const other = await enrolAgent(house, members)
    const { access_token } = await tokensFor(house, other, 'openid delegate')
    assert.equal(scopeOf(access_token), 'openid')
  })
}

test('where it is off, it is a scope like any unknown one', async () => {
  const other = await enrolAgent(off)
  const { access_token } = await tokensFor(off, other, WITH_ALL)
  assert.equal(scopeOf(access_token), 'openid email offline_access')
})

test('a grant of the time when it was on gives none when it is off', async () => {
  const other = await enrolAgent(off)
  const { access_token, refresh_token } = await tokensFor(off, other, 'openid offline_access')
  await off.deps.db
    .updateTable('refresh_token_families')
    .set({ scope: ['openid', 'delegate', 'offline_access'] })
    .where(
      'id',
      '=',
      Object.entries(claimsOf(access_token)).find(([name]) => /grant/.test(name))?.[1] as string,
    )
    .execute()
  const { body } = await refresh(off, other, refresh_token)
  assert.equal(scopeOf(body.access_token), 'openid offline_access')
  assert.equal(body.scope, 'openid offline_access')
})

test('the metadata lists it where it is on', async () => {
  const listed = async (at: typeof house) =>
    (await at.inject({ method: 'GET', url: METADATA })).body.scopes_supported.includes('delegate')
  assert.ok(await listed(house))
  assert.ok(!(await listed(off)))
})

test('a user who is asked to confirm reads what it means', async () => {
  const there = browser(house)
  await signIn(there, await enrolUser(house))
  const page = await there.get(authorizeUrl(agent, { scope: 'openid delegate', prompt: 'consent' }))
  assert.match(page.text, /to act for you at the apps where you have allowed it/)
})

test('as a subject token an access token needs the scope, and the setting', async () => {
  const exchange = async (at: typeof house, of: typeof agent, scope: string) => {
    const { access_token } = await tokensFor(at, of, scope)
    return askToken(at, of, {
      grant_type: GRANT.tokenExchange,
      requested_token_type: TOKEN_TYPE.idJag,
      audience: 'https://unknown.example',
      subject_token: access_token,
      subject_token_type: TOKEN_TYPE.accessToken,
    })
  }
  assert.equal((await exchange(house, agent, 'openid delegate')).body.error, 'invalid_target')
  assert.equal((await exchange(house, agent, 'openid')).body.error, 'invalid_grant')
  const there = await enrolAgent(off)
  assert.equal((await exchange(off, there, 'openid delegate')).body.error, 'invalid_request')
})
