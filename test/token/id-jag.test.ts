// The claims of an ID-JAG, for whatever was decided: nothing but what the profile has and the audience asks for.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { wantedClaims } from '../../src/oauth/profile.ts'
import { decide, type Knowledge, type Question } from '../../src/policy/decide.ts'
import { idJagClaims } from '../../src/token/id-jag.ts'
import type { Subject } from '../../src/token/subject.ts'

const ISSUER = 'https://id.orbit.example'
const AUDIENCE = 'https://auth.paperclip.example'
const API = 'https://api.paperclip.example/'
const NOW = new Date('2026-11-21T16:01:40Z')
const IAT = NOW.getTime() / 1000
const at = (seconds: number) => new Date(NOW.getTime() + seconds * 1000)

const CLAIMS = ['email', 'phone', 'name', 'tenant', 'act', 'aud_sub', 'aud_tenant'] as const
const PROFILES = ['idjag', 'mcp-ema', 'authmd-0.1', 'authmd-0.2', 'authmd-head'] as const

const world = fc.record({
  profile: fc.constantFrom(...PROFILES),
  wanted: fc.uniqueArray(fc.constantFrom(...CLAIMS)),
  delegated: fc.uniqueArray(fc.constantFrom(...CLAIMS)),
  source: fc.constantFrom('user' as const, 'admin' as const, 'policy' as const),
  email: fc.option(fc.constantFrom('kim@orbit.example')),
  email_verified: fc.boolean(),
  phone: fc.option(fc.constantFrom('+4930123456')),
  phone_verified: fc.boolean(),
  name: fc.option(fc.constantFrom('Kim')),
  account: fc.option(
    fc.record({ aud_sub: fc.constant('acct-7'), aud_tenant: fc.option(fc.constant('acme')) }),
    { nil: undefined },
  ),
  acr: fc.option(fc.constantFrom('phr')),
  amr: fc.constantFrom([], ['pwd'], ['pwd', 'otp']),
  auth_time: fc.option(fc.integer({ min: -3000, max: 30 })),
  jkt: fc.option(fc.constantFrom('0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I'), {
    nil: undefined,
  }),
  actors: fc.constantFrom([], ['agt_b'], ['agt_c', 'agt_b']),
  platform: fc.option(fc.constantFrom('orbit'), { nil: undefined }),
  scope: fc.constantFrom(undefined, 'docs.read'),
  resource: fc.boolean(),
  details: fc.boolean(),
})
type World = typeof world extends fc.Arbitrary<infer W> ? W : never

const subjectOf = (of: World): Subject => ({
  user: {
    id: 'usr_1',
    tenant_id: 'ten_1',
    status: 'active',
    email: of.email,
    email_verified: of.email_verified,
    phone_number: of.phone,
    phone_verified: of.phone_verified,
    name: of.name,
    version: '1',
  },
  auth_time: of.auth_time === null ? null : at(of.auth_time),
  amr: of.amr,
  acr: of.acr,
  live: true,
  session_id: 'ses_1',
  family_id: 'rtf_1',
  trusted_issuer_id: null,
})

const knowledgeOf = (of: World, subject: Subject): Knowledge => ({
  agent: { client_metadata_url: null },
  user: subject.user,
  audience: {
    id: 'aud_1',
    issuer: AUDIENCE,
    profile: of.profile,
    status: 'active',
    resources: [
      {
        identifier: API,
        scopes: [{ name: 'docs.read' }],
        authorization_details_types: [{ type: 'payment' }],
      },
    ],
    default_scopes: [],
    default_resources: of.profile === 'mcp-ema' ? [API] : [],
    claims: of.wanted,
    max_auth_age: null,
    acr_values: [],
    dpop_required: false,
    event_names_agent: false,
    id_jag_lifetime: null,
    id_jag_signing_alg: 'ES256',
    version: '1',
  },
  entitlement: {
    id: 'ent_1',
    client_id: 'client-there',
    scopes: ['docs.read'],
    resources: null,
    authorization_details_types: null,
    consent: 'user',
    expires_at: null,
    version: '1',
  },
  delegation: {
    id: 'dlg_1',
    scopes: ['docs.read'],
    resources: null,
    authorization_details: null,
    claims: of.delegated,
    mode: 'always',
    offline: false,
    source: of.source,
    sub_asserted: 'the sub',
    expires_at: null,
    version: '1',
  },
  account: of.account,
  block: undefined,
  actors: of.actors.map((id) => ({ id, permission: { ids: ['apm_1'], scopes: null } })),
  authentication: subject,
  jkt: of.jkt,
  lifetime: 300,
})

/** The ID-JAG of such a world; undefined where there is none. */
function mint(of: World): Record<string, unknown> | undefined {
  const question: Question = {
    audiences: [AUDIENCE],
    resources: of.resource ? [API] : [],
    scope: of.scope,
    details: of.details ? [{ type: 'payment' }] : [],
  }
  const subject = subjectOf(of)
  const known = knowledgeOf(of, subject)
  const decision = decide(question, known, NOW)
  if (!decision.granted) return undefined
  const proved = { agent: { id: 'agt_a' }, actors: known.actors, jkt: of.jkt }
  const correlation = { agent_platform: of.platform, agent_context_id: undefined }
  const { account } = known
  return idJagClaims(ISSUER, proved, subject, account, decision, correlation, 'the jti', NOW)
}

