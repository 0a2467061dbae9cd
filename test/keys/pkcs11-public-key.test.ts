import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { CKK_EC, CKK_EC_EDWARDS, CKK_RSA } from '../../src/keys/cryptoki.ts'
import { CustodyError } from '../../src/keys/custody.ts'
import { jwkOf } from '../../src/keys/pkcs11-public-key.ts'

const P256 = Buffer.from('06082a8648ce3d030107', 'hex')
const P384 = Buffer.from('06052b81040022', 'hex')
const ED25519_NAME = Buffer.from('130c656477617264733235353139', 'hex')
const ED25519_OID = Buffer.from('06032b6570', 'hex')

const jwk = (key: KeyObject) => key.export({ format: 'jwk' })
const bytes = (text: string | undefined) => Buffer.from(text ?? '', 'base64url')
/** A DER OCTET STRING. */
const wrapped = (point: Buffer) => Buffer.concat([Buffer.of(4, point.length), point])

test('a point is read as the standard writes it, and as modules do', () => {
  for (const [namedCurve, ecParams] of [
    ['P-256', P256],
    ['P-384', P384],
  ] as const) {
    const key = jwk(generateKeyPairSync('ec', { namedCurve }).publicKey)
    const point = Buffer.concat([Buffer.of(4), bytes(key.x), bytes(key.y)])
    for (const ecPoint of [point, wrapped(point)]) {
      assert.deepEqual(jwkOf({ keyType: CKK_EC, ecParams, ecPoint }), key)
    }
  }
  const key = jwk(generateKeyPairSync('ed25519').publicKey)
  for (const ecParams of [ED25519_NAME, ED25519_OID]) {
    for (const ecPoint of [bytes(key.x), wrapped(bytes(key.x))]) {
      assert.deepEqual(jwkOf({ keyType: CKK_EC_EDWARDS, ecParams, ecPoint }), key)
    }
  }
})

test('numbers of an RSA key have no leading zeros, whatever the token says', () => {
  const key = jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey)
  for (const zeros of [0, 1, 8]) {
    const padded = (number: string | undefined) =>
      Buffer.concat([Buffer.alloc(zeros), bytes(number)])
    const read = jwkOf({ keyType: CKK_RSA, modulus: padded(key.n), publicExponent: padded(key.e) })
    assert.deepEqual(read, { kty: 'RSA', n: key.n, e: key.e })
  }
})

test('other keys are refused', () => {
  const key = jwk(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey)
  const point = Buffer.concat([Buffer.of(4), bytes(key.x), bytes(key.y)])
  const ec = { keyType: CKK_EC, ecParams: P256, ecPoint: point }
  const compressed = Buffer.concat([Buffer.of(2), bytes(key.x)])
  const cases = [
    { ...ec, keyType: CKK_EC_EDWARDS },
    { ...ec, keyType: CKK_RSA },
    { ...ec, keyType: 0x1f },
    { ...ec, ecParams: P384 },
    { ...ec, ecParams: ED25519_OID },
    { ...ec, ecParams: Buffer.alloc(0) },
    { keyType: CKK_EC, ecPoint: point },
    { keyType: CKK_EC, ecParams: P256 },
    { ...ec, ecPoint: point.subarray(1) },
    { ...ec, ecPoint: compressed },
    { ...ec, ecPoint: wrapped(compressed) },
    { ...ec, ecPoint: Buffer.concat([Buffer.of(6), point.subarray(1)]) },
    { ...ec, ecPoint: Buffer.concat([Buffer.of(3, point.length), point]) },
    { ...ec, ecPoint: Buffer.concat([Buffer.of(4, 64), point]) },
    { keyType: CKK_RSA, modulus: Buffer.of(1) },
    { keyType: CKK_RSA, publicExponent: Buffer.of(1) },
    { keyType: CKK_EC_EDWARDS, ecParams: ED25519_OID, ecPoint: Buffer.alloc(31) },
    { keyType: CKK_EC_EDWARDS, ecParams: ED25519_OID },
  ]
  for (const one of cases) assert.throws(() => jwkOf(one), CustodyError, JSON.stringify(one))
})

test('whatever a token says of a key, it is read or refused', () => {
  const some = fc.option(fc.uint8Array().map(Buffer.from), { nil: undefined })
  const params = fc.oneof(fc.constantFrom(P256, P384, ED25519_NAME, ED25519_OID), some)
  const key = fc.record({ keyType: fc.nat(70), ecParams: params, ecPoint: some, modulus: some })
  fc.assert(
    fc.property(key, some, ({ keyType, ...rest }, publicExponent) => {
      const present = Object.entries({ ...rest, publicExponent }).filter(([, value]) => value)
      try {
        assert.ok(jwkOf({ keyType, ...Object.fromEntries(present) }).kty)
      } catch (error) {
        assert.ok(error instanceof CustodyError, String(error))
      }
    }),
  )
})
