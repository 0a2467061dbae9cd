import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import {
  type AuthorizationDetail,
  canonicalDetails,
  distinctDetails,
  meetDetail,
  narrowDetails,
  parseAuthorizationDetails,
  readAuthorizationDetails,
  sameDetails,
} from '../../src/oauth/authorization-details.ts'
import { anyDetail, anyDetails, anyMeeting, LISTS, passes, within } from '../support/details.ts'

const payment: AuthorizationDetail = {
  type: 'payment',
  locations: ['https://api.bank.example/'],
  actions: ['initiate', 'status'],
  datatypes: ['debit'],
  privileges: ['clerk'],
  identifier: 'account-14',
  instructedAmount: { currency: 'EUR', amount: '123.50' },
}
const anyPair = fc.tuple(anyDetail, anyDetail, anyDetail)
const parse = (value: unknown) => parseAuthorizationDetails(JSON.stringify(value))

test('what RFC 9396 allows is read as it was sent (TX-15)', () => {
  for (const details of [
    [],
    [payment],
    [{ type: 'a' }, { type: 'a' }, { type: 'b', n: [null, -0.5, true] }],
  ])
    assert.deepEqual(parse(details), details)
  const most = Array.from({ length: 20 }, () => ({ type: 'a'.repeat(128) }))
  assert.deepEqual(parse(most), most)
  assert.deepEqual(parse(deep(8)), deep(8))
  assert.deepEqual(parse(long(8192)), long(8192))
  assert.deepEqual(parse([{ type: 'a', constructor: 1, toString: 'x' }]), [
    { type: 'a', constructor: 1, toString: 'x' },
  ])
  assert.deepEqual(parse([{ type: 'a', n: Number.MAX_SAFE_INTEGER }])?.[0]?.n, 2 ** 53 - 1)
})

const REFUSED: [why: string, text: string][] = [
  ['an object', '{}'],
  ['one entry outside of an array', '{"type":"payment"}'],
  ['nothing', ''],
  ['null', 'null'],
  ['a string', '"[]"'],
  ['bad JSON', '[{"type":"payment"},]'],
  ['two texts', '[][]'],
  ['an entry that is a string', '["payment"]'],
  ['an entry that is null', '[null]'],
  ['an entry that is an array', '[["type","payment"]]'],
  ['an entry without a type', '[{"type":"payment"},{"actions":["read"]}]'],
  ['a type that is a number', '[{"type":7}]'],
  ['an empty type', '[{"type":""}]'],
  ['a type that is too long', JSON.stringify([{ type: 'a'.repeat(129) }])],
  ...LISTS.flatMap((name): typeof REFUSED => [
    [`${name} that is a string`, `[{"type":"payment","${name}":"x"}]`],
    [`${name} that is null`, `[{"type":"payment","${name}":null}]`],
    [`${name} with a number in it`, `[{"type":"payment","${name}":["x",1]}]`],
    [`an empty list of ${name}`, `[{"type":"payment","${name}":[]}]`],
  ]),
  ['an identifier that is a number', '[{"type":"payment","identifier":14}]'],
  ['an identifier that is null', '[{"type":"payment","identifier":null}]'],
  ['too many entries', JSON.stringify(Array(21).fill({ type: 'a' }))],
  ['too long a text', JSON.stringify(long(8193))],
  ['too long a text, of spaces', `[${' '.repeat(8191)}]`],
  ['what is too deep', JSON.stringify(deep(9))],
  ['what would exhaust a stack', '['.repeat(8192)],
  ['__proto__', '[{"type":"payment","__proto__":{"admin":true}}]'],
  ['__proto__ as the type', '[{"__proto__":{"type":"payment"}}]'],
  ['__proto__ deep inside', '[{"type":"payment","of":[{"__proto__":1}]}]'],
  ['U+0000', '[{"type":"payment","of":"\\u0000"}]'],
  ['U+0000 in a name', '[{"type":"payment","a\\u0000":1}]'],
  ['half a surrogate pair', '[{"type":"payment\\ud800"}]'],
  ['a number beyond all numbers', '[{"type":"payment","amount":1e999}]'],
  ['a number that is not exact', '[{"type":"payment","amount":9007199254740993}]'],
]
for (const [why, text] of REFUSED) {
  test(`${why} is not authorization details (TX-15, TV-81)`, () => {
    assert.equal(parseAuthorizationDetails(text), undefined)
  })
}

