// What is believed of the claims of a trusted issuer, whatever they are (TX-21, TX-22, TX-23, TX-50).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  authenticationOf,
  faultOfClaims,
  isIdTokenType,
  profileOf,
} from '../../src/token/upstream-claims.ts'

const NOW = new Date('2026-11-21T16:01:40Z')
const AT = NOW.getTime() / 1000
const ISSUER = 'https://login.orbit.example'
const AGENT = 'agt_a'
const registration = {
  issuer: ISSUER,
  clients: [
    { client_id: 'web', agent_ids: ['agt_b', AGENT] },
    { client_id: 'app', agent_ids: ['agt_b'] },
  ],
}
const claims = { iss: ISSUER, sub: 'kim', aud: 'web', iat: AT, exp: AT + 300 }
const faultOf = (changes: object, agent = AGENT) =>
  faultOfClaims({ ...claims, ...changes }, registration, agent, NOW)

const FAULTS: [object, string | undefined][] = [
  [{}, undefined],
  [{ iss: `${ISSUER}/` }, 'bad_subject_token'],
  [{ iss: [ISSUER] }, 'bad_subject_token'],
  [{ exp: AT - 59 }, undefined],
  [{ exp: AT - 60 }, 'subject_token_expired'],
  [{ exp: Number.POSITIVE_INFINITY }, 'bad_subject_token'],
  [{ iat: AT + 60 }, undefined],
  [{ iat: AT + 61 }, 'bad_subject_token'],
  [{ iat: Number.NEGATIVE_INFINITY }, 'bad_subject_token'],
  [{ nbf: AT + 60 }, undefined],
  [{ nbf: AT + 61 }, 'bad_subject_token'],
  [{ nbf: null }, 'bad_subject_token'],
  [{ events: null }, 'bad_subject_token'],
  [{ scope: '' }, 'bad_subject_token'],
  [{ scp: [] }, 'bad_subject_token'],
  [{ aud: 'app' }, 'upstream_client_not_allowed'],
  [{ aud: 'web', azp: 'app' }, undefined],
  [{ aud: ['web', 'app'], azp: 'web' }, undefined],
  [{ aud: ['web', 'app'], azp: 'app' }, 'upstream_client_not_allowed'],
  [{ aud: ['web', 'web'] }, 'upstream_client_not_allowed'],
  [{ aud: { 0: 'web' } }, 'upstream_client_not_allowed'],
]
for (const [changes, fault] of FAULTS) {
  test(`claims with ${JSON.stringify(changes)} are ${fault ?? 'taken'} (TX-21, TX-22)`, () => {
    assert.equal(faultOf(changes), fault)
  })
}

test('the agents of one client are not those of another', () => {
  assert.equal(faultOf({ aud: 'app' }, 'agt_b'), undefined)
  assert.equal(faultOf({}, 'agt_c'), 'upstream_client_not_allowed')
})

test('an ID token has the typ JWT or none (TX-23)', () => {
  const isTaken = (header: object) =>
    isIdTokenType({ header: { alg: 'ES256', ...header } } as never)
  assert.ok(isTaken({}) && isTaken({ typ: 'JWT' }))
  for (const typ of ['jwt', 'at+jwt', 'JWT ', '', null, ['JWT']]) assert.ok(!isTaken({ typ }))
})

const anything = fc.oneof(
  fc.anything(),
  fc.double(),
  fc.integer({ min: AT - 1000, max: AT + 1000 }),
  fc.array(fc.string()),
)

