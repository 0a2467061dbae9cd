// What an answer means, where deliver.test.ts does not go: every status, and bodies that nobody sane sends.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Answer, answerToKeep, judgeAnswer, readRefusal } from '../../src/events/answer.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'

const NOW = new Date('2026-11-22T00:00:00Z')
const FRESH = { dialect: 'set' as const, unknown: false, remedies: [], since: NOW }
const bytes = (text: string) => new TextEncoder().encode(text)
const refused = (err: string, status = 400) => ({ status, body: bytes(JSON.stringify({ err })) })

const ERRORS = [
  'invalid_request',
  'invalid_key',
  'invalid_issuer',
  'invalid_audience',
  'authentication_failed',
  'access_denied',
]

test('whatever is answered, an event comes to an end: each remedy is tried once (EV-11)', () => {
  const status = fc.integer({ min: 100, max: 999 })
  const answers = fc.oneof(
    fc.record({ status }),
    fc.constantFrom(...ERRORS).chain((err) => fc.constant(refused(err))),
    fc.record({ status, body: fc.uint8Array() }),
    fc.record({ failure: fc.constantFrom('timeout' as const, 'connect_failed' as const) }),
  )
  fc.assert(
    fc.property(answers, fc.boolean(), (answer: Answer, unknown) => {
      const remedies = ['new_jti', 'cache_window', 'metadata'] as const
      const tried = { ...FRESH, unknown, remedies, since: addSeconds(NOW, -86_400) }
      const verdict = judgeAnswer(answer, tried, NOW)
      // What is left is the back-off, which ends by itself.
      if (verdict.is === 'again')
        assert.deepEqual([verdict.remedy, verdict.atLeast], [undefined, 0])
    }),
  )
})

test('only a 2xx delivers (§6.3)', () => {
  for (let status = 100; status < 600; status++) {
    const { is } = judgeAnswer({ status, body: new Uint8Array() }, FRESH, NOW)
    assert.equal(is === 'delivered', status >= 200 && status < 300, String(status))
  }
})

test('a new jti is asked for once, and only where the old one may have been taken (TV-92)', () => {
  const answer = refused('invalid_request')
  assert.equal(judgeAnswer(answer, FRESH, NOW).is, 'failed')
  const unknown = { ...FRESH, unknown: true }
  const verdict = judgeAnswer(answer, unknown, NOW)
  assert.equal(verdict.is === 'again' && verdict.remedy, 'new_jti')
  assert.equal(judgeAnswer(answer, { ...unknown, remedies: ['new_jti'] }, NOW).is, 'failed')
})

test('an unknown key is waited for until a day after the event was queued, or sent again (§6.3)', () => {
  const answer = refused('invalid_key')
  for (const [seconds, is] of [
    [0, 'again'],
    [86_399, 'again'],
    [86_400, 'failed'],
  ] as const) {
    assert.equal(judgeAnswer(answer, FRESH, addSeconds(NOW, seconds)).is, is)
  }
})

test('an error with 401 or 403 counts like one with 400 (RFC 8935 §2.3)', () => {
  for (const status of [401, 403]) {
    for (const err of ERRORS) {
      assert.deepEqual(
        judgeAnswer(refused(err, status), FRESH, NOW),
        judgeAnswer(refused(err), FRESH, NOW),
      )
    }
  }
})

for (const [what, text, read] of [
  ['an error', '{"err":"invalid_key","description":"not known"}', ['invalid_key', 'not known']],
  ['no description', '{"err":"invalid_key"}', ['invalid_key', undefined]],
  ['lines and controls', '{"err":"a\\nb","description":"c\\t\\u0007\\u202ed"}', ['a b', 'c d']],
  ['numbers', '{"err":7,"description":{}}', [undefined, undefined]],
  ['an array', '["invalid_key"]', [undefined, undefined]],
  ['no JSON', 'invalid_key', [undefined, undefined]],
  ['the error of OAuth', '{"error":"invalid_request"}', [undefined, undefined]],
  [
    'the token itself',
    '{"err":"x","description":"bad eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovLyJ9.c2lnbmF0dXJl!"}',
    ['x', 'bad …!'],
  ],
] as const) {
  test(`of an error body two short lines are read: ${what}`, () => {
    const { err, description } = readRefusal(bytes(text), 'set')
    assert.deepEqual([err, description], [...read])
  })
}

test('a service of the older dialect may answer as OAuth does (EV-20)', () => {
  const text = '{"error":"invalid_request","error_description":"twice"}'
  const { err, description } = readRefusal(bytes(text), 'logout')
  assert.deepEqual([err, description], ['invalid_request', 'twice'])
})

test('whatever a body holds, what is kept of it fits, can be stored and is on one line', () => {
  const anything = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 3000 }),
    fc.constant('"\\'.repeat(999)),
  )
  fc.assert(
    fc.property(anything, anything, (err, description) => {
      const body = bytes(JSON.stringify({ err, description }))
      const kept = JSON.stringify(answerToKeep({ status: 400, body }, 'set'))
      assert.ok(Buffer.byteLength(kept) < 3500, `${Buffer.byteLength(kept)} bytes`)
      assert.ok(kept.isWellFormed() && !/\p{Cc}|\\u0000/u.test(kept))
    }),
  )
})
