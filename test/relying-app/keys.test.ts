// How a relying app keeps the keys of an issuer (DS-24), and where it has them from (IJ-51).
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import {
  type FetchDocument,
  IssuerUnavailable,
  trustIssuer,
} from '../../src/relying-app/verify-id-jag.ts'
import {
  asker,
  authMd,
  CLOCK,
  es256,
  HEADER,
  idJag,
  KEY,
  type Net,
  ORBIT,
  ORBIT_NET,
  ras,
  redeemed,
  refused,
  TV_05,
  verify,
} from './paperclip.ts'

const JWKS = `${ORBIT}/.well-known/jwks.json`
const METADATA = `${ORBIT}/.well-known/oauth-authorization-server`
const next = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const NEXT_KEY = { ...next.publicKey.export({ format: 'jwk' }), kid: 'next' }
const signs = { known: HEADER, unknown: { ...HEADER, kid: 'next' } }

/** An issuer that is asked for its key set alone, and how often it was. */
function open({ maxAge }: { maxAge?: number } = {}) {
  const net: Net = { ...ORBIT_NET }
  const { ask, asked } = asker(net, maxAge)
  const issuer = trustIssuer(ORBIT, { jwksUri: JWKS, ask })
  const find = async (header: typeof HEADER, now: number) =>
    (await issuer.findKey(header, CLOCK + now)) !== undefined
  return { net, asked, issuer, find }
}

test('a key set is asked for once, and where it was found is told', async () => {
  const { asked, issuer } = open()
  for (const now of [0, 1, 599]) {
    assert.equal((await issuer.findKey(signs.known, CLOCK + now))?.jwksUri, JWKS)
  }
  assert.deepEqual(asked, [JWKS])
})

test('it is kept as long as the issuer says, ten minutes at least and a day at most', async () => {
  const day = 24 * 60 * 60
  for (const [maxAge, life] of [
    [undefined, 600],
    [0, 600],
    [599, 600],
    [601, 601],
    [3600, 3600],
    [day - 1, day - 1],
    [10 * day, day],
  ] as const) {
    const { asked, find } = open(maxAge === undefined ? {} : { maxAge })
    await find(signs.known, 0)
    await find(signs.known, life - 1)
    assert.equal(asked.length, 1, `${maxAge}`)
    await find(signs.known, life)
    assert.equal(asked.length, 2, `${maxAge}`)
  }
})

test('a key that was taken back is not found any more once the copy is stale', async () => {
  const { net, find } = open()
  assert.equal(await find(signs.known, 0), true)
  net[JWKS] = { keys: [NEXT_KEY] }
  assert.equal(await find(signs.known, 599), true)
  assert.equal(await find(signs.known, 600), false)
})

test('an unknown kid makes it ask again, once in half a minute (TV-14)', async () => {
  const { net, asked, find } = open()
  assert.equal(await find(signs.unknown, 0), false)
  assert.equal(asked.length, 1, 'what was just fetched is not fetched again')
  for (const now of [1, 29]) assert.equal(await find(signs.unknown, now), false)
  assert.equal(asked.length, 1)
  assert.equal(await find(signs.unknown, 30), false)
  assert.equal(asked.length, 2)
  net[JWKS] = { keys: [KEY, NEXT_KEY] }
  assert.equal(await find(signs.unknown, 59), false)
  assert.equal(await find(signs.unknown, 60), true)
  assert.equal(await find(signs.known, 60), true)
  assert.equal(asked.length, 3)
})

test('a rotated key is found at once, by a token that names it', async () => {
  const { net, issuer } = open()
  const context = (after: number) =>
    ras({ issuers: [issuer], now: () => new Date((CLOCK + after) * 1000) })
  await redeemed(TV_05, context(0))
  net[JWKS] = { keys: [NEXT_KEY] }
  const signedByNext = idJag({}, { kid: 'next' }, es256(next.privateKey))
  await redeemed(signedByNext, context(30))
  assert.equal((await refused(TV_05, context(30))).error, 'invalid_grant')
})

test('many at once are one request', async () => {
  const { asked, find } = open()
  const found = await Promise.all(Array.from({ length: 20 }, () => find(signs.known, 0)))
  assert.ok(found.every(Boolean))
  await Promise.all(Array.from({ length: 20 }, () => find(signs.unknown, 31)))
  assert.equal(asked.length, 2)
})

test('an issuer that does not answer is left alone for five seconds, and blames nobody', async () => {
  const { net, asked, issuer, find } = open()
  net[JWKS] = undefined
  const at = (after: number) => ({
    issuers: [issuer],
    now: () => new Date((CLOCK + after) * 1000),
  })
  for (const context of [ras(at(0)), authMd(at(4))]) {
    const refusal = await refused(TV_05, context)
    assert.deepEqual(refusal, {
      ok: false,
      status: 503,
      error: 'temporarily_unavailable',
      error_description: 'The issuer cannot be reached',
      members: {},
      headers: { 'retry-after': '5' },
    })
  }
  assert.equal(asked.length, 1)
  net[JWKS] = ORBIT_NET[JWKS]
  assert.equal(await find(signs.known, 5), true)
  assert.equal(asked.length, 2)
})

