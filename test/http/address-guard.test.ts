import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { BUDGETS, type Budget } from '../../src/http/budgets.ts'
import { openHouse } from '../support/house.ts'
import { assertOAuthError } from '../support/refusals.ts'

const house = await openHouse({ after }, { TRUST_PROXY: '127.0.0.1' })
const { tally } = house.deps

/** All that an address may ask for in this minute, but for so many requests. */
function spend(budget: Budget, address: string, left = 0): void {
  for (let count = left; count < budget.perMinute; count++) tally.take(budget, address)
}
const get = (url: string, from: string) =>
  house.inject({ method: 'GET', url, headers: { 'x-forwarded-for': from } })
const post = (url: string, from: string) =>
  house.form(url, { token: 'x' }, { 'x-forwarded-for': from })

test('an address that asks too often for tokens waits, whatever it sends, and others do not', async () => {
  spend(BUDGETS.address, '192.0.2.1', 1)
  assert.equal((await post('/oauth2/token', '192.0.2.1')).status, 400)
  for (const path of ['/oauth2/token', '/oauth2/revoke', '/oauth2/userinfo']) {
    const refused = await post(path, '192.0.2.1')
    assertOAuthError(refused, 429, 'temporarily_unavailable')
    const left = 60 - ((house.clock.now.getTime() / 1000) % 60)
    assert.equal(refused.headers['retry-after'], String(left))
    assert.notEqual((await post(path, '192.0.2.2')).status, 429)
  }
  house.wait(60)
  assert.equal((await post('/oauth2/token', '192.0.2.1')).status, 400)
})

test('it waits before its request is read', async () => {
  spend(BUDGETS.address, '192.0.2.3')
  const refused = await house.inject({
    method: 'POST',
    url: '/oauth2/token',
    headers: { 'x-forwarded-for': '192.0.2.3', 'content-type': 'application/json' },
    payload: '{',
  })
  assertOAuthError(refused, 429, 'temporarily_unavailable')
})

test('an address that asks too often for pages waits, and may still ask for tokens', async () => {
  spend(BUDGETS.pages, '192.0.2.4', 1)
  assert.equal((await get('/oauth2/authorize', '192.0.2.4')).status, 400)
  for (const path of ['/oauth2/authorize', '/consent/int_x', '/sign-in', '/account']) {
    const refused = await get(path, '192.0.2.4')
    assert.equal(refused.status, 429, path)
    assert.ok(Number(refused.headers['retry-after']) > 0)
    assert.match(String(refused.headers['content-type']), /^text\/html/)
    assert.match(refused.text, /Too many requests/)
    assert.match(String(refused.headers['content-security-policy']), /default-src/)
    assert.notEqual((await get(path, '192.0.2.5')).status, 429)
  }
  for (const path of ['/oauth2/authorize', '/oauth2/authorize/confirm', '/consent/int_x']) {
    assert.equal((await post(path, '192.0.2.4')).status, 429, path)
  }
  assert.equal((await post('/oauth2/token', '192.0.2.4')).status, 400)
})

test('the addresses that one customer of IPv6 has are one', async () => {
  spend(BUDGETS.address, '2001:db8:0:1')
  assert.equal((await post('/oauth2/token', '2001:db8:0:1::7')).status, 429)
  assert.equal((await post('/oauth2/token', '2001:db8:0:2::7')).status, 400)
})

test('they are counted among the refusals', async () => {
  const { body } = await house.deps.metrics.expose()
  assert.match(
    body,
    /^refusals_total\{error="temporarily_unavailable",reason="too_many_requests"\} [1-9]/m,
  )
  assert.match(body, /^refusals_total\{error="page",reason="too_many_requests"\} [1-9]/m)
})

test('the documents that everybody reads, and the administrators, are not limited with them', async () => {
  spend(BUDGETS.address, '192.0.2.6')
  spend(BUDGETS.pages, '192.0.2.6')
  assert.equal((await get('/.well-known/openid-configuration', '192.0.2.6')).status, 200)
  const asAdmin = await house.admin('GET', '/agents', undefined, { 'x-forwarded-for': '192.0.2.6' })
  assert.equal(asAdmin.status, 200)
})
