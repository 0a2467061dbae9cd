import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Decision, Question } from '../../src/policy/decide.ts'
import { API, ask, at, FILES, type Otherwise } from '../support/policy-world.ts'

const granted = (decision: Decision) => {
  assert.ok(decision.granted, JSON.stringify(decision))
  return decision
}
const refused = (decision: Decision) => {
  assert.equal(decision.granted, false)
  assert.ok(!decision.granted)
  return decision
}
const actor = (scopes: string[] | null, id = 'agt_b') => ({
  id,
  permission: { ids: ['apm_1'], scopes },
})
const unpermitted = { id: 'agt_c', permission: undefined }
const payment = { type: 'payment' }

const REFUSALS: [string, string, Partial<Question>, Otherwise][] = [
  ['what a block forbids', 'denied_by_rule', {}, { block: { id: 'blk_1', expires_at: null } }],
  [
    'what a block forbids for a second more',
    'denied_by_rule',
    {},
    { block: { id: 'blk_1', expires_at: at(1) } },
  ],
  ['an actor without permission', 'actor_not_permitted', {}, { actors: [unpermitted] }],
  [
    'one actor without permission among several',
    'actor_not_permitted',
    {},
    { actors: [actor(null), unpermitted] },
  ],
  [
    'scopes that no actor is permitted',
    'scope_not_entitled',
    {},
    { actors: [actor(['docs.write'])] },
  ],
  [
    'everything to an actor that is permitted nothing',
    'scope_not_entitled',
    {},
    { actors: [actor([])] },
  ],
  ['details that are none', 'details_malformed', { details: 'malformed' }, {}],
  ['details of an unknown type', 'details_unknown_type', { details: [{ type: 'x' }] }, {}],
  [
    'details of an unknown type beside a known one',
    'details_unknown_type',
    { details: [payment, { type: 'x' }] },
    {},
  ],
  [
    'details of another resource',
    'details_not_entitled',
    { details: [{ type: 'transfer' }], resources: [API] },
    {},
  ],
  [
    'details of a type that is not entitled',
    'details_not_entitled',
    { details: [payment] },
    { entitlement: { authorization_details_types: ['account'] } },
  ],
  [
    'details that were not delegated',
    'details_not_delegated',
    { details: [payment] },
    { delegation: { authorization_details: [{ type: 'account' }] } },
  ],
  [
    'details where none were delegated',
    'details_not_delegated',
    { details: [payment] },
    { delegation: { authorization_details: [] } },
  ],
  [
    'an unbound request to an audience that needs a key',
    'dpop_required',
    {},
    { audience: { dpop_required: true } },
  ],
  ['a sign-in without a class', 'weak_authentication', {}, { audience: { acr_values: ['phr'] } }],
  [
    'a sign-in of a class that is not accepted',
    'weak_authentication',
    {},
    { audience: { acr_values: ['phr'] }, authentication: { acr: 'pwd' } },
  ],
  [
    'a sign-in of an unknown time where age matters',
    'stale_authentication',
    {},
    { audience: { max_auth_age: 3600 }, authentication: { auth_time: null } },
  ],
  ['an ended session', 'session_ended', {}, { authentication: { live: false } }],
  [
    'an ended session whose offline delegation is over too',
    'session_ended',
    {},
    { authentication: { live: false }, delegation: { offline: true, expires_at: at(0) } },
  ],
  [
    'an ended session without a delegation, though an administrator consents',
    'session_ended',
    {},
    {
      authentication: { live: false },
      delegation: undefined,
      entitlement: { consent: 'admin' },
    },
  ],
  ['an agent without a name there', 'no_client_mapping', {}, { entitlement: { client_id: null } }],
]

for (const [what, reason, question, otherwise] of REFUSALS) {
  test(`refuses ${what}`, () => {
    assert.equal(refused(ask(question, otherwise)).reason, reason)
  })
}

test('actors that are permitted get what is permitted to all of them (TX-19)', () => {
  const asked = { scope: 'docs.read docs.write files.read' }
  const some = { actors: [actor(['docs.read', 'files.read']), actor(null, 'agt_c')] }
  assert.deepEqual(granted(ask(asked, some)).scopes, ['docs.read', 'files.read'])
  const fewer = { actors: [actor(['docs.read', 'files.read']), actor(['files.read'], 'agt_c')] }
  assert.deepEqual(granted(ask(asked, fewer)).scopes, ['files.read'])
  assert.deepEqual(granted(ask(asked, { actors: [actor(null)] })).scopes, SCOPES)
})

test('an ID-JAG lives no longer than server and audience say (IJ-04)', () => {
  assert.equal(granted(ask()).lifetime, 300)
  assert.equal(granted(ask({}, { audience: { id_jag_lifetime: 60 } })).lifetime, 60)
  assert.equal(
    granted(ask({}, { audience: { id_jag_lifetime: 300 }, lifetime: 120 })).lifetime,
    120,
  )
})