test('whatever the claims, the sign-in is believed not at all, or to be in the past and in words', () => {
  fc.assert(
    fc.property(anything, anything, anything, (auth_time, acr, amr) => {
      const told = { auth_time, acr, amr }
      assert.deepEqual(authenticationOf(told, { trust_auth_time: false }, NOW), {
        auth_time: null,
        acr: null,
        amr: [],
      })
      const believed = authenticationOf(told, { trust_auth_time: true }, NOW)
      if (believed.auth_time !== null) {
        assert.ok(believed.auth_time <= NOW && believed.auth_time.getTime() >= 0)
        assert.ok(AT + 60 >= (auth_time as number))
      }
      if (believed.acr !== null) assert.equal(believed.acr, acr)
      if (believed.amr.length > 0) assert.deepEqual(believed.amr, amr)
      for (const word of [...believed.amr, believed.acr ?? 'x'])
        assert.match(word, /^[!-~]{1,200}$/)
      assert.ok(believed.amr.length <= 10)
    }),
    { numRuns: 2000 },
  )
})

test('a sign-in is told on as it is said', () => {
  const of = (told: Record<string, unknown>) =>
    authenticationOf(told, { trust_auth_time: true }, NOW)
  const amr = Array.from({ length: 10 }, (_, index) => `m${index}`)
  assert.deepEqual(of({ auth_time: AT - 1.5, acr: 'a'.repeat(200), amr }), {
    auth_time: new Date((AT - 2) * 1000),
    acr: 'a'.repeat(200),
    amr,
  })
  assert.deepEqual(of({ acr: 'a'.repeat(201), amr: [...amr, 'x'] }), of({}))
  assert.deepEqual(of({ acr: 'two words', amr: ['pwd', 'two words'] }), of({}))
  assert.deepEqual(of({ auth_time: AT + 60 }).auth_time, NOW)
  assert.deepEqual(of({ auth_time: AT + 61 }).auth_time, null)
  assert.deepEqual(of({ auth_time: 1 }).auth_time, new Date(1000))
  assert.deepEqual(of({ auth_time: 0 }).auth_time, null)
})

const names = ['sub', 'email', 'email_verified', 'phone_number', 'phone_number_verified', 'name']
const words = fc.oneof(
  fc.constantFrom('kim', 'kim@orbit.example', '+4915123456789', '', ' ', 'a\nb', 'k'.repeat(300)),
  fc.boolean(),
  fc.anything(),
)
const anyClaims = fc.dictionary(fc.constantFrom(...names), words)
const trusting = (trust_contacts: boolean) => ({ claim_mapping: {}, trust_contacts })

test('whatever the claims, no address is taken that is not verified, or of an issuer that is not believed', () => {
  fc.assert(
    fc.property(anyClaims, (told) => {
      const { email, phone_number, ...rest } = profileOf(told, trusting(true))
      if (email !== undefined) {
        assert.ok(told.email_verified === true && told.email === email && email.includes('@'))
      }
      if (phone_number !== undefined) {
        assert.ok(told.phone_number_verified === true && /^\+\d+$/.test(phone_number))
      }
      const none = { email: undefined, phone_number: undefined }
      assert.deepEqual(profileOf(told, trusting(false)), { ...rest, ...none })
    }),
    { numRuns: 2000 },
  )
})

test('a user is made of the standard claims where the registration names no others', () => {
  const told = {
    sub: 'emp-1027',
    name: 'Kim Reyes',
    email: 'kim@orbit.example',
    email_verified: true,
    phone_number: '+4915123456789',
    phone_number_verified: true,
  }
  const { sub: external_id, name, email, phone_number } = told
  assert.deepEqual(profileOf(told, trusting(true)), { external_id, name, email, phone_number })
})

test('claims of other names are not read, and none that only every object has', () => {
  const told = { sub: 'a', emp: 'b', name: 'Kim', display: 'K.' }
  const claim_mapping = { external_id: 'emp', name: 'display' }
  const { external_id, name } = profileOf(told, { claim_mapping, trust_contacts: true })
  assert.deepEqual({ external_id, name }, { external_id: 'b', name: 'K.' })
  const odd = Object.create({ sub: 'inherited' })
  assert.equal(profileOf(odd, trusting(true)).external_id, undefined)
})
