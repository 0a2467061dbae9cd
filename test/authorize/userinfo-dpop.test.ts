import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { authorize, browser, signIn } from '../support/browser.ts'
import { athOf, newDpopKey, proofBy, proving } from '../support/dpop.ts'
import { enrolAgent, enrolUser, redeem, refresh } from '../support/enrol.ts'
import { type Answer, type House, ISSUER, openHouse } from '../support/house.ts'

const USERINFO = `${ISSUER}/oauth2/userinfo`
const key = await newDpopKey()
const house = await openHouse({ after })
const { bound, bearer, user } = await begin(house)

/** Two access tokens of one user: one bound to the key, one for its bearer. */
async function begin(there: House) {
  const agent = await enrolAgent(there)
  const person = await enrolUser(there)
  const visitor = browser(there)
  await signIn(visitor, person)
  const tokenWith = async (headers = {}) => {
    const code = await authorize(visitor, agent, { scope: 'openid email offline_access' })
    const { status, body, text } = await redeem(there, agent, code, headers)
    assert.equal(status, 200, text)
    return body
  }
  const plain = await tokenWith()
  const challenge = await redeem(there, agent, {}, await proving(key, there))
  const claims = { nonce: challenge.headers['dpop-nonce'] }
  const tokens = await tokenWith(await proving(key, there, claims))
  assert.equal(tokens.token_type, 'DPoP')
  return {
    agent,
    tokens,
    bound: tokens.access_token as string,
    bearer: plain.access_token as string,
    user: person,
  }
}

type Asking = {
  token?: string
  scheme?: string
  method?: 'GET' | 'POST' | 'HEAD'
  claims?: object
  dpop?: string | undefined
  there?: House
}
/** With a proof that has nothing wrong with it, but for what is asked otherwise. */
async function ask(asking: Asking = {}): Promise<Answer> {
  const { token = bound, scheme = 'DPoP', method = 'GET', there = house } = asking
  const good = { htm: method, htu: USERINFO, ath: athOf(token), ...asking.claims }
  const dpop = 'dpop' in asking ? asking.dpop : await proofBy(key, there, good)
  const headers = { authorization: `${scheme} ${token}`, ...(dpop !== undefined && { dpop }) }
  return there.inject({ method, url: '/oauth2/userinfo', headers })
}

