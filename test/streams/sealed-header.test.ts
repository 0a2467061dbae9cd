import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openHeader, sealHeader } from '../../src/streams/sealed-header.ts'

const [old, newest] = [randomBytes(32), randomBytes(32)]
const sealed = sealHeader([old], 'str_a', 'Bearer x')

test('a header opens under its key, for its stream, and says when that is not the newest', () => {
  assert.deepEqual(openHeader([old], 'str_a', sealed), { header: 'Bearer x', stale: false })
  assert.deepEqual(openHeader([newest, old], 'str_a', sealed), { header: 'Bearer x', stale: true })
  assert.notEqual(sealHeader([old], 'str_a', 'Bearer x'), sealed, 'never twice the same')
})

test('it opens neither under another key nor for another stream, nor damaged', () => {
  assert.equal(openHeader([newest], 'str_a', sealed), undefined)
  assert.equal(openHeader([old], 'str_b', sealed), undefined)
  const [version, nonce, text = ''] = sealed.split('.')
  const flipped = Buffer.from(text, 'base64url')
  flipped[0] = (flipped[0] ?? 0) ^ 1
  for (const damaged of [
    ...[`v2.${nonce}.${text}`, `${version}.${nonce}.`, `${version}..${text}`, '', 'v1'],
    `${version}.${nonce}.${flipped.toString('base64url')}`,
  ]) {
    assert.equal(openHeader([old], 'str_a', damaged), undefined, damaged)
  }
})

test('without a key nothing is sealed', () => {
  assert.throws(() => sealHeader([], 'str_a', 'x'), /KEY_ENCRYPTION_KEY/)
})
