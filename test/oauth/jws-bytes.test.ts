// Signing and verifying bytes, for keys that are here and for keys that are elsewhere.
import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { compactVerify } from 'jose'
import { signBytes, signingInputOf, signJws, verifyBytes } from '../../src/oauth/jws.ts'
import { SIGNING_ALGS, type SigningAlg } from '../../src/oauth/signing-alg.ts'
import { makeKeys, otherSignature } from './jws-keys.ts'

const keys = makeKeys()
const alg = fc.constantFrom(...SIGNING_ALGS)
const bytes = fc.uint8Array({ maxLength: 400 }).map((octets) => Buffer.from(octets))
const LENGTH = { ES256: 64, RS256: 256, EdDSA: 64, PS256: 256, ES384: 96 }

const accepts = (by: SigningAlg, input: Buffer, signature: Buffer, key = keys[by].publicKey) =>
  verifyBytes(by, input, signature, key)

test('what is signed here verifies, and what OpenSSL signs in its own way', () => {
  fc.assert(
    fc.property(alg, bytes, (by, input) => {
      const signature = signBytes(by, input, keys[by].privateKey)
      assert.equal(signature.length, LENGTH[by])
      assert.equal(accepts(by, input, signature), true)
      assert.equal(accepts(by, input, otherSignature(by, input, keys[by].privateKey)), true)
    }),
  )
})

test('a signature is good for its input, its algorithm and its key, and for no other', () => {
  const others = makeKeys()
  fc.assert(
    fc.property(alg, alg, bytes, bytes, (by, other, input, another) => {
      const signature = signBytes(by, input, keys[by].privateKey)
      assert.equal(accepts(by, another, signature), another.equals(input))
      assert.equal(accepts(by, input, signature, others[by].publicKey), false)
      assert.equal(accepts(other, input, signature, keys[by].publicKey), other === by)
      assert.equal(accepts(other, input, signature), other === by)
    }),
  )
})

test('cut or lengthened by as little as a byte it is no signature', () => {
  fc.assert(
    fc.property(alg, bytes, fc.uint8Array({ minLength: 1, maxLength: 64 }), (by, input, more) => {
      const signature = signBytes(by, input, keys[by].privateKey)
      for (const hostile of [
        signature.subarray(0, -1),
        signature.subarray(1),
        signature.subarray(0, -more.length),
        signature.subarray(more.length),
        Buffer.concat([signature, more]),
        Buffer.concat([Buffer.alloc(more.length), signature]),
        Buffer.alloc(signature.length),
        Buffer.alloc(0),
      ]) {
        assert.equal(accepts(by, input, hostile), false)
      }
    }),
  )
})

test('an RSA key verifies with the padding that its record says, not with the other', () => {
  const { publicKey, privateKey } = keys.RS256
  fc.assert(
    fc.property(bytes, (input) => {
      for (const [by, other] of [
        ['RS256', 'PS256'],
        ['PS256', 'RS256'],
      ] as const) {
        const signature = signBytes(by, input, privateKey)
        assert.equal(verifyBytes(by, input, signature, publicKey), true)
        assert.equal(verifyBytes(other, input, signature, publicKey), false)
      }
    }),
    { numRuns: 20 },
  )
})

test('a PS256 signature has a salt of 32 bytes', () => {
  const input = Buffer.from('the input')
  const { privateKey } = keys.PS256
  for (const length of [0, 1, 20, 31, 32, 33, 48, 64, 222]) {
    const signature = otherSignature('PS256', input, privateKey, length)
    assert.equal(accepts('PS256', input, signature), length === 32, `${length}`)
  }
})

