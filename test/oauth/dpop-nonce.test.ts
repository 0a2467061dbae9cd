import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  currentNonce,
  dpopNonceKeys,
  isGoodNonce,
  NONCE_LIFETIME,
} from '../../src/oauth/dpop-nonce.ts'

const [oldKek, newKek, strangeKek] = [randomBytes(32), randomBytes(32), randomBytes(32)]
const before = dpopNonceKeys([oldKek])
const during = dpopNonceKeys([newKek, oldKek])
const after = dpopNonceKeys([newKek])
const strange = dpopNonceKeys([strangeKek])

const NOW = 1_795_276_800
const at = (seconds: number) => new Date(Math.round(seconds * 1000))
/** Milliseconds, so that both ends of a window are met. */
const instant = fc.integer({ min: NOW * 1000, max: (NOW + 3_000) * 1000 }).map((ms) => ms / 1000)
const wait = (max: number) => fc.integer({ min: 0, max: max * 1000 }).map((ms) => ms / 1000)

test('a nonce is good while it is issued and while the next one is (DP-06)', () => {
  fc.assert(
    fc.property(instant, wait(150), fc.constantFrom(before, during, after), (then, later, keys) => {
      const nonce = currentNonce(keys, at(then))
      assert.ok(isGoodNonce(keys, nonce, at(then + later)))
    }),
  )
})

test('a nonce is never good for more than five minutes (DP-06)', () => {
  assert.equal(NONCE_LIFETIME, 300)
  fc.assert(
    fc.property(
      instant,
      wait(3_000),
      fc.constantFrom(before, during, after),
      (then, more, keys) => {
        const nonce = currentNonce(keys, at(then))
        assert.equal(isGoodNonce(keys, nonce, at(then + 300 + more)), false)
      },
    ),
  )
})

test('it changes at least every five minutes, and once it has it does not come back (DP-06)', () => {
  const issued = Array.from({ length: 100 }, (_, n) => currentNonce(during, at(NOW + n * 75)))
  assert.ok(issued.every((nonce, n) => nonce !== issued[n + 4]))
  assert.equal(new Set(issued).size, 50)
})

test('all replicas issue the same one, and take what one a minute ahead issued already (DP-06)', () => {
  fc.assert(
    fc.property(instant, wait(60), (now, ahead) => {
      assert.equal(
        currentNonce(dpopNonceKeys([newKek, oldKek]), at(now)),
        currentNonce(after, at(now)),
      )
      assert.ok(isGoodNonce(during, currentNonce(during, at(now + ahead)), at(now)))
      assert.equal(isGoodNonce(during, currentNonce(during, at(now + 210 + ahead)), at(now)), false)
    }),
  )
})

test('while the secret changes, the newest issues and every one that is set is accepted', () => {
  fc.assert(
    fc.property(instant, wait(150), (then, later) => {
      const [old, fresh] = [currentNonce(before, at(then)), currentNonce(during, at(then))]
      assert.equal(fresh, currentNonce(after, at(then)))
      assert.notEqual(fresh, old)
      assert.ok(isGoodNonce(during, old, at(then + later)))
      assert.ok(isGoodNonce(during, fresh, at(then + later)))
      assert.equal(isGoodNonce(after, old, at(then)), false)
      assert.equal(isGoodNonce(before, fresh, at(then)), false)
      assert.equal(isGoodNonce(during, currentNonce(strange, at(then)), at(then)), false)
    }),
  )
})

test('nothing else is good: no other text, and the same one written in no other way', () => {
  const nonce = currentNonce(during, at(NOW))
  assert.match(nonce, /^[A-Za-z0-9_-]{43}$/)
  const loose = [`${nonce}=`, `${nonce}\n`, ` ${nonce}`, nonce.slice(1), nonce + nonce, '']
  for (const text of loose) assert.equal(isGoodNonce(during, text, at(NOW)), false)
  fc.assert(
    fc.property(fc.nat({ max: nonce.length - 1 }), fc.string({ maxLength: 2 }), (place, char) => {
      const changed = nonce.slice(0, place) + char + nonce.slice(place + 1)
      fc.pre(changed !== nonce)
      assert.equal(isGoodNonce(during, changed, at(NOW)), false)
    }),
  )
  fc.assert(
    fc.property(fc.string(), (text) => assert.equal(isGoodNonce(during, text, at(NOW)), false)),
  )
})

test('without a secret none is issued and none is good', () => {
  assert.throws(() => currentNonce([], at(NOW)), TypeError)
  assert.equal(isGoodNonce([], currentNonce(during, at(NOW)), at(NOW)), false)
})
