import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { exportJWK, SignJWT } from 'jose'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { authorize } from '../support/browser.ts'
import { newDpopKey, proofBy, proving } from '../support/dpop.ts'
import { claimsOf } from '../support/enrol.ts'
import { type Answer, type Form, ISSUER, openHouse } from '../support/house.ts'
import { assertOAuthError, assertRefusal } from '../support/refusals.ts'
import { clientAuthentication, tellStory } from '../support/story.ts'

// Which proofs the token endpoint takes, at each of its grants. What tokens are bound to is in
// dpop-bound.test.ts, nonces are in dpop-nonces.test.ts.

const house = await openHouse({ after })
const story = await tellStory(house)
const { agent } = story
await story.delegate()
await story.signIn()
const key = await newDpopKey()

type Headers = Record<string, string>
type Ask = (headers?: Headers) => Promise<Answer>
const ask = async (fields: Form, headers: Headers = {}) =>
  house.form('/oauth2/token', { ...fields, ...(await clientAuthentication(house, agent)) }, headers)

/** Requests that have nothing wrong with them, each with a new code or token. */
const GRANTS: Record<string, () => Promise<Ask>> = {
  authorization_code: async () => {
    const code = await authorize(story.browser, agent, { scope: 'openid offline_access' })
    return (headers) => ask({ grant_type: GRANT.authorizationCode, ...code }, headers)
  },
  refresh_token: async () => {
    const { refresh_token } = await story.signIn()
    return (headers) => ask({ grant_type: GRANT.refreshToken, refresh_token }, headers)
  },
  'token exchange': async () => (headers) => story.exchange({}, agent, headers),
}

const EXCHANGE = {
  requested_token_type: TOKEN_TYPE.idJag,
  audience: story.audience.issuer,
  subject_token: 'x',
  subject_token_type: TOKEN_TYPE.idToken,
}

const made: string[] = []
const keep = (proof: string) => {
  made.push(proof)
  return proof
}
const proof = async (claims = {}) => keep(await proofBy(key, house, claims))
const now = () => Math.floor(house.clock.now.getTime() / 1000)

const BAD = [400, 'invalid_dpop_proof', 'bad_dpop_proof'] as const
const REPLAYED = [400, 'invalid_dpop_proof', 'replayed_dpop_proof'] as const
const MISSING = [400, 'invalid_dpop_proof', 'no_dpop_proof'] as const

const FAULTS: Record<string, () => Promise<string>> = {
  'htm of another method': () => proof({ htm: 'GET' }),
  'htu of another endpoint': () => proof({ htu: `${ISSUER}/oauth2/revoke` }),
  'htu of another host': () => proof({ htu: 'https://other.example/oauth2/token' }),
  'iat of five minutes ago': () => proof({ iat: now() - 300 }),
  'iat of two minutes ahead': () => proof({ iat: now() + 120 }),
  'no jti': () => proof({ jti: undefined }),
  'the typ of another token': () => proof({ header: { typ: 'JWT' } }),
  'a private key': async () => proof({ header: { jwk: await exportJWK(key.privateKey) } }),
  'no key': () => proof({ header: { jwk: undefined } }),
  'the signature of another key': async () => proof({ header: { jwk: (await newDpopKey()).jwk } }),
  'a shared secret': () =>
    new SignJWT({ htm: 'POST', htu: `${ISSUER}/oauth2/token`, iat: now(), jti: randomUUID() })
      .setProtectedHeader({ alg: 'HS256', typ: 'dpop+jwt', jwk: key.jwk })
      .sign(new Uint8Array(32)),
  'a second header': async () => `${await proof()}, ${await proof()}`,
  'no JWT in it': async () => 'nonsense',
  nothing: async () => '',
}

for (const [grant, begin] of Object.entries(GRANTS)) {
  test(`${grant}: refuses a bad proof and leaves all as it was (TV-77, DP-01…DP-04, TX-60)`, async () => {
    const request = await begin()
    for (const [what, bad] of Object.entries(FAULTS)) {
      const dpop = await bad()
      await assertRefusal(house, () => request({ dpop }), BAD).catch((error) => {
        throw new Error(`with ${what}`, { cause: error })
      })
    }
    const answer = await request({ dpop: await proof() })
    assert.equal(answer.status, 200, answer.text)
  })

  test(`${grant}: refuses a proof that any grant has seen (TV-77, DP-05)`, async () => {
    for (const elsewhere of Object.values(GRANTS)) {
      const dpop = await proof()
      assert.equal((await (await elsewhere())({ dpop })).status, 200)
      const request = await begin()
      await assertRefusal(house, () => request({ dpop }), REPLAYED)
      assert.equal((await request({ dpop: await proof() })).status, 200)
    }
  })

  test(`${grant}: of two requests at once with one proof, one is answered (DP-05)`, async () => {
    const dpop = await proof()
    const requests = [await begin(), await begin()]
    const answers = await Promise.all(requests.map((request) => request({ dpop })))
    const refused = answers.find(({ status }) => status !== 200)
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400])
    assertOAuthError(refused as Answer, 400, 'invalid_dpop_proof')
  })

  test(`${grant}: a client that has to bind its tokens needs a proof (DP-08)`, async () => {
    const request = await begin()
    const bind = (dpop_bound_access_tokens: boolean) =>
      house.admin('PATCH', `/agents/${agent.id}`, { dpop_bound_access_tokens })
    await bind(true)
    await assertRefusal(house, () => request(), MISSING)
    const answer = await request({ dpop: await proof() })
    await bind(false)
    assert.equal(answer.status, 200, answer.text)
  })
}