test('a PS256 signature is made with SHA-256, and so is its mask', () => {
  const saltLength = 32
  const input = Buffer.from('the input')
  for (const [hashAlgorithm, mgf1HashAlgorithm, good] of [
    ['sha256', 'sha256', true],
    ['sha256', 'sha1', false],
    ['sha1', 'sha256', false],
    ['sha512', 'sha512', false],
    ['sha256', 'sha384', false],
  ] as const) {
    const pss = generateKeyPairSync('rsa-pss', {
      modulusLength: 2048,
      hashAlgorithm,
      mgf1HashAlgorithm,
      // A number, whatever its type says.
      saltLength: saltLength as unknown as string,
    })
    const signature = sign(hashAlgorithm, input, { key: pss.privateKey, saltLength })
    const itself = { key: pss.publicKey, saltLength }
    assert.equal(verify(hashAlgorithm, input, itself, signature), true)
    // The same modulus in a key that says nothing of hashes: the end of the SPKI is the PKCS#1 form.
    const pkcs1 = pss.publicKey.export({ type: 'spki', format: 'der' }).subarray(-270)
    const key = createPublicKey({ key: pkcs1, format: 'der', type: 'pkcs1' })
    assert.equal(verifyBytes('PS256', input, signature, key), good, mgf1HashAlgorithm)
    assert.equal(verifyBytes('PS256', input, signature, pss.publicKey), false)
  }
})

test('an RSA signature is as long as its modulus, leading zeros and all', () => {
  for (const by of ['RS256', 'PS256'] as const) {
    const { privateKey } = keys[by]
    let count = 0
    let input: Buffer = Buffer.alloc(0)
    let signature: Buffer = Buffer.alloc(1, 1)
    while (signature[0] !== 0) {
      input = Buffer.from(`input ${count++}`)
      signature = signBytes(by, input, privateKey)
    }
    assert.equal(accepts(by, input, signature), true)
    // OpenSSL alone would take the second of these for PS256.
    assert.equal(accepts(by, input, Buffer.concat([Buffer.alloc(1), signature])), false)
    assert.equal(accepts(by, input, signature.subarray(1)), false)
  }
})

test('an RSA key of 2048 bits at the least, of whatever size beyond', () => {
  const input = Buffer.from('the input')
  for (const modulusLength of [1024, 2040, 2048, 2056, 3072]) {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength })
    for (const by of ['RS256', 'PS256'] as const) {
      const signature = otherSignature(by, input, privateKey)
      assert.equal(verifyBytes(by, input, signature, publicKey), modulusLength >= 2048)
      if (modulusLength < 2048) {
        assert.throws(() => signBytes(by, input, privateKey), TypeError)
      }
    }
  }
})

test('reproduces the Ed25519 signature of RFC 8037 A.4', () => {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }
  const d = 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A'
  const input = Buffer.from('eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc')
  const signature = signBytes(
    'EdDSA',
    input,
    createPrivateKey({ key: { ...jwk, d }, format: 'jwk' }),
  )
  assert.equal(
    signature.toString('base64url'),
    'hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg',
  )
  const key = createPublicKey({ key: jwk, format: 'jwk' })
  assert.equal(verifyBytes('EdDSA', input, signature, key), true)
})

test('signed elsewhere or here, it is the same token', async () => {
  const json = fc.dictionary(fc.string(), fc.jsonValue())
  await fc.assert(
    fc.asyncProperty(alg, json, json, async (by, named, payload) => {
      const header = { kid: JSON.stringify(named), alg: 'none', typ: 'JWT' }
      const input = signingInputOf(header, payload, by)
      const signature = otherSignature(by, input, keys[by].privateKey).toString('base64url')
      const verified = await compactVerify(`${input}.${signature}`, keys[by].publicKey)
      assert.deepEqual(verified.protectedHeader, { ...header, alg: by })
      assert.equal(new TextDecoder().decode(verified.payload), JSON.stringify(payload))
      const here = signJws(header, payload, by, keys[by].privateKey)
      assert.equal(here.slice(0, here.lastIndexOf('.')), input)
      if (by === 'RS256' || by === 'EdDSA') assert.equal(here, `${input}.${signature}`)
    }),
  )
})
