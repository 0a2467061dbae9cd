import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { wantedClaims } from '../../src/oauth/profile.ts'
import { normaliseResource } from '../../src/oauth/uri.ts'
import { type Decision, decide, type Knowledge, type Question } from '../../src/policy/decide.ts'
import { at, known as everything, NOW } from '../support/policy-world.ts'

const { user, audience, entitlement } = everything
const delegation = { ...everything.delegation, scopes: ['docs.read', 'files.read'] }
const known: Knowledge = { ...everything, delegation }
const asked: Question = {
  audiences: [audience.issuer],
  resources: [],
  scope: 'docs.read',
  details: [],
}
const signedIn = (seconds: number) => ({
  authentication: { ...known.authentication, auth_time: at(seconds) },
})

const granted = (decision: Decision) => {
  assert.ok(decision.granted, JSON.stringify(decision))
  return decision
}
const reason = (decision: Decision) => {
  assert.ok(!decision.granted, 'it was granted')
  return decision.reason
}
const ask = (question: Partial<Question>, knowledge: Partial<Knowledge> = {}) =>
  decide({ ...asked, ...question }, { ...known, ...knowledge }, NOW)

test('grants what was asked, delegated, entitled and catalogued', () => {
  const { scopes, resources, lifetime } = granted(ask({}))
  assert.deepEqual(
    { scopes, resources, lifetime },
    { scopes: ['docs.read'], resources: [], lifetime: 300 },
  )
})

test('narrows to the delegated part of the scopes (TX-12)', () => {
  assert.deepEqual(granted(ask({ scope: 'docs.read docs.write' })).scopes, ['docs.read'])
})

test('counts only the scopes of the granted resources as the catalogue (rule 2)', () => {
  const resources = ['https://api.paperclip.example/']
  assert.deepEqual(granted(ask({ resources, scope: 'docs.read files.read' })).scopes, ['docs.read'])
  assert.equal(reason(ask({ resources, scope: 'files.read' })), 'scope_not_in_catalogue')
})

test('compares resources after normalisation and answers with the registered spelling (TX-11)', () => {
  const decision = granted(ask({ resources: ['HTTPS://API.paperclip.example:443/%2e'] }))
  assert.deepEqual(decision.resources, ['https://api.paperclip.example/'])
})

for (const [name, question, knowledge, expected] of [
  [
    'several audiences',
    { audiences: ['https://a.example', 'https://b.example'] },
    {},
    'several_audiences',
  ],
  ['an unknown audience', {}, { audience: undefined }, 'unknown_audience'],
  [
    'a suspended audience',
    {},
    { audience: { ...audience, status: 'suspended' } },
    'audience_inactive',
  ],
  ['no entitlement', {}, { entitlement: undefined }, 'no_entitlement'],
  [
    'an entitlement past its end',
    {},
    { entitlement: { ...entitlement, expires_at: NOW } },
    'no_entitlement',
  ],
  [
    'no client mapping (IJ-41)',
    {},
    { entitlement: { ...entitlement, client_id: null } },
    'no_client_mapping',
  ],
  ['a relative resource (TX-08)', { resources: ['/docs'] }, {}, 'resource_not_registered'],
  [
    'a resource with a fragment',
    { resources: ['https://api.paperclip.example/#x'] },
    {},
    'resource_not_registered',
  ],
  [
    'a resource of another app (TX-09)',
    { resources: ['https://api.other.example/'] },
    {},
    'resource_not_registered',
  ],
  [
    'a resource beyond the entitlement',
    { resources: ['https://files.paperclip.example/'] },
    { entitlement: { ...entitlement, resources: ['https://api.paperclip.example/'] } },
    'resource_not_entitled',
  ],
  [
    'no resource for an MCP audience',
    {},
    { audience: { ...audience, profile: 'mcp-ema' } },
    'resource_required',
  ],
  ['a malformed scope', { scope: 'docs.read  docs.write' }, {}, 'scope_malformed'],
  ['a scope nobody knows', { scope: 'admin' }, {}, 'scope_not_in_catalogue'],
  [
    'a scope beyond the entitlement',
    { scope: 'docs.write' },
    { entitlement: { ...entitlement, scopes: ['docs.read'] } },
    'scope_not_entitled',
  ],
  ['no delegation', {}, { delegation: undefined }, 'no_delegation'],
  [
    'a delegation past its end',
    {},
    { delegation: { ...delegation, expires_at: NOW } },
    'delegation_expired',
  ],
  ['a scope that was not delegated', { scope: 'docs.write' }, {}, 'scope_not_delegated'],
  [
    'a resource that was not delegated',
    { resources: ['https://api.paperclip.example/'] },
    { delegation: { ...delegation, resources: ['https://files.paperclip.example/'] } },
    'resource_not_delegated',
  ],
  [
    'no verified contact for an auth.md audience (IJ-07)',
    {},
    { audience: { ...audience, profile: 'authmd-0.2' }, user: { ...user, email_verified: false } },
    'unverified_contact',
  ],
  [
    'a claim that the user was not shown',
    {},
    { audience: { ...audience, claims: ['tenant'] } },
    'claims_not_delegated',
  ],
  [
    'a contact that an administrator did not allow to an auth.md audience, where it is the only one',
    {},
    {
      audience: { ...audience, profile: 'authmd-0.2' },
      delegation: { ...delegation, source: 'admin', claims: ['phone'] },
    },
    'unverified_contact',
  ],
  [
    'an authentication that would be too old when the ID-JAG is presented (TX-54)',
    {},
    { audience: { ...audience, max_auth_age: 3600 }, ...signedIn(-3301) },
    'stale_authentication',
  ],
] as [string, Partial<Question>, Partial<Knowledge>, string][]) {
  test(`refuses ${name}`, () => {
    assert.equal(reason(ask(question, knowledge)), expected)
  })
}

