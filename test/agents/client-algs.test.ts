// What others may sign with is less than what we sign with: ES256, RS256 and EdDSA.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readPublicJwk } from '../../src/agents/public-jwk.ts'
import { importKey, keysOf } from '../../src/http/published-keys.ts'
import { readDpopKey } from '../../src/oauth/dpop-key.ts'
import { decodeJws, signJws, verifyJws } from '../../src/oauth/jws.ts'
import { makeKeys } from '../oauth/jws-keys.ts'

const keys = makeKeys()
const jwkOf = (alg: keyof typeof keys) => ({ ...keys[alg].publicKey.export({ format: 'jwk' }) })

for (const alg of ['PS256', 'ES384'] as const) {
  test(`a published key for ${alg} is none, for client or issuer`, () => {
    const jwk = { ...jwkOf(alg), alg, use: 'sig', kid: 'k' }
    assert.equal(importKey(jwk, 'k'), undefined)
    assert.deepEqual(keysOf({ keys: [jwk] }), [])
  })

  test(`a key for ${alg} is not registered`, async () => {
    const registered = readPublicJwk('/jwk', { ...jwkOf(alg), alg })
    await assert.rejects(registered, { code: 'validation_failed' })
  })

  test(`a DPoP proof is not by ${alg}`, () => {
    assert.deepEqual(readDpopKey(alg, jwkOf(alg)), { refused: 'wrong_alg' })
    assert.deepEqual(readDpopKey(alg, { ...jwkOf(alg), alg }), { refused: 'wrong_alg' })
  })
}

test('an RSA key of a client verifies RS256 alone', () => {
  const found = importKey(jwkOf('RS256'), undefined)
  assert.equal(found?.alg, 'RS256')
  for (const [alg, good] of [
    ['RS256', true],
    ['PS256', false],
  ] as const) {
    const jws = decodeJws(signJws({}, { sub: 'agt_1' }, alg, keys.RS256.privateKey))
    assert.ok(jws)
    assert.equal(verifyJws(jws, found.alg, found.key), good)
  }
})

test('a P-384 key is none, whatever it says it is for', async () => {
  for (const alg of [undefined, 'ES256', 'ES384', 'EdDSA']) {
    const jwk = alg === undefined ? jwkOf('ES384') : { ...jwkOf('ES384'), alg }
    assert.equal(importKey(jwk, undefined), undefined)
    assert.deepEqual(readDpopKey('ES256', jwk), { refused: 'unusable_key' })
    await assert.rejects(readPublicJwk('/jwk', jwk), { code: 'validation_failed' })
  }
})
