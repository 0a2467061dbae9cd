import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { HASH_LENGTH, merkleRoot } from '../../src/audit/merkle.ts'

const sha256 = (...parts: Buffer[]) => createHash('sha256').update(Buffer.concat(parts)).digest()
const leaf = fc
  .uint8Array({ minLength: HASH_LENGTH, maxLength: HASH_LENGTH })
  .map((bytes) => Buffer.from(bytes))
const leaves = fc.array(leaf, { minLength: 1, maxLength: 70 })

/** RFC 9162 §2.1.1, word for word. */
function root(of: Buffer[]): Buffer {
  if (of.length === 1) return of[0] as Buffer
  let split = 1
  while (split * 2 < of.length) split *= 2
  return sha256(Buffer.from([1]), root(of.slice(0, split)), root(of.slice(split)))
}

test('the root is the one the RFC defines', () => {
  fc.assert(
    fc.property(leaves, (of) => {
      assert.deepEqual(merkleRoot(Buffer.concat(of)), root(of))
    }),
  )
})

test('another leaf, another order or another number gives another root', () => {
  fc.assert(
    fc.property(leaves, fc.nat(), fc.nat(), leaf, (of, at, to, other) => {
      const whole = merkleRoot(Buffer.concat(of))
      const [i, j] = [at % of.length, to % of.length]
      const same = (changed: Buffer[]) => merkleRoot(Buffer.concat(changed)).equals(whole)

      assert.equal(same(of.with(i, other)), of[i]?.equals(other))
      const swapped = of.with(i, of[j] as (typeof of)[0]).with(j, of[i] as (typeof of)[0])
      assert.equal(same(swapped), of[i]?.equals(of[j] as Buffer))
      assert.equal(same([...of, other]), false)
      if (of.length > 1) assert.equal(same(of.toSpliced(i, 1)), false)
    }),
  )
})

test('the known roots of one, two and three leaves', () => {
  const of = (text: string) => sha256(Buffer.from([0]), Buffer.from(text))
  // Computed with sha256sum.
  assert.equal(
    merkleRoot(of('')).toString('hex'),
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  )
  assert.equal(
    merkleRoot(Buffer.concat([of(''), of('\0')])).toString('hex'),
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  )
  assert.equal(
    merkleRoot(Buffer.concat([of(''), of('\0'), of('\x10')])).toString('hex'),
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  )
})

test('half a leaf and no leaf are refused', () => {
  assert.throws(() => merkleRoot(Buffer.alloc(0)), RangeError)
  assert.throws(() => merkleRoot(Buffer.alloc(HASH_LENGTH + 1)), RangeError)
})
