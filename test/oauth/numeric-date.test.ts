import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  addSeconds,
  fromNumericDate,
  numericDate,
  secondsBetween,
} from '../../src/oauth/numeric-date.ts'

const instant = fc.date({
  min: new Date('1970-01-01T00:00:00Z'),
  max: new Date('2100-01-01T00:00:00Z'),
  noInvalidDate: true,
})

test('a NumericDate is the whole seconds, never those to come (RFC 7519 §2)', () => {
  fc.assert(
    fc.property(instant, (at) => {
      const rest = secondsBetween(fromNumericDate(numericDate(at)), at)
      assert.ok(rest >= 0 && rest < 1, String(rest))
    }),
  )
})

test('the seconds between two instants lead from one to the other, forwards and backwards', () => {
  fc.assert(
    fc.property(instant, instant, (from, to) => {
      assert.deepEqual(addSeconds(from, secondsBetween(from, to)), to)
      assert.equal(secondsBetween(from, to) + secondsBetween(to, from), 0)
    }),
  )
})