test('known keys are found while the issuer does not answer, until they are stale', async () => {
  const { net, find } = open()
  await find(signs.known, 0)
  net[JWKS] = undefined
  await assert.rejects(find(signs.unknown, 30), IssuerUnavailable)
  assert.equal(await find(signs.known, 31), true)
  assert.equal(await find(signs.known, 599), true)
  await assert.rejects(find(signs.known, 600), IssuerUnavailable)
})

test('what is no key set is no answer', async () => {
  for (const document of [{}, { keys: 'x' }, { keys: ['x'] }]) {
    const { net, issuer } = open()
    net[JWKS] = document
    assert.equal((await refused(TV_05, ras({ issuers: [issuer] }))).status, 503)
    await assert.rejects(issuer.findKey(signs.known, CLOCK), ({ message, cause }: Error) => {
      assert.equal(message, `${JWKS} is not a key set`)
      return cause instanceof Error
    })
  }
})

test('a key of two kids, of another use or kind, or that is none, verifies nothing', async () => {
  const { x: _, ...broken } = KEY
  const sets = [
    [],
    [KEY, { ...NEXT_KEY, kid: KEY.kid }],
    [{ ...KEY, use: 'enc' }],
    [{ ...KEY, alg: 'ES384' }],
    [{ ...KEY, key_ops: ['sign'] }],
    [{ ...KEY, crv: 'P-384' }],
    [{ ...KEY, x: KEY.y }],
    [broken],
    [{ kty: 'oct', k: KEY.x, kid: KEY.kid }],
  ]
  for (const keys of sets) {
    const { net, issuer } = open()
    net[JWKS] = { keys }
    const { status, error } = await refused(TV_05, ras({ issuers: [issuer] }))
    assert.deepEqual([status, error], [400, 'invalid_grant'], JSON.stringify(keys))
  }
})

test('an algorithm outside the list is refused without a request, whatever keys there are', async () => {
  const { net, asked, issuer } = open()
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  net[JWKS] = { keys: [{ ...p384.publicKey.export({ format: 'jwk' }), kid: KEY.kid }] }
  for (const alg of ['ES512', 'none', 'HS256', 'es256', 'Ed448', 'PS384', '']) {
    const token = idJag({}, { alg }, es256(p384.privateKey))
    assert.equal((await refused(token, ras({ issuers: [issuer] }))).error, 'invalid_grant', alg)
  }
  assert.deepEqual(asked, [])
})

test('the key set is where the own metadata of the issuer say (IJ-51)', async () => {
  const elsewhere = 'https://keys.orbit.example/set?of=all'
  const net = {
    [METADATA]: { issuer: ORBIT, jwks_uri: elsewhere },
    [elsewhere]: { keys: [KEY] },
  }
  const { ask, asked } = asker(net)
  await redeemed(TV_05, ras({ issuers: [trustIssuer(ORBIT, { ask })] }))
  assert.deepEqual(asked, [METADATA, elsewhere])
})

test('the metadata of an issuer with a path are where RFC 8414 has them', async () => {
  const issuer = `${ORBIT}/tenants/blue`
  const metadata = `${METADATA}/tenants/blue`
  const { ask, asked } = asker({ ...ORBIT_NET, [metadata]: { issuer, jwks_uri: JWKS } })
  await redeemed(idJag({ iss: issuer }), ras({ issuers: [trustIssuer(issuer, { ask })] }))
  assert.deepEqual(asked, [metadata, JWKS])
})

test('metadata of another name, or without a usable jwks_uri, are of no use', async () => {
  for (const document of [
    { issuer: `${ORBIT}/`, jwks_uri: JWKS },
    { jwks_uri: JWKS },
    { issuer: ORBIT },
    { issuer: ORBIT, jwks_uri: [JWKS] },
    { issuer: ORBIT, jwks_uri: 'http://id.orbit.example/keys' },
    { issuer: ORBIT, jwks_uri: 'http://localhost/keys' },
    { issuer: ORBIT, jwks_uri: '/keys' },
  ]) {
    const { ask, asked } = asker({ ...ORBIT_NET, [METADATA]: document })
    const context = ras({ issuers: [trustIssuer(ORBIT, { ask })] })
    assert.equal((await refused(TV_05, context)).status, 503, JSON.stringify(document))
    assert.deepEqual(asked, [METADATA])
  }
})

test('an issuer that is no URL is noticed at once', () => {
  assert.throws(() => trustIssuer('orbit'), TypeError)
})

test("what the app's own parts throw is thrown, not answered", async () => {
  const broken = new Error('the store is down')
  const replay = { firstUse: () => Promise.reject(broken) }
  for (const context of [ras({ replay }), authMd({ replay })]) {
    await assert.rejects(verify(TV_05, context), broken)
  }
  const ask: FetchDocument = () => Promise.reject(broken)
  const issuers = [trustIssuer(ORBIT, { ask })]
  await assert.rejects(verify(TV_05, ras({ issuers })), broken)
})
