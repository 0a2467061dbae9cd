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

const EVERY_AGENT = { agent_id: null, agent_client_id: null }
const VARIANT = 'https://schemas.workos.com/events/agent/identity/assertion/revoked'

test('an event has the claims of the vector, in its order, and its typ (EV-01, EV-02, TV-06)', () => {
  const claims = decodeJwt(TV_06)
  const { iss = '', sub = '', aud, jti = '', iat = 0 } = claims
  const made = revocationClaims(
    iss,
    { aud: String(aud), sub, event_type: REVOKED, ...EVERY_AGENT },
    jti,
    new Date(fromNumericDate(iat).getTime() + 999),
  )
  assert.equal(JSON.stringify(made), JSON.stringify(claims))
  assert.equal(typOf('set'), decodeProtectedHeader(TV_06).typ)
})

test('an event about one agent names it, as we and as the app know it', () => {
  const of = { aud: 'https://app.example', sub: 'usr_1', event_type: REVOKED }
  const member = (agent_client_id: string | null) =>
    revocationClaims(
      'https://id.example',
      { ...of, agent_id: 'agt_1', agent_client_id },
      'j',
      new Date(0),
    ).events
  const named = (agent: object) => ({ [REVOKED]: { 'urn:agent-idp:agent': agent } })
  assert.deepEqual(member('orbit'), named({ sub: 'agt_1', client_id: 'orbit' }))
  assert.deepEqual(member(null), named({ sub: 'agt_1' }))
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
      const claims = revocationClaims(
        iss,
        { aud, sub, event_type, ...EVERY_AGENT },
        jti,
        new Date(ms),
      )
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