test('says which age of sign-in would do, headroom taken off (TX-50, TX-54)', () => {
  const stale = ask({}, { audience: { ...audience, max_auth_age: 3600 }, ...signedIn(-3301) })
  assert.equal('max_age' in stale && stale.max_age, 3300)
  granted(ask({}, { audience: { ...audience, max_auth_age: 3600 }, ...signedIn(-3300) }))
})

test('does not mint a stale sign-in whatever else is asked of the target first (TX-51)', () => {
  const stale = { ...signedIn(-4000) }
  const bounded = { ...audience, max_auth_age: 3600 }
  assert.equal(
    reason(ask({ scope: 'admin' }, { ...stale, audience: bounded })),
    'scope_not_in_catalogue',
  )
  assert.equal(reason(ask({}, { ...stale, audience: undefined })), 'unknown_audience')
})

test('an entitlement by the administrator asks for a policy delegation, not for the user', () => {
  const decision = ask(
    {},
    { delegation: undefined, entitlement: { ...entitlement, consent: 'admin' } },
  )
  assert.ok(!decision.granted && decision.policy)
})

test('a request without resource is bounded to the resources that were entitled or delegated', () => {
  const api = 'https://api.paperclip.example/'
  const byEntitlement = ask({}, { entitlement: { ...entitlement, resources: [api] } })
  assert.deepEqual(granted(byEntitlement).resources, [api])
  const byDelegation = ask({}, { delegation: { ...delegation, resources: [api] } })
  assert.deepEqual(granted(byDelegation).resources, [api])
})

test('a delegation whose resources the audience has dropped grants nothing', () => {
  const dropped = { ...delegation, resources: ['https://gone.paperclip.example/'] }
  assert.equal(reason(ask({}, { delegation: dropped })), 'resource_not_delegated')
})

test('takes the default scopes and resources where none is asked (TX-10, TX-13)', () => {
  const defaults = {
    ...audience,
    default_scopes: ['docs.read'],
    default_resources: ['https://api.paperclip.example/'],
  }
  const { scopes, resources } = granted(ask({ scope: undefined }, { audience: defaults }))
  assert.deepEqual(
    { scopes, resources },
    { scopes: ['docs.read'], resources: ['https://api.paperclip.example/'] },
  )
  assert.deepEqual(granted(ask({ scope: undefined })).scopes, [])
})

const SCOPES = ['a', 'b', 'c', 'd']
const RESOURCES = ['https://r1.example/', 'https://r2.example/', 'https://r3.example/']
const scopes = fc.uniqueArray(fc.constantFrom(...SCOPES))
const resources = fc.uniqueArray(fc.constantFrom(...RESOURCES))
const ceiling = fc.option(resources)

