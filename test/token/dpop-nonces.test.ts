import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { GRANT } from '../../src/oauth/names.ts'
import { authorize } from '../support/browser.ts'
import { newDpopKey, proving } from '../support/dpop.ts'
import { claimsOf } from '../support/enrol.ts'
import { type Answer, type Form, openHouse } from '../support/house.ts'
import { assertOAuthError, assertRefusal } from '../support/refusals.ts'
import { clientAuthentication, tellStory } from '../support/story.ts'

const house = await openHouse({ after }, { DPOP_NONCES: 'on' })
// Nonces change every 150 seconds: this is where a new one begins.
const WINDOW = 150
const start = Math.ceil(house.clock.now.getTime() / 1000 / WINDOW) * WINDOW
house.clock.now = new Date(start * 1000)

const story = await tellStory(house)
const { agent } = story
await story.delegate()
const key = await newDpopKey()

type Headers = Record<string, string>
const ask = async (fields: Form, headers: Headers = {}) =>
  house.form('/oauth2/token', { ...fields, ...(await clientAuthentication(house, agent)) }, headers)
const exchange = (headers?: Headers) => story.exchange({}, agent, headers)
const withNonce = (nonce?: string) => proving(key, house, nonce === undefined ? {} : { nonce })
const NEEDED = [400, 'use_dpop_nonce', 'dpop_nonce_needed'] as const

const nonceOf = ({ headers }: Answer) => {
  const nonce = headers['dpop-nonce']
  assert.match(String(nonce), /^[\w-]{43}$/)
  return String(nonce)
}

const GRANTS: Record<string, () => Promise<(headers: Headers) => Promise<Answer>>> = {
  authorization_code: async () => {
    const code = await authorize(story.browser, agent, { scope: 'openid offline_access' })
    return (headers) => ask({ grant_type: GRANT.authorizationCode, ...code }, headers)
  },
  refresh_token: async () => {
    const { refresh_token } = await story.signIn()
    return (headers) => ask({ grant_type: GRANT.refreshToken, refresh_token }, headers)
  },
  'token exchange': async () => exchange,
}
await story.signIn()

for (const [grant, begin] of Object.entries(GRANTS)) {
  test(`${grant}: a proof without a nonce is told one, and holds with it (TV-78, DP-06)`, async () => {
    const request = await begin()
    const asking = await withNonce()
    const challenge = await assertRefusal(house, () => request(asking), NEEDED)
    const nonce = nonceOf(challenge)
    const answer = await request(await withNonce(nonce))
    assert.equal(answer.status, 200, answer.text)
    assert.equal(answer.headers['dpop-nonce'], undefined, 'that nonce is still the one')
    assert.equal(answer.headers['cache-control'], 'no-store')
  })
}

test('the nonce before is good for as long again, and the new one comes with the answer (DP-06)', async () => {
  const first = nonceOf(await exchange(await withNonce()))
  house.wait(WINDOW)
  const answer = await exchange(await withNonce(first))
  assert.equal(answer.status, 200, answer.text)
  const second = nonceOf(answer)
  assert.notEqual(second, first)
  assert.equal(answer.headers['cache-control'], 'no-store')
  assert.equal((await exchange(await withNonce(second))).headers['dpop-nonce'], undefined)
  house.wait(WINDOW)
  const old = await withNonce(first)
  const third = nonceOf(await assertRefusal(house, () => exchange(old), NEEDED))
  assert.ok(third !== second && third !== first)
  await story.signIn()
  assert.equal((await exchange(await withNonce(second))).status, 200)
})

test('a nonce that nobody issued is none (DP-06)', async () => {
  for (const nonce of ['', 'x', 'A'.repeat(43)]) {
    const headers = await withNonce(nonce)
    await assertRefusal(house, () => exchange(headers), NEEDED)
  }
})

test('with nonces iat is not asked for its age, for the nonce says it (DP-04)', async () => {
  const nonce = nonceOf(await exchange(await withNonce()))
  const headers = await proving(key, house, { nonce, iat: 1 })
  assert.equal((await exchange(headers)).status, 200)
})

test('a nonce does not let a proof count twice (DP-05)', async () => {
  const nonce = nonceOf(await exchange(await withNonce()))
  const headers = await withNonce(nonce)
  assert.equal((await exchange(headers)).status, 200)
  house.wait(WINDOW)
  assertOAuthError(await exchange(headers), 400, 'invalid_dpop_proof')
})

test('who sends no proof needs no nonce, and a bad proof is not told one', async () => {
  const plain = await exchange()
  assert.equal(plain.status, 200, plain.text)
  assert.equal('cnf' in claimsOf(plain.body.access_token), false)
  const bad = await exchange(await proving(key, house, { htm: 'GET' }))
  assertOAuthError(bad, 400, 'invalid_dpop_proof')
  assert.equal(bad.headers['dpop-nonce'], undefined)
})
