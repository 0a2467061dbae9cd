import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { decodeJwt } from 'jose'
import { proveKey, provenBy } from '../../src/keys/proof.ts'
import { publicJwk, thumbprint } from '../../src/keys/public-jwk.ts'
import { signJws } from '../../src/oauth/jws.ts'
import { insertForeignKey } from '../support/foreign-key.ts'
import { openHouse } from '../support/house.ts'
import { asLesserRole } from '../support/lesser-role.ts'
import { assertOAuthError } from '../support/refusals.ts'
import { tellStory } from '../support/story.ts'
import { openRings } from './rings.ts'

const [NEW, OLD] = [randomBytes(32), randomBytes(32)]
const freshJwk = () =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })

function newKey() {
  const public_jwk = publicJwk(freshJwk(), 'ES256')
  return { kid: thumbprint(public_jwk), purpose: 'id_jag', alg: 'ES256', public_jwk } as const
}

test('a key is proved by the key encryption key that proved it, whatever else is at hand', () => {
  const key = newKey()
  const proof = proveKey([OLD], key)
  assert.match(proof, /^v1\.[0-9a-f]{12}\.[\w-]{43}$/)
  assert.equal(provenBy([NEW, OLD], { ...key, proof }), OLD)
  assert.equal(provenBy([NEW, OLD], { ...key, proof: proveKey([NEW, OLD], key) }), NEW)
  assert.equal(provenBy([NEW], { ...key, proof }), undefined)
  assert.throws(() => proveKey([], key), /KEY_ENCRYPTION_KEY is not set/)
})

test('the order and the number of members in the public key make no difference', () => {
  const key = newKey()
  const proof = proveKey([NEW], key)
  const turned = Object.fromEntries(Object.entries(key.public_jwk).reverse())
  assert.equal(provenBy([NEW], { ...key, proof, public_jwk: { ...turned, x5u: 'x' } }), NEW)
})

test('no proof is good for another key, purpose or algorithm, and none is made up', () => {
  const key = newKey()
  const proof = proveKey([NEW], key)
  const [version, id, mac = ''] = proof.split('.')
  for (const change of [
    newKey(),
    { purpose: 'id_token' },
    { purpose: 'seal' },
    { alg: 'RS256' },
    { kid: newKey().kid },
    { public_jwk: newKey().public_jwk },
    { public_jwk: {} },
    { public_jwk: { kty: 'oct', k: 'x' } },
    { proof: '' },
    { proof: mac },
    { proof: `${version}.${id}` },
    { proof: `${version}.${id}.` },
    { proof: `${version}.${id}.${mac.slice(4)}` },
    { proof: `${version}.${id}.${mac.replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))}` },
    { proof: `v2.${id}.${mac}` },
    { proof: `${version}.${'0'.repeat(12)}.${mac}` },
  ] as object[]) {
    const changed = { ...key, proof, ...change }
    assert.equal(provenBy([NEW, OLD], changed), undefined, JSON.stringify(change))
  }
})

test('a key that somebody inserted is not published, verifies nothing and is told of once', async (t) => {
  const house = await openHouse(t)
  const story = await tellStory(house)
  await story.delegate()
  const { id_token } = await story.signIn()
  const jwks = async () => (await house.inject({ url: '/.well-known/jwks.json' })).text
  const before = await jwks()
  const forged: string[] = []
  await asLesserRole(house.deps, async (lesser) => {
    for (const purpose of ['id_jag', 'id_token', 'seal'] as const) {
      const { kid, privateKey } = await insertForeignKey(lesser, { purpose, status: 'retired' })
      forged.push(kid)
      if (purpose !== 'id_token') continue
      await house.deps.keys.refresh()
      const subject_token = signJws({ typ: 'JWT', kid }, decodeJwt(id_token), 'ES256', privateKey)
      assertOAuthError(await story.exchange({ subject_token }), 400, 'invalid_grant')
    }
    await insertForeignKey(lesser, { purpose: 'id_jag', status: 'retired', public_jwk: '{}' })
  })
  await house.deps.keys.refresh()
  await house.deps.keys.refresh()
  assert.equal(await jwks(), before)
  for (const kid of forged) {
    for (const purpose of ['id_jag', 'id_token', 'seal'] as const) {
      assert.equal(house.deps.keys.verificationKey(purpose, kid), undefined)
    }
    const told = house.logs.filter((line) => line.includes(kid) && /it is ignored/.test(line))
    assert.equal(told.length, 1)
  }
  const { body } = await house.admin('GET', '/keys')
  const listed: { kid: string; proven: boolean }[] = body.data
  assert.deepEqual(
    listed.filter(({ kid }) => forged.includes(kid)).map(({ proven }) => proven),
    [false, false, false],
  )
  assert.equal((await story.exchange()).status, 200)
})

test('keys of other slots that somebody inserted keep no server from starting nor from rotating', async (t) => {
  const house = await openRings(t)
  const ring = await house.open()
  for (const status of ['active', 'next'] as const) {
    await insertForeignKey(house.db, { purpose: 'seal', status, alg: 'RS256', private_key: 'x' })
  }
  const again = await house.open()
  assert.equal(again.jwks().body, ring.jwks().body)
  assert.ok(again.ready())
  await assert.rejects(again.sign('seal', 'RS256', 'x', {}), /no active RS256 key/)
  house.wait(86_400)
  await again.rotate()
})

test('rewrapping proves every key anew under the newest key encryption key: the earlier one may go', async (t) => {
  const house = await openRings(t)
  const earlier = house.config.keyEncryptionKeys ?? []
  const ring = await house.open()
  const { kid } = await ring.sign('seal', 'ES256', 'audit-seal+jwt', {})
  const foreign = await insertForeignKey(house.db, { purpose: 'id_jag', status: 'retired' })
  const renewed = await house.open({ keyEncryptionKeys: [NEW, ...earlier] })
  // The keys that sign and will sign are opened under the earlier one still.
  house.wait(86_400)
  await renewed.rotate()
  await assert.rejects(house.open({ keyEncryptionKeys: [NEW] }), /newest first/)
  await renewed.rewrap()
  const alone = await house.open({ keyEncryptionKeys: [NEW] })
  assert.equal(alone.jwks().body, renewed.jwks().body)
  assert.ok(alone.verificationKey('seal', kid))
  assert.ok((await alone.sealKeys(house.db)).has(kid))
  assert.equal(alone.verificationKey('id_jag', foreign.kid), undefined)

  // A replica that has not heard of the new one goes on with what it knew.
  await ring.refresh()
  assert.ok(ring.verificationKey('seal', kid))
  assert.ok((await ring.sealKeys(house.db)).has(kid))
})
