// Ids: random beyond guessing. That of an ID-JAG or a record sorts by time besides.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { lowestIdAt, newId, newTimeOrderedId } from '../../src/db/ids.ts'

const AT = new Date('2026-11-21T16:01:40Z')
/** More than are drawn at once, so that what is drawn next is seen too. */
const MANY = 4_000

const bitsOf = (id: string): number[] =>
  [...Buffer.from(id, 'base64url')].flatMap((byte) =>
    [7, 6, 5, 4, 3, 2, 1, 0].map((shift) => (byte >> shift) & 1),
  )

for (const [what, make, prefix] of [
  ['of an ID-JAG', () => newTimeOrderedId('', AT), '01a1fed786a0'],
  ['of an event', () => newTimeOrderedId('evt_', AT), 'evt_01a1fed786a0'],
  ['of a record', () => newId('usr'), 'usr_'],
] as const) {
  test(`the id ${what} has 128 bits, each as often one as the other, and comes once (IJ-06)`, () => {
    const ids = Array.from({ length: MANY }, make)
    assert.equal(new Set(ids).size, MANY)
    const ones = new Array<number>(128).fill(0)
    for (const id of ids) {
      assert.equal(id.slice(0, prefix.length), prefix)
      const bits = bitsOf(id.slice(prefix.length))
      assert.equal(bits.length, 128)
      for (const [at, bit] of bits.entries()) ones[at] = (ones[at] ?? 0) + bit
    }
    // Twelve standard deviations from the half: no run of luck comes here.
    for (const [at, count] of ones.entries()) {
      assert.ok(Math.abs(count / MANY - 0.5) < 0.1, `bit ${at} is one in ${count} of ${MANY}`)
    }
  })
}

test('a time-ordered id sorts by its millisecond, above the lowest of that millisecond', () => {
  const instant = fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true })
  fc.assert(
    fc.property(instant, instant, (one, other) => {
      const [first, second] = one <= other ? [one, other] : [other, one]
      assert.ok(newTimeOrderedId('', first) > lowestIdAt('', first))
      if (first < second) assert.ok(newTimeOrderedId('', first) < lowestIdAt('', second))
    }),
  )
})
