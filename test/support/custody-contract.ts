/** What every custody of private keys promises, whoever wrote it. */

import assert from 'node:assert/strict'
import { createPublicKey, randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { compactVerify, importJWK, type JWK } from 'jose'
import { type Custody, CustodyError, type HeldKey } from '../../src/keys/custody.ts'
import { thumbprint } from '../../src/keys/public-jwk.ts'
import { signingInputOf, verifyBytes } from '../../src/oauth/jws.ts'
import { SIGNING_ALGS, type SigningAlg } from '../../src/oauth/signing-alg.ts'

export type KeptKey = HeldKey & { public_jwk: Record<string, unknown> }

/** A new key, as the database would hold it. */
export async function makeKey(custody: Custody, alg: SigningAlg = 'ES256'): Promise<KeptKey> {
  const made = await custody.generate({ purpose: 'id_jag', alg })
  return { ...made, kid: thumbprint(made.public_jwk), purpose: 'id_jag', alg }
}

/** Judges a signature by what is published of the key. */
export async function assertSigns(custody: Custody, key: KeptKey): Promise<void> {
  const sign = await custody.open(key)
  const publicKey = createPublicKey({ key: key.public_jwk, format: 'jwk' })
  for (const input of [Buffer.alloc(0), Buffer.from('a'), randomBytes(5_000)]) {
    const signature = await sign(input)
    assert.ok(Buffer.isBuffer(signature))
    assert.ok(verifyBytes(key.alg, input, signature, publicKey), key.alg)
  }
  const text = signingInputOf({ kid: key.kid }, { sub: 'a' }, key.alg)
  const token = `${text}.${(await sign(Buffer.from(text))).toString('base64url')}`
  const { payload } = await compactVerify(token, await importJWK(key.public_jwk as JWK, key.alg))
  assert.equal(Buffer.from(payload).toString(), '{"sub":"a"}')
}

export type OpenIt = (t: TestContext) => Promise<Custody>

/**
 * `openIt` opens a place for keys that is empty, once for each test.
 * `ends`: whether a key is gone once it is destroyed, also for whoever still has its reference.
 */
export function keepsTheContract(openIt: OpenIt, { ends }: { ends: boolean }): void {
  for (const alg of SIGNING_ALGS) {
    test(`DS-27: a custody makes a key for ${alg}, which signs as its public key says`, async (t) => {
      const custody = await openIt(t)
      const key = await makeKey(custody, alg)
      const { kty, crv, n } = key.public_jwk
      const kind = { ES256: 'P-256', ES384: 'P-384', EdDSA: 'Ed25519', RS256: 256, PS256: 256 }[alg]
      assert.equal(kty === 'RSA' ? Buffer.from(String(n), 'base64url').length : crv, kind)
      assert.deepEqual(
        Object.keys(key.public_jwk).filter((name) => /^(d|p|q|dp|dq|qi|k|oth)$/.test(name)),
        [],
      )
      await assertSigns(custody, key)
    })
  }

  test('DS-27: the reference is one of this custody, and each key has its own', async (t) => {
    const custody = await openIt(t)
    assert.match(custody.name, /^[a-z0-9]+$/)
    const keys = [await makeKey(custody), await makeKey(custody)] as const
    assert.notEqual(keys[0].reference, keys[1].reference)
    assert.notEqual(keys[0].kid, keys[1].kid)
    for (const { reference } of keys) {
      const prefix = /^([a-z0-9]+):/.exec(reference)?.[1] ?? 'local'
      assert.equal(prefix, custody.name)
      assert.doesNotMatch(reference, /PRIVATE|"d"|[^\x21-\x7e]/)
    }
  })

  test('a key is opened as itself and as no other', async (t) => {
    const custody = await openIt(t)
    const [key, other] = [await makeKey(custody), await makeKey(custody)]
    await refused(custody.open({ ...key, kid: other.kid }))
    await refused(custody.open({ ...key, reference: other.reference }))
    await refused(custody.open({ ...key, reference: '' }))
    await refused(custody.open({ ...key, reference: `${key.reference}0` }))
    await refused(custody.open({ ...key, reference: key.reference.replace(/\w$/, flip) }))
    await assertSigns(custody, key)
  })

  test('a destroyed key is gone, and the others are not; it may be destroyed again', async (t) => {
    const custody = await openIt(t)
    const [key, other] = [await makeKey(custody), await makeKey(custody)]
    const sign = await custody.open(key)
    await custody.destroy(key)
    await custody.destroy(key)
    if (ends) {
      // What the database holds may have been written by somebody else.
      await refused(custody.destroy({ ...other, kid: key.kid }))
      await refused(custody.open(key))
      await refused(Promise.resolve(sign(Buffer.from('late'))))
    }
    await assertSigns(custody, other)
  })

  test('32 signatures at once, of keys of several kinds, are each by the right key', async (t) => {
    const custody = await openIt(t)
    const keys = [await makeKey(custody), await makeKey(custody), await makeKey(custody, 'RS256')]
    const signers = await Promise.all(keys.map((key) => custody.open(key)))
    const tried = Array.from({ length: 32 }, async (_, index) => {
      const at = index % keys.length
      const { alg, public_jwk } = keys[at] as KeptKey
      const input = randomBytes(1 + index)
      const signature = await signers[at]?.(input)
      const publicKey = createPublicKey({ key: public_jwk, format: 'jwk' })
      return signature !== undefined && verifyBytes(alg, input, signature, publicKey)
    })
    assert.ok((await Promise.all(tried)).every(Boolean))
  })

  test('a custody that was closed does nothing more, and may be closed again', async (t) => {
    const custody = await openIt(t)
    await custody.close()
    await custody.close()
    if (ends) await refused(custody.generate({ purpose: 'seal', alg: 'ES256' }))
  })
}

/** In words for the operator, that is with an error of ours. */
export async function refused(work: Promise<unknown>, says = /./): Promise<void> {
  await assert.rejects(work, (error: Error) => {
    assert.ok(error instanceof CustodyError || error.name === 'KeyEncryptionError', String(error))
    assert.match(error.message, says)
    return true
  })
}

const flip = (digit: string) => (digit === '0' ? '1' : '0')