test('a value is judged like a text, its length too', () => {
  assert.deepEqual(readAuthorizationDetails([payment]), [payment])
  for (const value of [undefined, null, '[]', {}, [{}], long(8193), deep(9), deep(10_000)])
    assert.equal(readAuthorizationDetails(value), undefined)
})

test('parsing never throws, and what it gives out stays what it is', () => {
  const entry = fc.oneof(anyDetail, fc.jsonValue(), fc.object({ withNullPrototype: false }))
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.json(),
    fc.array(entry, { maxLength: 3 }).map((value) => JSON.stringify(value) ?? ''),
    anyDetails.map((value) => JSON.stringify(value)),
  )
  let accepted = 0
  fc.assert(
    fc.property(text, (sent) => {
      const details = parseAuthorizationDetails(sent)
      if (details === undefined) return
      accepted += details.length
      assert.ok(details.every(({ type }) => typeof type === 'string' && type.length > 0))
      assert.deepEqual(details, JSON.parse(sent))
      assert.deepEqual(parseAuthorizationDetails(JSON.stringify(details)), details)
    }),
  )
  assert.ok(accepted > 10, `only ${accepted} entries were accepted`)
})

const MEETS: [why: string, a: object, b: object, met: object | undefined][] = [
  ['nothing more was said', {}, {}, {}],
  [
    'a list narrows',
    { actions: ['a', 'b', 'c'] },
    { actions: ['c', 'a'] },
    { actions: ['a', 'c'] },
  ],
  ['a list that only the ceiling has', {}, { actions: ['a'] }, { actions: ['a'] }],
  ['a list that only the request has', { actions: ['a'] }, {}, { actions: ['a'] }],
  ['lists with nothing in common', { actions: ['a'] }, { actions: ['b'] }, undefined],
  [
    'different lists',
    { actions: ['a'] },
    { datatypes: ['d'] },
    { actions: ['a'], datatypes: ['d'] },
  ],
  [
    'one list of two has nothing in common',
    { actions: ['a'], datatypes: ['d'] },
    { actions: ['a'], datatypes: ['e'] },
    undefined,
  ],
  [
    'locations are compared as TX-11 says',
    { locations: ['HTTPS://API.bank.example', 'https://b.example/'] },
    { locations: ['https://api.bank.example/'] },
    { locations: ['HTTPS://API.bank.example'] },
  ],
  ['actions are compared as they stand', { actions: ['urn:A'] }, { actions: ['URN:A'] }, undefined],
  ['the same identifier', { identifier: 'i' }, { identifier: 'i' }, { identifier: 'i' }],
  ['another identifier', { identifier: 'i' }, { identifier: 'j' }, undefined],
  ['an identifier that only the ceiling has', {}, { identifier: 'i' }, { identifier: 'i' }],
  ['an identifier that only the request has', { identifier: 'i' }, {}, { identifier: 'i' }],
  ['another type', { type: 'b' }, {}, undefined],
  [
    'the same amount',
    { amount: { a: 1, b: [2] } },
    { amount: { b: [2], a: 1 } },
    { amount: { a: 1, b: [2] } },
  ],
  ['another amount', { amount: 1 }, { amount: 2 }, undefined],
  ['an amount that only the ceiling has', {}, { amount: 1 }, { amount: 1 }],
  ['an amount that nobody allowed', { amount: 1 }, {}, undefined],
  ['null is a value', { amount: null }, {}, undefined],
  ['what every object inherits is not allowed thereby', { constructor: 1 }, {}, undefined],
  ['what every object inherits is not asked for thereby', {}, { toString: 1 }, { toString: 1 }],
]
for (const [why, a, b, met] of MEETS) {
  test(`the meet of two entries: ${why}`, () => {
    const type = 'a'
    assert.deepEqual(meetDetail({ type, ...a }, { type, ...b }), met && { type, ...met })
  })
}

test('a meet is within what was asked for and passes what was allowed, and is its own meet', () => {
  let met = 0
  fc.assert(
    fc.property(fc.oneof(anyPair, anyMeeting), ([, asked, allowed]) => {
      assert.deepEqual(meetDetail(asked, asked), asked)
      const meet = meetDetail(asked, allowed)
      if (meet === undefined) return
      met += 1
      assert.ok(within(meet, asked))
      assert.ok(passes(meet, allowed))
      assert.deepEqual(meetDetail(meet, allowed), meet)
      assert.deepEqual(meetDetail(asked, meet), meet)
    }),
    { numRuns: 500 },
  )
  assert.ok(met > 100, `only ${met} pairs met`)
})