test('of requests at once with one proof at all grants, one is answered (DP-05)', async () => {
  const dpop = await proof()
  const requests = await Promise.all(Object.values(GRANTS).map((begin) => begin()))
  const answers = await Promise.all(requests.map((request) => request({ dpop })))
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400, 400])
})

test('who the client is comes before the proof (TX-60)', async () => {
  const { client_id } = agent
  for (const grant_type of Object.values(GRANT)) {
    const fields = { grant_type, client_id, refresh_token: 'x', code: 'x', ...EXCHANGE }
    const answer = await house.form('/oauth2/token', fields, { dpop: 'nonsense' })
    assertOAuthError(answer, 401, 'invalid_client')
  }
})

test('a proof counts once, whatever came of the request', async () => {
  const dpop = await proof()
  const code = { grant_type: GRANT.authorizationCode, code: 'unknown' }
  await assertRefusal(house, () => ask(code, { dpop }), [400, 'invalid_grant', 'unknown_code'])
  await assertRefusal(house, () => story.exchange({}, agent, { dpop }), REPLAYED)
  const other = await proof()
  const scope = { scope: 'admin' }
  const refused = [400, 'invalid_scope', 'scope_not_in_catalogue'] as const
  await assertRefusal(house, () => story.exchange(scope, agent, { dpop: other }), refused)
  await assertRefusal(house, () => story.exchange({}, agent, { dpop: other }), REPLAYED)
})

test('the ID-JAG of a proven key is bound to it, and no other is (TV-76, DP-07, IJ-11)', async () => {
  for (const alg of ['ES256', 'RS256', 'EdDSA']) {
    const holder = await newDpopKey(alg)
    const answer = await story.exchange({}, agent, await proving(holder, house))
    assert.equal(answer.status, 200, answer.text)
    assert.equal(answer.body.token_type, 'N_A')
    const { cnf, jti } = claimsOf(answer.body.access_token)
    assert.deepEqual(cnf, { jkt: holder.jkt })
    const issued = await house.admin('GET', `/issuances?jti=${jti}`)
    assert.equal(issued.body.data[0].dpop_jkt, holder.jkt)
  }
  const plain = await story.exchange()
  assert.equal('cnf' in claimsOf(plain.body.access_token), false)
})

test('a proof may digest the body, and need not (DP-15)', async () => {
  const { body } = await story.exchange({}, agent, { dpop: await proof({ content_digest: 'x' }) })
  assert.equal(body.token_type, 'N_A')
})

test('htu may have a query and a fragment (TV-79, DP-03)', async () => {
  for (const more of ['?x=1', '#there', '?']) {
    const dpop = await proof({ htu: `${ISSUER}/oauth2/token${more}` })
    assert.equal((await story.exchange({}, agent, { dpop })).status, 200, more)
  }
})

test('htu may name the standard port (TV-79, DP-03)', async (t) => {
  const there = await openHouse(t, { ISSUER: 'https://id.orbit.example' })
  const tale = await tellStory(there)
  await tale.delegate()
  const htu = 'https://ID.orbit.example:443/oauth2/token'
  const headers = await proving(key, there, { htu })
  const answer = await tale.exchange({}, tale.agent, headers)
  assert.equal(answer.status, 200, answer.text)
})

test('an audience that demands binding gets no unbound ID-JAG (DP-08)', async () => {
  const demand = (dpop_required: boolean) =>
    house.admin('PATCH', `/audiences/${story.audience.id}`, { dpop_required })
  await demand(true)
  const refused = [400, 'invalid_request', 'dpop_required'] as const
  await assertRefusal(house, () => story.exchange(), refused)
  const answer = await story.exchange({}, agent, { dpop: await proof() })
  await demand(false)
  assert.equal(answer.status, 200, answer.text)
})

test('giving up a refresh token takes no proof', async () => {
  const { refresh_token } = await story.signIn()
  const authentication = await clientAuthentication(house, agent)
  const fields = { token: refresh_token, ...authentication }
  const answer = await house.form('/oauth2/revoke', fields, { dpop: 'nonsense' })
  assert.equal(answer.status, 200, answer.text)
})

test('no proof is in the log (SE-11)', () => {
  const log = house.logs.join('\n')
  assert.ok(made.length > 40)
  for (const one of made) {
    for (const part of [one, ...one.split('.').slice(1)]) assert.ok(!log.includes(part))
  }
})