test('granted ⊆ asked ∩ delegated ∩ entitled ∩ catalogue, for any of them', () => {
  const world = fc.record({
    asked: scopes,
    askedResources: resources,
    delegated: scopes,
    delegatedResources: ceiling,
    entitled: scopes,
    entitledResources: ceiling,
    catalogue: fc.uniqueArray(fc.record({ identifier: fc.constantFrom(...RESOURCES), scopes }), {
      selector: ({ identifier }) => identifier,
    }),
    defaults: scopes,
    defaultResources: resources,
    profile: fc.constantFrom('idjag', 'mcp-ema', 'authmd-0.2'),
  })
  let grants = 0
  fc.assert(
    fc.property(world, (of) => {
      const decision = decide(
        {
          audiences: [audience.issuer],
          resources: of.askedResources,
          scope: of.asked.length > 0 ? of.asked.join(' ') : undefined,
          details: [],
        },
        {
          ...known,
          audience: {
            ...audience,
            profile: of.profile as 'idjag',
            resources: of.catalogue.map((entry) => ({
              identifier: entry.identifier,
              scopes: entry.scopes.map((name) => ({ name })),
            })),
            default_scopes: of.defaults,
            default_resources: of.defaultResources,
          },
          entitlement: { ...entitlement, scopes: of.entitled, resources: of.entitledResources },
          delegation: { ...delegation, scopes: of.delegated, resources: of.delegatedResources },
        },
        NOW,
      )
      if (!decision.granted) return
      grants += 1
      const askedFor = of.asked.length > 0 ? of.asked : of.defaults
      const named =
        decision.resources.length > 0
          ? decision.resources
          : of.catalogue.map((entry) => entry.identifier)
      const catalogued = of.catalogue
        .filter((entry) => named.includes(entry.identifier))
        .flatMap((entry) => entry.scopes)
      for (const scope of decision.scopes) {
        assert.ok(askedFor.includes(scope), `${scope} was not asked for`)
        assert.ok(of.delegated.includes(scope), `${scope} was not delegated`)
        assert.ok(of.entitled.includes(scope), `${scope} is not entitled`)
        assert.ok(catalogued.includes(scope), `${scope} is not of the granted resources`)
      }
      for (const resource of decision.resources) {
        assert.ok(
          of.catalogue.some((entry) => entry.identifier === resource),
          'a resource nobody knows',
        )
        if (of.askedResources.length > 0) assert.ok(of.askedResources.includes(resource))
        if (of.delegatedResources) assert.ok(of.delegatedResources.includes(resource))
        if (of.entitledResources) assert.ok(of.entitledResources.includes(resource))
      }
      // An ID-JAG without `resource` reaches all of the audience: only where nobody named resources.
      if (decision.resources.length === 0) {
        assert.equal(of.delegatedResources, null)
        assert.equal(of.entitledResources, null)
        assert.deepEqual(of.defaultResources, [])
      }
      if (askedFor.length > 0)
        assert.ok(decision.scopes.length > 0, 'scopes were asked for, none is granted')
    }),
    { numRuns: 5_000 },
  )
  assert.ok(grants > 100, `only ${grants} of the worlds granted anything`)
})

test('told ⊆ wanted ∩ delegated ∩ known, and of what a user allowed nothing is left out silently', () => {
  const names = ['email', 'phone', 'name', 'tenant', 'act']
  const some = fc.subarray(names)
  const world = fc.record({
    asked: some,
    delegated: some,
    source: fc.constantFrom('user', 'admin', 'policy'),
    profile: fc.constantFrom('idjag', 'mcp-ema', 'authmd-0.2'),
    email: fc.option(fc.constant('kim@orbit.example')),
    email_verified: fc.boolean(),
    phone_number: fc.option(fc.constant('+33612345678')),
    phone_verified: fc.boolean(),
    name: fc.option(fc.constant('Kim')),
  })
  const seen = new Set<string>()
  fc.assert(
    fc.property(world, ({ asked, delegated, source, profile, ...person }) => {
      const app = { ...audience, profile: profile as 'idjag', claims: asked }
      const contact = {
        email: person.email !== null && person.email_verified,
        phone: person.phone_number !== null && person.phone_verified,
      }
      const there: Record<string, boolean> = {
        ...contact,
        name: person.name !== null,
        tenant: true,
        act: true,
      }
      const whole = wantedClaims(app).filter((name) => there[name])
      const decision = ask(
        { resources: ['https://api.paperclip.example/'] },
        {
          user: { ...user, ...person },
          audience: app,
          delegation: { ...delegation, source: source as 'user', claims: delegated },
        },
      )
      seen.add(`${source} ${decision.granted || decision.reason}`)
      if (decision.granted) {
        assert.deepEqual(
          decision.claims,
          whole.filter((name) => delegated.includes(name)),
        )
        if (source === 'user') assert.deepEqual(decision.claims, whole)
        if (profile === 'authmd-0.2')
          assert.ok(decision.claims.includes('email') || decision.claims.includes('phone'))
      } else if (decision.reason === 'claims_not_delegated') {
        assert.equal(source, 'user')
        assert.ok(whole.some((name) => !delegated.includes(name)))
      } else {
        assert.equal(decision.reason, 'unverified_contact')
        assert.equal(profile, 'authmd-0.2')
        const told = source === 'user' ? whole : whole.filter((name) => delegated.includes(name))
        assert.ok(!told.includes('email') && !told.includes('phone'))
      }
    }),
    { numRuns: 5_000 },
  )
  assert.deepEqual([...seen].sort(), [
    'admin true',
    'admin unverified_contact',
    'policy true',
    'policy unverified_contact',
    'user claims_not_delegated',
    'user true',
    'user unverified_contact',
  ])
})

test('a normalised resource stays what it is when normalised again', () => {
  fc.assert(
    fc.property(fc.webUrl({ withQueryParameters: true }), (url) => {
      const once = normaliseResource(url)
      if (once !== undefined) assert.equal(normaliseResource(once), once)
    }),
  )
})
