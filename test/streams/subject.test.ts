import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EVENT, type QueuedEvent, setClaims } from '../../src/streams/set.ts'
import { readSubject, subjectIdentifier } from '../../src/streams/subject.ts'
import { faultOfSubject } from '../../src/streams/subject-shape.ts'

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
      const ours = subjectIdentifier(ISSUER, of) as Record<string, unknown>
      assert.equal(faultOfSubject(ours), undefined)
      const named = readSubject(ISSUER, ours)
      assert.deepEqual(named, {
        user: of.email === null ? { id: of.user_id } : { email: of.email },
        complex: of.complex,
        session_id: of.complex ? (of.session_id ?? '') : '',
        tenant_id: of.complex ? of.tenant_id : undefined,
      })
    }),
  )
})

const asSent = (given: object): Record<string, unknown> => JSON.parse(JSON.stringify(given))

test('whatever is sent is a subject or nobody here, and never an error', () => {
  const member = fc.oneof(fc.anything({ maxDepth: 2 }), fc.object({ maxDepth: 2 }))
  const anything = fc.dictionary(
    fc.constantFrom('format', 'iss', 'sub', 'email', 'user', 'session', 'tenant', 'id', 'device'),
    fc.oneof(member, fc.constantFrom('iss_sub', 'email', 'opaque', 'complex', ISSUER)),
  )
  fc.assert(
    fc.property(anything.map(asSent), (given) => {
      const read = readSubject(ISSUER, given)
      if (read === undefined) return
      assert.equal(faultOfSubject(given), undefined, 'who is found is named well')
      const named = 'id' in read.user ? read.user.id : read.user.email
      assert.ok(typeof named === 'string' && named !== '' && named.length <= 320)
      assert.ok(read.complex || (read.session_id === '' && read.tenant_id === undefined))
    }),
  )
})

const opaque = { format: 'opaque', id: 'x' }

/** Subject identifiers of RFC 9493 §3.2 and SSF §3, each of which lacks nothing. */
const WHOLE: Record<string, unknown>[] = [
  { format: 'account', uri: 'acct:x@orbit.example' },
  { format: 'did', url: 'did:example:1' },
  { format: 'email', email: 'x@orbit.example' },
  { format: 'iss_sub', iss: ISSUER, sub: 'x' },
  { format: 'jwt_id', iss: ISSUER, jti: 'x' },
  opaque,
  { format: 'phone_number', phone_number: '+12065550100' },
  { format: 'saml_assertion_id', issuer: ISSUER, assertion_id: 'x' },
  { format: 'uri', uri: 'urn:x' },
  { format: 'aliases', identifiers: [opaque] },
  { format: 'complex', device: opaque },
]

test('of each format the shape is told from others, member by member (RFC 9493, SSF §3)', () => {
  for (const { format, ...members } of WHOLE) {
    assert.equal(faultOfSubject({ format, ...members }), undefined, `${format}`)
    for (const name of Object.keys(members)) {
      for (const wrong of [undefined, 5, null, '', [], {}, [{}], [5]]) {
        const fault = faultOfSubject({ format, ...members, [name]: wrong })
        assert.match(fault ?? '', /^subject/, `${format} with ${name} ${JSON.stringify(wrong)}`)
      }
    }
  }
  assert.equal(faultOfSubject({ format: 'of-tomorrow', of: 5 }), undefined)
})

test('neither aliases nor complex subjects are made of their own kind', () => {
  const aliases = { format: 'aliases', identifiers: [opaque] }
  const complex = { format: 'complex', user: opaque }
  assert.match(faultOfSubject({ format: 'aliases', identifiers: [aliases] }) ?? '', /other/)
  assert.match(faultOfSubject({ format: 'complex', user: complex }) ?? '', /not made of complex/)
  assert.match(
    faultOfSubject({ format: 'complex', user: { format: 'email' } }) ?? '',
    /subject.user/,
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