function forEach(check: (claims: Record<string, unknown>, of: World) => void) {
  let minted = 0
  fc.assert(
    fc.property(world, (of) => {
      const claims = mint(of)
      if (claims === undefined) return
      minted += 1
      check(claims, of)
    }),
    { numRuns: 500 },
  )
  assert.ok(minted > 50, `only ${minted} worlds minted`)
}

const NAMES: Record<(typeof CLAIMS)[number], string[]> = {
  email: ['email', 'email_verified'],
  phone: ['phone_number', 'phone_number_verified'],
  name: ['name'],
  tenant: ['tenant'],
  act: ['act'],
  aud_sub: ['aud_sub'],
  aud_tenant: ['aud_tenant'],
}

test('no claim about a user but what the audience asks for and was delegated (IJ-09)', () => {
  forEach((claims, of) => {
    const wanted = wantedClaims({ profile: of.profile, claims: of.wanted })
    const allowed = wanted.filter((claim) => of.delegated.includes(claim))
    for (const claim of CLAIMS) {
      if (allowed.includes(claim) || (claim === 'act' && of.actors.length > 0)) continue
      for (const name of NAMES[claim]) assert.equal(name in claims, false, `${name} leaked`)
    }
  })
})

const REGISTERED = [
  ...['iss', 'sub', 'aud', 'client_id', 'jti', 'iat', 'exp', 'auth_time', 'amr', 'acr', 'resource'],
  ...['scope', 'authorization_details', 'cnf', 'agent_platform', 'agent_context_id'],
  ...Object.values(NAMES).flat(),
]

test('each profile has the claims of its column and no others, none of them empty', () => {
  forEach((claims, of) => {
    const authMd = of.profile.startsWith('authmd-')
    for (const [name, value] of Object.entries(claims)) {
      assert.ok(REGISTERED.includes(name), name)
      assert.notEqual(value, undefined, name)
      assert.notEqual(value, null, name)
      assert.notDeepEqual(value, [], name)
    }
    for (const name of ['iss', 'sub', 'aud', 'client_id', 'jti', 'iat', 'exp']) {
      assert.ok(name in claims, `${name} is missing`)
    }
    assert.equal('nbf' in claims, false)
    assert.equal('acr' in claims, !authMd && of.acr !== null)
    assert.equal('agent_platform' in claims, authMd && of.platform !== undefined)
    const client_id = authMd ? `${ISSUER}/agent-provider.json` : 'client-there'
    assert.equal(claims.client_id, client_id, 'IJ-40, IJ-42')
    assert.deepEqual([claims.iss, claims.sub, claims.aud], [ISSUER, 'the sub', AUDIENCE])
    assert.deepEqual([claims.iat, claims.exp], [IAT, IAT + 300])
  })
})

test('an auth.md audience is told a verified contact with a flag that is true (IJ-07)', () => {
  forEach((claims, of) => {
    if ('email' in claims) assert.ok(of.email_verified)
    if ('phone_number' in claims) assert.ok(of.phone_verified)
    if (!of.profile.startsWith('authmd-')) {
      assert.equal('email_verified' in claims || 'phone_number_verified' in claims, false)
      return
    }
    assert.ok('email' in claims || 'phone_number' in claims)
    assert.equal(claims.email_verified, 'email' in claims ? true : undefined)
    assert.equal(claims.phone_number_verified, 'phone_number' in claims ? true : undefined)
  })
})

test('a contact that an auth.md audience needs and may not be told mints nothing (IJ-07)', () => {
  fc.assert(
    fc.property(world, (of) => {
      const told = (claim: 'email' | 'phone', there: boolean) =>
        there && of.delegated.includes(claim)
      const email = told('email', of.email !== null && of.email_verified)
      const phone = told('phone', of.phone !== null && of.phone_verified)
      if (!of.profile.startsWith('authmd-') || email || phone) return
      assert.equal(mint(of), undefined)
    }),
  )
})

test('auth_time is that of the sign-in and never after iat (IJ-08)', () => {
  forEach((claims, of) => {
    if (of.auth_time === null) assert.equal('auth_time' in claims, false)
    else assert.equal(claims.auth_time, Math.min(IAT + of.auth_time, IAT))
  })
})

test('cnf is there exactly when a key was proved, and names it (IJ-11, DP-07)', () => {
  forEach((claims, of) => {
    assert.deepEqual(claims.cnf, of.jkt === undefined ? undefined : { jkt: of.jkt })
  })
})

test('act names the agent, and whoever acts for it around it (IJ-12)', () => {
  forEach((claims, of) => {
    const chain: string[] = []
    for (let act = claims.act as { sub: string; act?: object } | undefined; act; ) {
      chain.push(act.sub)
      act = act.act as typeof act
    }
    const asked = of.wanted.includes('act') && of.delegated.includes('act')
    const expected = of.actors.length > 0 || asked ? [...of.actors, 'agt_a'] : []
    assert.deepEqual(chain, expected)
  })
})

test('one resource is a string, and details and scopes are those that were granted (TX-14)', () => {
  forEach((claims, of) => {
    const named = of.resource || of.profile === 'mcp-ema'
    assert.equal(claims.resource, named ? API : undefined)
    assert.equal(claims.scope, of.scope)
    assert.deepEqual(claims.authorization_details, of.details ? [{ type: 'payment' }] : undefined)
  })
})
