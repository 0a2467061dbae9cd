// Access tokens for the doors of the auth.md provider guide that are bound to a key (DP-09, DP-11).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import {
  askIdJag as ask,
  assertBearerError,
  assertRefusedHere,
  call,
  delegated,
  delegateToken,
  type Sent,
} from '../support/delegate.ts'
import { athOf, newDpopKey, proofBy } from '../support/dpop.ts'
import { openHouse } from '../support/house.ts'
import { tellStory } from '../support/story.ts'

const house = await openHouse({ after }, { DELEGATE_TOKENS: 'on' })
const { issuer } = house.config
const now = () => Math.floor(house.clock.now.getTime() / 1000)
const key = await newDpopKey()
const other = await newDpopKey()
const story = await tellStory(house)
await story.delegate()
const { access_token: token } = await delegateToken(story, { key })
const world = { story, token, body: { audience: story.audience.issuer, scope: 'docs.read' } }
const proof = (changes: object = {}, by = key) =>
  proofBy(by, house, { htu: `${issuer}/id-jag`, ath: athOf(token), ...changes })

test('is taken with a proof by that key, and binds the ID-JAG to it (DP-07, DP-09)', async () => {
  const answer = await ask(world, {}, { key })
  assert.equal(answer.status, 200, answer.text)
  assert.deepEqual(decodeJwt(answer.body.assertion).cnf, { jkt: key.jkt })
  assert.equal((await call(house, 'GET', '/grants', { token, key })).status, 200)
})

const KEY = [401, 'unauthorized', 'wrong_dpop_key'] as const
const PROOF = [401, 'invalid_dpop_proof', 'bad_dpop_proof'] as const
const CASES: [string, () => Promise<Partial<Sent>>, readonly [number, string, string]][] = [
  ['as a bearer token', async () => ({}), KEY],
  ['as a bearer token with a proof', async () => ({ scheme: 'Bearer', dpop: await proof() }), KEY],
  ['without a proof', async () => ({ scheme: 'DPoP' }), KEY],
  ['with a proof by another key', async () => ({ key: other }), KEY],
  ['with the proof of another path', () => odd({ htu: `${issuer}/grants` }), PROOF],
  ['with a proof for the token endpoint', () => odd({ htu: `${issuer}/oauth2/token` }), PROOF],
  ['with the proof of another method', () => odd({ htm: 'GET' }), PROOF],
  ['with the proof of another token', () => odd({ ath: athOf('x') }), PROOF],
  ['with a proof of no token', () => odd({ ath: undefined }), PROOF],
  ['with an old proof', () => odd({ iat: now() - 300 }), PROOF],
  ['with two proofs', async () => ({ dpop: `${await proof()}, ${await proof()}` }), PROOF],
]
const odd = async (changes: object) => ({ scheme: 'DPoP', dpop: await proof(changes) })
for (const [what, make, expected] of CASES) {
  test(`is refused ${what} (DP-11)`, async () => {
    const sent = { scheme: 'DPoP', ...(await make()) }
    if (what === 'as a bearer token') sent.scheme = 'Bearer'
    const answer = await assertRefusedHere(house, () => ask(world, {}, sent), expected)
    assert.match(String(answer.headers['www-authenticate']), /^DPoP realm="agent-idp", algs="/)
  })
}

test('a proof counts once at these doors, also of two requests at once (DP-05)', async () => {
  const dpop = await proof()
  const sent = { scheme: 'DPoP', dpop }
  const both = await Promise.all([ask(world, {}, sent), ask(world, {}, sent)])
  assert.deepEqual(both.map(({ status }) => status).sort(), [200, 401])
  const replay = [401, 'invalid_dpop_proof', 'replayed_dpop_proof'] as const
  await assertRefusedHere(house, () => ask(world, {}, sent), replay)
  const htu = `${issuer}/grants`
  const listing = { token, scheme: 'DPoP', dpop: await proof({ htu, htm: 'GET' }) }
  assert.equal((await call(house, 'GET', '/grants', listing)).status, 200)
  await assertRefusedHere(house, () => call(house, 'GET', '/grants', listing), replay)
})

test('no other token is one, whatever the proof', async () => {
  const { access_token: plain } = await delegateToken(story)
  const sent = { ...world, token: plain }
  await assertRefusedHere(house, () => ask(sent, {}, { key }), KEY)
})

test('a proof beside a bearer token binds the ID-JAG, as at the token endpoint (DP-07)', async () => {
  const { access_token: plain } = await delegateToken(story)
  const dpop = await proof({ ath: athOf(plain) })
  const answer = await ask({ ...world, token: plain }, {}, { scheme: 'Bearer', dpop })
  assert.equal(answer.status, 200, answer.text)
  assert.deepEqual(decodeJwt(answer.body.assertion).cnf, { jkt: key.jkt })
})

test('an agent that has to bind its tokens is refused without a proof (DP-08)', async () => {
  const of = await delegated(house)
  const path = `/agents/${of.story.agent.id}`
  await house.admin('PATCH', path, { dpop_bound_access_tokens: true })
  await assertRefusedHere(house, () => ask(of), [401, 'invalid_dpop_proof', 'no_dpop_proof'])
})

test('with nonces a proof needs one, and is told which (DP-06, RFC 9449 §9)', async (t) => {
  const strict = await openHouse(t, { DELEGATE_TOKENS: 'on', DPOP_NONCES: 'on' })
  const there = await delegated(strict)
  const access_token = there.token
  const [{ id }] = (await call(strict, 'GET', '/grants', { token: access_token })).body.grants
  const send = async (
    nonce: string | undefined,
    method: 'POST' | 'DELETE',
    path: string,
    body?: object,
  ) => {
    const htu = `${issuer}${path}`
    const of = { htm: method, htu, ath: athOf(access_token), nonce }
    const dpop = await proofBy(key, strict, of)
    return call(strict, method, path, { token: access_token, dpop }, body)
  }
  const refused = await send(undefined, 'POST', '/id-jag', there.body)
  assertBearerError(refused, 401, 'use_dpop_nonce')
  const nonce = String(refused.headers['dpop-nonce'])
  assert.match(String(refused.headers['www-authenticate']), /^DPoP .*error="use_dpop_nonce"/)
  const better = await send(nonce, 'POST', '/id-jag', there.body)
  assert.equal(better.status, 200, better.text)
  assert.equal(better.headers['dpop-nonce'], undefined)
  // The one before is good for a while, and the answer brings the next, whatever it says.
  strict.wait(150)
  const other = { ...there.body, scope: 'docs.write' }
  for (const [status, answer] of [
    [200, await send(nonce, 'POST', '/id-jag', there.body)],
    [403, await send(nonce, 'POST', '/id-jag', other)],
    [202, await send(nonce, 'POST', '/grants', other)],
    [404, await send(nonce, 'DELETE', '/grants/dlg_x')],
    [204, await send(nonce, 'DELETE', `/grants/${id}`)],
  ] as const) {
    assert.equal(answer.status, status, answer.text)
    assert.notEqual(answer.headers['dpop-nonce'] ?? nonce, nonce)
  }
})
