// What an event says, to the letter.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import {
  chooseEventType,
  REVOKED,
  revocationClaims,
  typOf,
} from '../../src/events/revocation-set.ts'
import { fromNumericDate } from '../../src/oauth/numeric-date.ts'
import { TV_06 } from '../relying-app/paperclip.ts'

const VARIANT = 'https://schemas.workos.com/events/agent/identity/assertion/revoked'

test('an event has the claims of the vector, in its order, and its typ (EV-01, EV-02, TV-06)', () => {
  const claims = decodeJwt(TV_06)
  const { iss = '', sub = '', aud, jti = '', iat = 0 } = claims
  const made = revocationClaims(
    iss,
    { aud: String(aud), sub, event_type: REVOKED },
    jti,
    new Date(fromNumericDate(iat).getTime() + 999),
  )
  assert.equal(JSON.stringify(made), JSON.stringify(claims))
  assert.equal(typOf('set'), decodeProtectedHeader(TV_06).typ)
})

test('the older dialect says the same under another typ (EV-20)', () => {
  assert.equal(typOf('logout'), 'logout+jwt')
})

test('whatever it is about, an event has these claims, one event with nothing in it, and no end (EV-02, EV-03)', () => {
  const text = fc.string({ minLength: 1 })
  const types = fc.constantFrom(REVOKED, VARIANT)
  const at = fc.integer({ min: 0, max: 4_000_000_000_000 })
  fc.assert(
    fc.property(text, text, text, text, types, at, (iss, aud, sub, jti, event_type, ms) => {
      const claims = revocationClaims(iss, { aud, sub, event_type }, jti, new Date(ms))
      assert.deepEqual(JSON.parse(JSON.stringify(claims)), {
        iss,
        sub,
        aud,
        jti,
        iat: Math.floor(ms / 1000),
        events: { [event_type]: {} },
      })
    }),
  )
})

for (const [what, supported, chosen] of [
  ['nothing is known of what it supports', undefined, REVOKED],
  ['it supports nothing', [], REVOKED],
  ['it supports other events alone', ['https://chat.example/events/other'], REVOKED],
  ['it supports the official spelling', ['https://chat.example/other', REVOKED], REVOKED],
  ['it supports the variant alone (TV-94)', [VARIANT, 'https://chat.example/other'], VARIANT],
  ['it spells it almost right', [`${VARIANT}/`, VARIANT.toUpperCase()], REVOKED],
] as const) {
  test(`a service hears the event that it knows, once (EV-04): ${what}`, () => {
    assert.equal(chooseEventType(supported), chosen)
  })
}
