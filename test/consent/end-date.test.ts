import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { latestEnd, readEnd } from '../../src/consent/end-date.ts'

const now = new Date('2026-11-21T12:00:00Z')
const read = (text: string) => {
  const end = readEnd(text, now)
  return typeof end === 'string' ? end : end.toISOString()
}

for (const [text, end] of [
  ['2026-11-22', '2026-11-22T23:59:59.000Z'],
  ['2026-11-21', '2026-11-21T23:59:59.000Z'],
  ['2028-02-29', '2028-02-29T23:59:59.000Z'],
  ['2026-12-24T18:30', '2026-12-24T18:30:00.000Z'],
  ['2026-12-24T18:30:15', '2026-12-24T18:30:15.000Z'],
  ['2026-12-24T18:30:15Z', '2026-12-24T18:30:15.000Z'],
  ['2026-12-24t18:30:15.250z', '2026-12-24T18:30:15.250Z'],
  ['2026-12-24 18:30:15+02:00', '2026-12-24T16:30:15.000Z'],
  ['2026-11-21T12:00:01Z', '2026-11-21T12:00:01.000Z'],
  ['2036-11-21T12:00:00Z', '2036-11-21T12:00:00.000Z'],
] as const) {
  test(`${text} is an end`, () => assert.equal(read(text), end))
}

for (const [text, fault] of [
  ['2026-11-21T12:00:00Z', 'end_past'],
  ['2026-11-20', 'end_past'],
  ['0001-01-01', 'end_past'],
  ['2036-11-21T12:00:01Z', 'end_too_far'],
  ['2036-11-21', 'end_too_far'],
  ['9999-12-31', 'end_too_far'],
  ['2027-02-29', 'end_malformed'],
  ['2027-04-31T10:00', 'end_malformed'],
  ['2027-13-01', 'end_malformed'],
  ['2027-00-01', 'end_malformed'],
  ['2027-01-01T25:00', 'end_malformed'],
  ['2027-01-01T10:00:60Z', 'end_malformed'],
  ['2027-01-01T10:00+25:99', 'end_malformed'],
  ['2027-01-01Z', 'end_malformed'],
  ['+002027-01-01', 'end_malformed'],
  ['1/2/2027', 'end_malformed'],
  ['2027-01-01\n', 'end_malformed'],
  ['tomorrow', 'end_malformed'],
  ['1798761600', 'end_malformed'],
] as const) {
  test(`${JSON.stringify(text)} is none: ${fault}`, () => assert.equal(read(text), fault))
}

test('an end is always ahead, and never further than ten years', () => {
  const day = fc
    .date({ min: new Date('2000-01-01'), max: new Date('2050-01-01'), noInvalidDate: true })
    .map((at) => at.toISOString().slice(0, 10))
  fc.assert(
    fc.property(fc.oneof(fc.string(), day), (text) => {
      const end = readEnd(text, now)
      if (typeof end === 'string') return
      assert.ok(end > now && end <= latestEnd(now))
      assert.ok(end.toISOString().startsWith(text))
    }),
  )
})