test('a meet is the greatest: whatever both allow is within it', () => {
  fc.assert(
    fc.property(anyMeeting, ([entry, asked, allowed]) => {
      assert.ok(within(entry, asked) && passes(entry, allowed))
      const meet = meetDetail(asked, allowed)
      assert.ok(meet !== undefined && passes(entry, meet))
    }),
    { numRuns: 500 },
  )
})

test('each entry is narrowed by an entry that lets it through whole, else by the first that leaves something', () => {
  const read = { type: 'a', actions: ['read'] }
  const both = { type: 'a', actions: ['read', 'write'] }
  const other = { type: 'b' }
  assert.deepEqual(narrowDetails([both, other], [read]), [read])
  assert.deepEqual(narrowDetails([both], [read, both]), [both])
  assert.deepEqual(narrowDetails([both], [other, { type: 'a', actions: ['write'] }, read]), [
    { type: 'a', actions: ['write'] },
  ])
  assert.deepEqual(narrowDetails([both, read], [read]), [read], 'each once')
  assert.deepEqual(narrowDetails([both, other], []), [])
  assert.deepEqual(narrowDetails([both, other, both], null), [both, other, both])
})

test('what is left was asked for and allowed, and narrowing it again changes nothing (TX-14)', () => {
  let left = 0
  fc.assert(
    fc.property(fc.array(anyMeeting, { maxLength: 4 }), fc.option(anyDetails), (of, noise) => {
      const asked = of.map(([, one]) => one)
      const allowed = noise && [...noise, ...of.map(([, , one]) => one)].reverse()
      const narrowed = narrowDetails(asked, allowed)
      left += narrowed.length
      for (const entry of narrowed) {
        assert.ok(asked.some((one) => within(entry, one)))
        assert.ok(allowed === null || allowed.some((one) => passes(entry, one)))
      }
      assert.deepEqual(narrowDetails(narrowed, allowed), narrowed)
      assert.deepEqual(narrowDetails(asked, asked), distinctDetails(asked))
    }),
    { numRuns: 500 },
  )
  assert.ok(left > 500, `only ${left} entries were left`)
})

test('the same entries are the same text, in whatever order they and their members are', () => {
  const shuffled = (value: unknown): unknown =>
    typeof value !== 'object' || value === null
      ? value
      : Array.isArray(value)
        ? value.map(shuffled)
        : Object.fromEntries(
            Object.entries(value)
              .reverse()
              .map(([k, v]) => [k, shuffled(v)]),
          )
  fc.assert(
    fc.property(anyDetails, anyDetails, (a, b) => {
      const reordered = a.map(shuffled).reverse() as AuthorizationDetail[]
      assert.equal(canonicalDetails(reordered), canonicalDetails(a))
      assert.ok(sameDetails(a, [...reordered, ...a]))
      assert.ok(isDeepStrictEqual(new Set(JSON.parse(canonicalDetails(a))), new Set(a)))
      assert.equal(sameDetails(a, b), isDeepStrictEqual(new Set(a), new Set(b)))
    }),
  )
  assert.ok(!sameDetails([{ type: 'a' }], [{ type: 'a', actions: ['b'] }]))
  assert.ok(!sameDetails([{ type: 'a', n: 1 }], [{ type: 'a', n: '1' }]))
  assert.ok(
    !sameDetails([{ type: 'a', actions: ['a', 'b'] }], [{ type: 'a', actions: ['b', 'a'] }]),
  )
  assert.ok(sameDetails([{ type: 'a' }, { type: 'a' }], [{ type: 'a' }]))
})

/** Details whose innermost array or object is this deep. */
function deep(levels: number) {
  let of: unknown = 1
  for (let level = 2; level < levels; level += 1) of = [of]
  return [{ type: 'a', of }]
}

/** Details whose JSON has this many characters. */
function long(characters: number) {
  const rest = JSON.stringify([{ type: 'a', of: '' }]).length
  return [{ type: 'a', of: 'x'.repeat(characters - rest) }]
}
