import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { derSignature, rawSignature } from '../../src/oauth/ecdsa-signature.ts'

const SIZES = [32, 48] as const

/** Of r, or of s: with any number of zeros in front, and the high bit set or not. */
const scalar = (size: number) =>
  fc
    .tuple(fc.nat(size - 1), fc.uint8Array({ minLength: size, maxLength: size }))
    .map(([zeros, bytes]) => Buffer.from(bytes).fill(0, 0, zeros))

for (const size of SIZES) {
  test(`${2 * size} bytes come back from DER as they were`, () => {
    fc.assert(
      fc.property(scalar(size), scalar(size), (r, s) => {
        const raw = Buffer.concat([r, s])
        const der = derSignature(raw, size)
        assert.ok(der)
        assert.deepEqual(rawSignature(der, size), raw)
        assert.deepEqual(readDer(der), [integer(r), integer(s)])
      }),
    )
  })

  test(`what is not ${2 * size} bytes long is no signature`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const der = derSignature(Buffer.from(bytes), size)
        assert.equal(der !== undefined, bytes.length === 2 * size)
      }),
    )
    for (const length of [2 * size - 1, 2 * size + 1]) {
      assert.equal(derSignature(Buffer.alloc(length, 1), size), undefined)
    }
  })
}

const integer = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`)

/** X.690 §10: lengths in the short form, integers positive and without a needless byte. */
function readDer(der: Buffer): bigint[] {
  assert.deepEqual([der[0], der[1]], [0x30, der.length - 2])
  assert.ok(der.length - 2 < 0x80)
  const integers = []
  for (let at = 2; at < der.length; ) {
    const [tag, length = 0] = der.subarray(at)
    const bytes = der.subarray(at + 2, at + 2 + length)
    assert.equal(tag, 0x02)
    assert.equal(bytes.length, length)
    assert.ok((bytes[0] ?? 0x80) < 0x80)
    assert.ok(bytes[0] !== 0 || bytes.length === 1 || (bytes[1] ?? 0) >= 0x80)
    integers.push(integer(bytes))
    at += 2 + length
  }
  return integers
}
