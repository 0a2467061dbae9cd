import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { freshness } from '../../src/http/freshness.ts'

const NOW = new Date('2026-11-21T12:00:00Z')
const later = (seconds: number) => new Date(NOW.getTime() + seconds * 1000).toUTCString()

const ANSWERS: [headers: Record<string, string>, seconds: number | undefined][] = [
  [{}, undefined],
  [{ 'cache-control': '' }, undefined],
  [{ 'cache-control': 'public' }, undefined],
  [{ 'cache-control': 'max-age=600' }, 600],
  [{ 'cache-control': 'public, Max-Age="600", must-revalidate' }, 600],
  [{ 'cache-control': 'max-age=600', age: '100' }, 500],
  [{ 'cache-control': 'max-age=600', age: '700' }, -100],
  [{ 'cache-control': 'max-age=600', age: 'old' }, 600],
  [{ 'cache-control': 'max-age=600, max-age=60' }, 60],
  [{ 'cache-control': 'max-age=soon' }, 0],
  [{ 'cache-control': 'max-age=-1' }, 0],
  [{ 'cache-control': 'max-age' }, 0],
  [{ 'cache-control': 'max-age=600s' }, 0],
  [{ 'cache-control': 'max-age=6"00"' }, 0],
  [{ 'cache-control': 'max-age="600"0' }, 0],
  [{ 'cache-control': 's-maxage=600' }, undefined],
  [{ 'cache-control': 'no-store' }, 0],
  [{ 'cache-control': 'max-age=600, No-Cache' }, 0],
  [{ 'cache-control': 'no-cache="set-cookie"' }, 0],
  [{ 'cache-control': 'max-age=600', expires: later(10) }, 600],
  [{ expires: later(600) }, 600],
  [{ expires: later(600), date: later(-60) }, 660],
  [{ expires: later(600), date: 'today' }, 600],
  [{ expires: later(-600) }, -600],
  [{ expires: '0' }, 0],
  [{ expires: 'never' }, 0],
]
for (const [headers, seconds] of ANSWERS) {
  test(`an answer with ${JSON.stringify(headers)} may be used for ${seconds} seconds (DS-44)`, () => {
    const told = freshness(headers, NOW)
    if (headers.expires === '0') assert.ok((told ?? 1) <= 0)
    else assert.equal(told, seconds)
  })
}

test('whatever the headers hold, they say a number or nothing (DS-44)', () => {
  const names = fc.constantFrom('cache-control', 'age', 'expires', 'date')
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom('max-age=1e9', 'max-age=', ',,=,', 'max-age=99999999999'),
  )
  fc.assert(
    fc.property(fc.dictionary(names, value), (headers) => {
      assert.ok(!Number.isNaN(freshness(headers, NOW) ?? 0))
    }),
  )
})