test('only a missing delegation is made by an administrator, and only where one consents', () => {
  const missing = refused(ask({}, { delegation: undefined }))
  assert.equal(missing.policy, undefined)
  const expired = { delegation: { expires_at: at(0) }, entitlement: { consent: 'admin' } } as const
  const over = refused(ask({}, expired))
  assert.deepEqual([over.reason, over.policy], ['delegation_expired', undefined])
  const first = refused(ask({}, { ...expired, delegation: undefined }))
  assert.equal(first.policy?.consent, 'admin')
})

test('what the user is to be asked for comes with the refusal (GR-04)', () => {
  const permitted = { scopes: ['docs.read'], resources: [], details: [payment] }
  const wanted = { details: [payment], scope: 'docs.read admin' }
  assert.deepEqual(refused(ask(wanted, { delegation: undefined })).asked, permitted)
  const untold = { audience: { claims: ['name'] }, delegation: { claims: [] } }
  const claims = refused(ask(wanted, untold))
  assert.deepEqual([claims.reason, claims.asked], ['claims_not_delegated', permitted])
})

test('an audience without a bound takes a sign-in of an unknown time', () => {
  granted(ask({}, { authentication: { auth_time: null } }))
  const stale = refused(
    ask({}, { audience: { max_auth_age: 3600 }, authentication: { auth_time: null } }),
  )
  assert.ok(stale.policy === undefined)
  assert.deepEqual([stale.granted, stale.max_age, stale.acr_values], [false, 3300, undefined])
})

test('the account at the relying app is told when there is one (IJ-36)', () => {
  const wants = {
    audience: { claims: ['aud_sub', 'aud_tenant'] },
    delegation: { claims: ['aud_sub', 'aud_tenant'] },
  }
  const told = (account: Otherwise['account']) => granted(ask({}, { ...wants, account })).claims
  assert.deepEqual(told(undefined), [])
  assert.deepEqual(told({ aud_sub: 'acct-7', aud_tenant: null }), ['aud_sub'])
  assert.deepEqual(told({ aud_sub: 'acct-7', aud_tenant: 'acme' }), ['aud_sub', 'aud_tenant'])
})

test('an offline delegation carries an ended session, bounded by freshness like any other', () => {
  const ended: Otherwise = { authentication: { live: false }, delegation: { offline: true } }
  granted(ask({}, ended))
  granted(ask({}, { ...ended, delegation: { offline: true, expires_at: at(1) } }))
  const aged = { ...ended, audience: { max_auth_age: 3600 } }
  granted(ask({}, aged))
  const authentication = { live: false, auth_time: at(-3301) }
  assert.equal(refused(ask({}, { ...aged, authentication })).reason, 'stale_authentication')
})

test('a block that is over forbids nothing', () => {
  granted(ask({}, { block: { id: 'blk_1', expires_at: at(0) } }))
})

test('an audience that needs a key takes a proved one', () => {
  granted(ask({}, { audience: { dpop_required: true }, jkt: 'a key' }))
})

test('a client that both sides know by one metadata URL needs no mapping (IJ-40)', () => {
  const url = 'https://agent.example/client.json'
  const agent = { client_metadata_url: url }
  const unmapped = { agent, entitlement: { client_id: null } }
  assert.equal(granted(ask({}, unmapped)).client_id, url)
  assert.equal(granted(ask({}, { agent })).client_id, 'client-at-paperclip', 'a mapping counts')
})

test('too weak and too old says what would be both', () => {
  const decision = refused(
    ask(
      {},
      {
        audience: { acr_values: ['phr', 'phrh'], max_auth_age: 3600 },
        authentication: { auth_time: at(-3301), acr: 'pwd' },
      },
    ),
  )
  assert.ok(decision.policy === undefined)
  assert.deepEqual([decision.max_age, decision.acr_values], [3300, ['phr', 'phrh']])
  const weak = refused(ask({}, { audience: { acr_values: ['phr'], max_auth_age: 3600 } }))
  assert.ok(weak.policy === undefined)
  assert.deepEqual([weak.max_age, weak.acr_values], [undefined, ['phr']])
  granted(ask({}, { audience: { acr_values: ['x', 'phr'] }, authentication: { acr: 'phr' } }))
})

