// Who of those that wait gets its turn.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createShares } from '../../src/events/fair-share.ts'

const MOST = 12
const OF_ONE = 8

/** Begins all that may begin. */
function begin(shares: ReturnType<typeof createShares>, waiting: string[]) {
  const allotted = shares.allot(waiting)
  for (const [audience, count] of allotted) {
    for (let at = 0; at < count; at++) shares.began(audience)
  }
  return Object.fromEntries(allotted)
}

test('an audience begins with two attempts and has more as it answers', () => {
  const shares = createShares(MOST, OF_ONE)
  assert.deepEqual(begin(shares, ['a']), { a: 2 })
  assert.deepEqual(begin(shares, ['a']), {})
  shares.ended('a', true)
  assert.deepEqual(begin(shares, ['a']), { a: 2 })
  for (let at = 0; at < 20; at++) {
    shares.ended('a', true)
    begin(shares, ['a'])
  }
  for (let at = 0; at < OF_ONE; at++) shares.ended('a', true)
  assert.deepEqual(begin(shares, ['a']), { a: OF_ONE })
})

test('one in trouble has one attempt at a time, until it answers again', () => {
  const shares = createShares(MOST, OF_ONE)
  begin(shares, ['a'])
  shares.ended('a', false)
  shares.ended('a', false)
  assert.deepEqual(begin(shares, ['a']), { a: 1 })
  shares.ended('a', true)
  assert.deepEqual(begin(shares, ['a']), { a: 2 })
})

test('those in trouble leave half of the places, however many they are', () => {
  const shares = createShares(MOST, OF_ONE)
  const dead = Array.from({ length: 30 }, (_, at) => `dead ${at}`)
  for (const one of dead) {
    shares.began(one)
    shares.ended(one, false)
  }
  assert.equal(Object.keys(begin(shares, dead)).length, MOST / 2)
  assert.deepEqual(begin(shares, [...dead, 'well']), { well: 2 })
})

test('who has the fewest under way comes first, and then who waits longest', () => {
  const shares = createShares(4, OF_ONE)
  assert.deepEqual(begin(shares, ['a', 'b', 'c', 'd', 'e']), { a: 1, b: 1, c: 1, d: 1 })
  shares.ended('a', true)
  assert.deepEqual(begin(shares, ['a', 'b', 'e']), { a: 1 })
  shares.ended('b', true)
  assert.deepEqual(begin(shares, ['a', 'b', 'e']), { b: 1 })
  shares.ended('c', true)
  assert.deepEqual(begin(shares, ['a', 'd', 'e']), { e: 1 })
})

test('whatever comes and goes, no more begin than there are places, and nobody waits while one is free', () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
  const step = fc.oneof(
    fc.record({ waiting: fc.subarray(names) }),
    fc.record({ ends: fc.constantFrom(...names), well: fc.boolean() }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const shares = createShares(MOST, OF_ONE)
      const underWay = new Map<string, number>()
      const total = () => [...underWay.values()].reduce((sum, count) => sum + count, 0)
      for (const one of steps) {
        if ('ends' in one) {
          const count = underWay.get(one.ends) ?? 0
          if (count === 0) continue
          underWay.set(one.ends, count - 1)
          shares.ended(one.ends, one.well)
          continue
        }
        const begun = begin(shares, one.waiting)
        for (const [name, count] of Object.entries(begun)) {
          underWay.set(name, (underWay.get(name) ?? 0) + count)
        }
        assert.ok(total() <= MOST)
        for (const count of underWay.values()) assert.ok(count <= OF_ONE)
        // Half of the places are for those that answer, so one that has none under way gets one of the others.
        const idle = one.waiting.some((name) => (underWay.get(name) ?? 0) === 0)
        if (total() < MOST / 2) assert.ok(!idle)
      }
    }),
  )
})
