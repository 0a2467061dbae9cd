import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import {
  KeyEncryptionError,
  openPrivateKey,
  sealPrivateKey,
} from '../../src/keys/private-key-envelope.ts'
import { publicJwk, thumbprint } from '../../src/keys/public-jwk.ts'

const kek = randomBytes(32)
const row = { kid: 'a'.repeat(43), purpose: 'id_jag', alg: 'ES256' } as const
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

test('opens in the row it was sealed for, under any key encryption key still set', () => {
  const earlier = sealPrivateKey([kek], row, privateKey)
  assert.ok(openPrivateKey([kek], row, earlier).equals(privateKey))
  const newer = randomBytes(32)
  assert.ok(openPrivateKey([newer, kek], row, earlier).equals(privateKey))
  const later = sealPrivateKey([newer, kek], row, privateKey)
  assert.ok(openPrivateKey([newer], row, later).equals(privateKey))
  assert.throws(() => openPrivateKey([kek], row, later), KeyEncryptionError)
})

test('a value moved to another row does not open', () => {
  const sealed = sealPrivateKey([kek], row, privateKey)
  for (const other of [{ kid: 'b'.repeat(43) }, { purpose: 'seal' as const }, { alg: 'RS256' }]) {
    assert.throws(() => openPrivateKey([kek], { ...row, ...other }, sealed), /changed or damaged/)
  }
})

test('a changed, cut or swapped value does not open', () => {
  const sealed = sealPrivateKey([kek], row, privateKey)
  const parts = sealed.split('.')
  const [version, id, nonce, text] = parts as [string, string, string, string]
  assert.equal(parts.length, 4)
  const bytes = Buffer.from(text, 'base64url')
  for (let at = 0; at < bytes.length; at += 5) {
    const changed = Buffer.from(bytes)
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
    const value = [version, id, nonce, changed.toString('base64url')].join('.')
    assert.throws(() => openPrivateKey([kek], row, value), KeyEncryptionError)
  }
  const { 2: otherNonce } = sealPrivateKey([kek], row, privateKey).split('.')
  const hostile = [
    '',
    'v1',
    `v1.${id}`,
    `v1.${id}..`,
    `v1.${id}.${nonce}.`,
    `v1.${id}.${nonce}.${bytes.subarray(0, 8).toString('base64url')}`,
    `v1.${id}.${nonce}.${bytes.subarray(0, -1).toString('base64url')}`,
    `v1.${id}.${otherNonce}.${text}`,
    `v2.${id}.${nonce}.${text}`,
  ]
  for (const value of hostile) {
    assert.throws(() => openPrivateKey([kek], row, value), KeyEncryptionError, value)
  }
})

test('says which key is missing, and gives away neither key', () => {
  const sealed = sealPrivateKey([kek], row, privateKey)
  assert.throws(
    () => openPrivateKey([randomBytes(32)], row, sealed),
    (error: Error) => {
      assert.match(error.message, /KEY_ENCRYPTION_KEY/)
      assert.ok(error.message.includes(row.kid))
      assert.ok(!error.message.includes(kek.toString('base64').slice(0, 20)))
      return error instanceof KeyEncryptionError
    },
  )
  assert.throws(() => sealPrivateKey([], row, privateKey), /KEY_ENCRYPTION_KEY is not set/)
})

test('the same key never seals to the same text', () => {
  const texts = Array.from({ length: 50 }, () => sealPrivateKey([kek], row, privateKey))
  assert.equal(new Set(texts).size, 50)
})

test('kid is the RFC 7638 thumbprint, and only public members are shown (TV-02, TV-04)', () => {
  const ec = {
    kty: 'EC',
    crv: 'P-256',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  }
  assert.deepEqual(publicJwk({ ...ec, d: 'secret', use: 'enc' }, 'ES256'), {
    ...ec,
    kid: 'oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U',
    use: 'sig',
    alg: 'ES256',
  })
  const rsa = {
    kty: 'RSA',
    n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
    e: 'AQAB',
    alg: 'RS256',
    kid: '2011-04-29',
  }
  assert.equal(thumbprint(rsa), 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
  assert.throws(() => thumbprint({ kty: 'oct', k: 'AA' }), TypeError)
})
