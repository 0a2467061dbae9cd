/** What a ring takes for a token of its own server: asked of at every door that such a token opens. */

import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import type { KeyPurpose } from '../../src/db/tables.ts'
import { decodeJws, signJws } from '../../src/oauth/jws.ts'
import { TYP } from '../../src/oauth/names.ts'
import { numericDate } from '../../src/oauth/numeric-date.ts'
import type { SigningAlg } from '../../src/oauth/signing-alg.ts'
import type { Ring, Rings } from './ring-rows.ts'
import { openRings } from './rings.ts'

const AUDIENCE = 'https://here.example/door'
const MARGIN = 10
const SKEW = 5

type Signing = { purpose?: KeyPurpose; alg?: SigningAlg; typ?: string }

/** Signs an access token for AUDIENCE, but for what is odd about it. */
const createSign =
  (house: Rings, ring: Ring) =>
  async (
    changes: Record<string, unknown> = {},
    { purpose = 'id_token', alg = 'ES256', typ = TYP.accessToken }: Signing = {},
  ) => {
    const now = numericDate(house.clock.now)
    const times = { iat: now, exp: now + 300 }
    const claims = { iss: house.config.issuer, aud: AUDIENCE, sub: 'usr_1', ...times, ...changes }
    return (await ring.sign(purpose, alg, typ, claims)).jws
  }

async function openSigned(t: Parameters<typeof openRings>[0]) {
  const house = await openRings(t)
  const ring = await house.open({}, false)
  const sign = createSign(house, ring)
  const now = () => numericDate(house.clock.now)
  return { house, ring, sign, now }
}

test('an access token of ours is taken for what it is, by any algorithm (RFC 9068 §4)', async (t) => {
  const { ring, sign, now } = await openSigned(t)
  for (const alg of ['ES256', 'RS256', 'EdDSA'] as const) {
    const claims = await ring.verifyAccessToken(AUDIENCE, await sign({}, { alg }))
    assert.equal(claims?.sub, 'usr_1', alg)
  }
  for (const changes of [{ exp: now() + 1 }, { iat: now() + SKEW }, { iat: now() - 300 }]) {
    const token = await sign(changes)
    assert.ok(await ring.verifyAccessToken(AUDIENCE, token), JSON.stringify(changes))
  }
})

test('what is wrong with its claims makes it none: issuer, audience, end and beginning', async (t) => {
  const { house, ring, sign, now } = await openSigned(t)
  const { issuer } = house.config
  const own = new Set(['iss'])
  for (const changes of [
    { iss: 'https://other.example' },
    { iss: `${issuer}/` },
    { iss: undefined },
    { iss: [issuer] },
    { aud: issuer },
    { aud: 'https://other.example' },
    { aud: `${AUDIENCE}/` },
    { aud: [AUDIENCE] },
    { aud: undefined },
    { exp: now() },
    { exp: now() - 1 },
    { exp: String(now() + 300) },
    { exp: undefined },
    { iat: now() + SKEW + 1 },
    { iat: String(now()) },
    { iat: undefined },
  ]) {
    const what = JSON.stringify(changes)
    const [name = ''] = Object.keys(changes)
    const token = await sign(changes)
    assert.equal(await ring.verifyAccessToken(AUDIENCE, token), undefined, what)
    // Of other tokens their own readers ask for the rest; an ID token that is over may still be a hint.
    assert.equal((await ring.verifyOwn(TYP.accessToken, token)) === undefined, own.has(name), what)
  }
})

test('a token of another kind, by a key of another purpose or of nobody here is none (RFC 8725 §3.11)', async (t) => {
  const { house, ring, sign } = await openSigned(t)
  const good = await sign()
  const { header, payload } = decodeJws(good) ?? assert.fail()
  const [head, body, signature] = good.split('.')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const theirs = (changes: object) =>
    signJws({ ...header, ...changes }, payload, 'ES256', privateKey)
  const other = await house.open({}, false)
  const otherKid = (await other.sign('id_jag', 'ES256', TYP.accessToken, {})).kid
  const byRsa = (await ring.sign('id_token', 'RS256', TYP.accessToken, {})).kid
  const none: [string, string][] = [
    ['an ID token', await sign({}, { typ: TYP.idToken })],
    ['a typ in other letters', await sign({}, { typ: 'AT+JWT' })],
    ['an empty typ', await sign({}, { typ: '' })],
    ['no typ', (await ring.sign('id_token', 'ES256', undefined as never, payload)).jws],
    ['a key for ID-JAGs', await sign({}, { purpose: 'id_jag' })],
    ['a key for seals', await sign({}, { purpose: 'seal' })],
    ['an unknown kid', theirs({ kid: 'unknown' })],
    ['no kid', theirs({ kid: undefined })],
    ['a kid that is no text', theirs({ kid: 7 })],
    ['somebody else, under our kid', theirs({})],
    ['somebody else, under the kid of a key for ID-JAGs', theirs({ kid: otherKid })],
    ['somebody else, under the kid of another algorithm', theirs({ kid: byRsa })],
    ['no signature', `${head}.${body}.`],
    [
      'a signature of something else',
      `${head}.${(await sign({ sub: 'x' })).split('.')[1]}.${signature}`,
    ],
    ['nonsense', 'a.b.c'],
  ]
  for (const [what, token] of none) {
    assert.equal(await ring.verifyOwn(TYP.accessToken, token), undefined, what)
    assert.equal(await ring.verifyAccessToken(AUDIENCE, token), undefined, what)
  }
  const idToken = await sign({}, { typ: TYP.idToken })
  assert.ok(await ring.verifyOwn(TYP.idToken, idToken))
  assert.equal(await ring.verifyOwn(TYP.idToken, good), undefined)
})

test('a dropped key takes its tokens along, here at once and elsewhere once that has asked (DS-26)', async (t) => {
  const { house, ring: here, sign } = await openSigned(t)
  const there = await house.open({}, false)
  const token = await sign({ exp: 2 ** 32 })
  const { header } = decodeJws(token) ?? assert.fail()
  assert.ok(await there.verifyAccessToken(AUDIENCE, token))
  await here.drop(String(header.kid))
  assert.equal(await here.verifyAccessToken(AUDIENCE, token), undefined)
  house.wait(MARGIN + 1)
  assert.equal(await there.verifyAccessToken(AUDIENCE, token), undefined)
  // And the key that signs now is known as soon as it has.
  const fresh = await sign()
  assert.ok(await there.verifyAccessToken(AUDIENCE, fresh))
})

test('while the database is away nothing is taken on the word of keys that are too old', async (t) => {
  const { house, ring, sign } = await openSigned(t)
  const token = await sign()
  await house.away()
  assert.ok(await ring.verifyAccessToken(AUDIENCE, token))
  house.wait(MARGIN + 1)
  await assert.rejects(ring.verifyAccessToken(AUDIENCE, token))
  await assert.rejects(ring.verifyOwn(TYP.accessToken, token))
  await house.back()
})