function refused(answer: Answer, error: string) {
  assert.equal(answer.status, 401, answer.text)
  assert.equal(answer.body.error, error)
  const challenge = String(answer.headers['www-authenticate'])
  assert.match(challenge, /^DPoP realm="agent-idp", algs="ES256 RS256 EdDSA", error="/)
  assert.ok(challenge.includes(`error="${error}", error_description="`), challenge)
  assert.match(answer.body.error_description, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
  assert.equal(answer.headers['cache-control'], 'no-store')
}

test('a bound token opens userinfo for who holds its key, by either method (DP-11)', async () => {
  for (const method of ['GET', 'POST'] as const) {
    const answer = await ask({ method })
    assert.equal(answer.status, 200, answer.text)
    assert.equal(answer.body.sub, user.id)
    assert.equal(answer.headers['dpop-nonce'], undefined)
  }
  assert.equal((await ask({ scheme: 'dpop' })).status, 200, 'a scheme has no case (RFC 9110)')
  assert.equal((await ask({ method: 'HEAD' })).status, 200)
})

test('a bound token is no bearer token, in header and form (DP-11)', async () => {
  refused(await ask({ scheme: 'Bearer' }), 'invalid_token')
  refused(await ask({ scheme: 'Bearer', dpop: undefined }), 'invalid_token')
  refused(await house.form('/oauth2/userinfo', { access_token: bound }), 'invalid_token')
})

test('a bearer token is no bound one; a proof beside it does no harm', async () => {
  refused(await ask({ token: bearer }), 'invalid_token')
  assert.equal((await ask({ token: bearer, scheme: 'Bearer' })).status, 200)
  assert.equal((await ask({ token: bearer, scheme: 'Bearer', dpop: 'nonsense' })).status, 200)
})

test('a token that is none is refused whatever the proof', async () => {
  refused(await ask({ token: `${bound}x` }), 'invalid_token')
  refused(await ask({ token: 'x.y.z' }), 'invalid_token')
})

const iat = () => house.clock.now.getTime() / 1000
const FAULTS: Record<string, () => Promise<Asking>> = {
  'no proof': async () => ({ dpop: undefined }),
  'a proof that is none': async () => ({ dpop: 'nonsense' }),
  'no ath': async () => ({ claims: { ath: undefined } }),
  'the ath of another token': async () => ({ claims: { ath: athOf(bearer) } }),
  'the htm of another method': async () => ({ claims: { htm: 'POST' } }),
  'the htu of another endpoint': async () => ({ claims: { htu: `${ISSUER}/oauth2/token` } }),
  'an old proof': async () => ({ claims: { iat: iat() - 300 } }),
  'a proof of the token endpoint': async () => ({ dpop: await proofBy(key, house) }),
  'two proofs': async () => {
    const of = { htm: 'GET', htu: USERINFO, ath: athOf(bound) }
    return { dpop: `${await proofBy(key, house, of)}, ${await proofBy(key, house, of)}` }
  },
}
for (const [what, asking] of Object.entries(FAULTS)) {
  test(`a bound token with ${what} is refused (DP-11, RFC 9449 §7.1)`, async () => {
    refused(await ask(await asking()), 'invalid_dpop_proof')
  })
}

test('a proof by another key does not open it (DP-11)', async () => {
  const thief = await newDpopKey('EdDSA')
  const claims = { htm: 'GET', htu: USERINFO, ath: athOf(bound) }
  refused(await ask({ dpop: await proofBy(thief, house, claims) }), 'invalid_token')
})

test('a proof counts once, also of two requests at once (DP-05)', async () => {
  const dpop = await proofBy(key, house, { htm: 'GET', htu: USERINFO, ath: athOf(bound) })
  const answers = await Promise.all([ask({ dpop }), ask({ dpop }), ask({ dpop })])
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 401, 401])
  refused(await ask({ dpop }), 'invalid_dpop_proof')
})

test('one jti may be used at two endpoints, for a proof is of one (DP-05)', async () => {
  const jti = 'the same for both'
  const { agent, tokens } = await begin(house)
  const headers = await proving(key, house, { jti })
  assert.equal((await refresh(house, agent, tokens.refresh_token, {}, headers)).status, 200)
  assert.equal((await ask({ claims: { jti } })).status, 200)
})

test('a bound token without openid is not enough', async () => {
  const { agent, tokens } = await begin(house)
  const headers = await proving(key, house)
  const { body } = await refresh(house, agent, tokens.refresh_token, { scope: 'email' }, headers)
  const answer = await ask({ token: body.access_token })
  assert.equal(answer.status, 403)
  assert.match(String(answer.headers['www-authenticate']), /^DPoP .*error="insufficient_scope"/)
})

test('with nonces a proof needs one, and is told a newer one (RFC 9449 §9, DP-06)', async (t) => {
  const there = await openHouse(t, { DPOP_NONCES: 'on' })
  const window = 150_000
  there.clock.now = new Date(Math.ceil(there.clock.now.getTime() / window) * window)
  const { bound: token } = await begin(there)
  const asking = (nonce?: unknown) => ask({ there, token, claims: nonce ? { nonce } : {} })
  const challenge = await asking()
  refused(challenge, 'use_dpop_nonce')
  const nonce = challenge.headers['dpop-nonce']
  const answer = await asking(nonce)
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.headers['dpop-nonce'], undefined)
  there.wait(150)
  const later = await asking(nonce)
  assert.equal(later.status, 200, later.text)
  const newer = later.headers['dpop-nonce']
  assert.ok(newer !== undefined && newer !== nonce)
  assert.equal((await asking(newer)).headers['dpop-nonce'], undefined)
})

test('no proof is in the log (SE-11)', async () => {
  const dpop = await proofBy(key, house, { htm: 'GET', htu: USERINFO, ath: athOf(bound) })
  await ask({ dpop })
  await ask({ dpop })
  const log = house.logs.join('\n')
  for (const part of [...dpop.split('.').slice(1), bound.split('.')[2] ?? '']) {
    assert.ok(part.length > 20 && !log.includes(part))
  }
})