/** Two faults of which the first answers (TX-60). */
const ORDER: [string, Partial<Question>, Otherwise][] = [
  ['several_audiences', { audiences: ['a', 'b'] }, {}],
  ['audience_inactive', {}, { audience: { status: 'suspended' } }],
  ['no_entitlement', {}, { entitlement: { expires_at: at(0) } }],
  ['resource_not_registered', { resources: ['https://nowhere.example/'] }, {}],
  ['scope_not_in_catalogue', { scope: 'admin' }, {}],
  ['details_unknown_type', { details: [{ type: 'x' }] }, {}],
  ['dpop_required', {}, { audience: { dpop_required: true } }],
  ['denied_by_rule', {}, { block: { id: 'blk_1', expires_at: null } }],
  ['actor_not_permitted', {}, { actors: [unpermitted] }],
  ['session_ended', {}, { authentication: { live: false } }],
  ['delegation_expired', {}, { delegation: { expires_at: at(0) } }],
  ['weak_authentication', {}, { audience: { acr_values: ['phr'] } }],
]
test('of two faults the one that comes first in the order answers (TX-60, TX-51)', () => {
  for (const [index, [first, question, otherwise]] of ORDER.entries()) {
    for (const [, later, more] of ORDER.slice(index + 1)) {
      const merged: Otherwise = {
        ...more,
        ...otherwise,
        audience: { ...more.audience, ...otherwise.audience },
        entitlement: { ...more.entitlement, ...otherwise.entitlement },
        delegation: { ...more.delegation, ...otherwise.delegation },
        authentication: { ...more.authentication, ...otherwise.authentication },
      }
      assert.equal(refused(ask({ ...later, ...question }, merged)).reason, first)
    }
  }
})

const SCOPES = ['docs.read', 'docs.write', 'files.read']
const scopes = fc.uniqueArray(fc.constantFrom(...SCOPES))
const TYPES = ['payment', 'account', 'transfer']
const types = fc.uniqueArray(fc.constantFrom(...TYPES))
const anyDetail = fc.record(
  {
    type: fc.constantFrom(...TYPES),
    actions: fc.uniqueArray(fc.constantFrom('read', 'write'), { minLength: 1 }),
    locations: fc.uniqueArray(fc.constantFrom(API, FILES), { minLength: 1 }),
  },
  { requiredKeys: ['type'], noNullPrototype: true },
)
type Entry = { type: string; actions?: string[]; locations?: string[] }

test('granted ⊆ asked ∩ delegated ∩ entitled ∩ catalogue ∩ permitted, details too', () => {
  const world = fc.record({
    asked: fc.uniqueArray(fc.constantFrom(...SCOPES), { minLength: 1 }),
    resources: fc.uniqueArray(fc.constantFrom(API, FILES)),
    details: fc.array(anyDetail, { maxLength: 3 }),
    entitled: scopes,
    entitledTypes: fc.option(types),
    delegated: scopes,
    delegatedDetails: fc.option(fc.array(anyDetail, { maxLength: 3 })),
    permitted: fc.array(fc.option(scopes), { maxLength: 2 }),
  })
  let grants = 0
  let detailed = 0
  fc.assert(
    fc.property(world, (of) => {
      const decision = ask(
        { scope: of.asked.join(' '), resources: of.resources, details: of.details },
        {
          entitlement: { scopes: of.entitled, authorization_details_types: of.entitledTypes },
          delegation: { scopes: of.delegated, authorization_details: of.delegatedDetails },
          actors: of.permitted.map((permitted, index) => actor(permitted, `agt_${index}`)),
        },
      )
      if (!decision.granted) return
      grants += 1
      for (const scope of decision.scopes) {
        assert.ok(of.asked.includes(scope) && of.entitled.includes(scope))
        assert.ok(of.delegated.includes(scope))
        for (const permitted of of.permitted) assert.ok(permitted?.includes(scope) ?? true)
      }
      assert.equal(of.details.length > 0, decision.details.length > 0, 'asked for means granted')
      for (const detail of decision.details as Entry[]) {
        detailed += 1
        assert.ok(of.entitledTypes?.includes(detail.type) ?? true, 'entitled')
        assert.ok(
          (of.details as Entry[]).some((one) => within(detail, one)),
          'asked',
        )
        const { delegatedDetails } = of
        assert.ok(delegatedDetails === null || delegatedDetails.some((one) => within(detail, one)))
        const home = detail.type === 'transfer' ? FILES : API
        assert.ok(decision.resources.length === 0 || decision.resources.includes(home))
        assert.ok((detail.locations ?? [home]).every((location) => location === home))
      }
    }),
    { numRuns: 5000 },
  )
  assert.ok(grants > 200 && detailed > 50, `${grants} grants, ${detailed} details`)
})

/** A part of what the other says, which says more when it says less. */
const within = (part: Entry, whole: Entry) =>
  part.type === whole.type &&
  (['actions', 'locations'] as const).every(
    (list) =>
      whole[list] === undefined || part[list]?.every((one) => whole[list]?.includes(one)) === true,
  )
