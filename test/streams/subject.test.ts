import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EVENT, type QueuedEvent, setClaims } from '../../src/streams/set.ts'
import { readSubject, subjectIdentifier } from '../../src/streams/subject.ts'

const ISSUER = 'https://id.orbit.example'
const text = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' })
const maybe = <Value>(of: fc.Arbitrary<Value>) => fc.option(of)

const anySubject = fc.record({
  user_id: text,
  session_id: maybe(text),
  complex: fc.boolean(),
  email: maybe(text),
  tenant_id: text,
})

test('what we call somebody is what a receiver may call them (EV-32, RFC 9493)', () => {
  fc.assert(
    fc.property(anySubject, (of) => {
      const named = readSubject(ISSUER, subjectIdentifier(ISSUER, of) as Record<string, unknown>)
      assert.deepEqual(named, {
        user: of.email === null ? { id: of.user_id } : { email: of.email },
        complex: of.complex,
        session_id: of.complex ? (of.session_id ?? '') : '',
        tenant_id: of.complex ? of.tenant_id : undefined,
      })
    }),
  )
})

test('whatever is sent is a subject, nobody here, or malformed, and never an error', () => {
  const member = fc.oneof(fc.anything({ maxDepth: 2 }), fc.object({ maxDepth: 2 }))
  const anything = fc.dictionary(
    fc.constantFrom('format', 'iss', 'sub', 'email', 'user', 'session', 'tenant', 'id', 'device'),
    fc.oneof(member, fc.constantFrom('iss_sub', 'email', 'opaque', 'complex', ISSUER)),
  )
  fc.assert(
    fc.property(anything, (given) => {
      const read = readSubject(ISSUER, given)
      if (read === undefined || read === 'malformed') return
      const named = 'id' in read.user ? read.user.id : read.user.email
      assert.ok(typeof named === 'string' && named !== '' && named.length <= 320)
      assert.ok(read.complex || (read.session_id === '' && read.tenant_id === undefined))
    }),
  )
})

test('an event has a sub_id, one event, and neither sub nor exp, whatever it is about (EV-30, OQ-09, TV-103)', () => {
  const about = fc.oneof(
    anySubject,
    anySubject.map((of) => ({ ...of, user_id: null })),
  )
  fc.assert(
    fc.property(about, fc.constantFrom(...Object.values(EVENT)), (of, event_type) => {
      const event: QueuedEvent = {
        ...of,
        event_type,
        event: { a: 1 },
        jti: 'j',
        txn: 't',
        stream_id: 'str_x',
        created_at: new Date(1_795_277_000_999),
      }
      const claims = setClaims(ISSUER, 'https://receiver.example', event)
      assert.deepEqual(Object.keys(claims).sort(), [
        ...['aud', 'events', 'iat', 'iss', 'jti', 'sub_id', 'txn'],
      ])
      assert.equal(claims.iat, 1_795_277_000)
      assert.deepEqual(claims.events, { [event_type]: { a: 1 } })
      const stream = { format: 'opaque', id: 'str_x' }
      if (of.user_id === null) assert.deepEqual(claims.sub_id, stream)
      else assert.notDeepEqual(claims.sub_id, stream)
    }),
  )
})
