// When an event is tried again, whatever happened and however chance falls.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { backOff, nextAttemptAt, readRetryAfter } from '../../src/events/back-off.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'

const NOW = new Date('2026-11-22T00:00:00Z')
const HOUR = 3600
const attempts = fc.integer({ min: 1, max: 100_000 })
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

test('the wait doubles from 5 seconds up to an hour, less what chance takes away (EV-11)', () => {
  assert.deepEqual(
    [1, 2, 3, 4, 10, 11, 12, 1000].map((attempt) => backOff(attempt, 0)),
    [5, 10, 20, 40, 2560, HOUR, HOUR, HOUR],
  )
  fc.assert(
    fc.property(attempts, chance, (attempt, fate) => {
      const wait = backOff(attempt, fate)
      const longest = backOff(attempt, 0)
      assert.ok(wait >= longest / 2 && wait <= longest && longest <= HOUR)
      assert.ok(backOff(attempt + 1, 0) >= longest)
    }),
  )
})

test('it is tried later, never after its end, and at its end once (EV-11)', () => {
  fc.assert(
    fc.property(
      attempts,
      chance,
      fc.integer({ min: 0, max: 4 * HOUR }),
      fc.integer({ min: -100 * HOUR, max: 100 * HOUR }),
      (attempt, fate, atLeast, left) => {
        const until = addSeconds(NOW, left)
        const wait = { attempts: attempt, chance: fate, atLeast, now: NOW, until }
        const next = nextAttemptAt(wait)
        if (left <= 0) return assert.equal(next, undefined)
        assert.ok(next && next > NOW && next <= until)
        const asked = addSeconds(NOW, atLeast)
        assert.ok(next >= asked || next.getTime() === until.getTime())
      },
    ),
  )
})

test('whoever is tried again and again is given up after 72 hours and some hundred attempts (EV-11)', () => {
  fc.assert(
    fc.property(fc.array(chance, { minLength: 1, maxLength: 20 }), (fates) => {
      const until = addSeconds(NOW, 72 * HOUR)
      let now: Date | undefined = NOW
      let last = NOW
      let made = 0
      while (now !== undefined) {
        last = now
        made += 1
        const fate = fates[made % fates.length] ?? 0
        now = nextAttemptAt({ attempts: made, chance: fate, atLeast: 0, now, until })
      }
      assert.equal(last.getTime(), until.getTime())
      assert.ok(made > 72 && made < 170, `${made} attempts`)
    }),
  )
})

for (const [header, seconds] of [
  ['0', 0],
  ['120', 120],
  [' 7 ', 7],
  ['Sun, 22 Nov 2026 00:01:30 GMT', 90],
  ['Sat, 21 Nov 2026 23:00:00 GMT', 0],
  ['Sun, 22 Nov 2099 00:00:00 GMT', 4 * HOUR],
  ['99999999999', 4 * HOUR],
  ['9'.repeat(40), 0],
  ['-5', 0],
  ['1.5', 0],
  ['2027', 2027],
  ['2026-11-22T00:10:00Z', 0],
  ['Nov 22 2026', 0],
  ['', 0],
  [undefined, 0],
] as const) {
  test(`Retry-After is read where it can be, and bounded (EV-11): ${header}`, () => {
    assert.equal(readRetryAfter(header, NOW), seconds)
  })
}

test('whatever is sent as Retry-After, it asks for some hours at the most', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (header) => {
      const seconds = readRetryAfter(header, NOW)
      assert.ok(seconds >= 0 && seconds <= 4 * HOUR)
    }),
  )
})
