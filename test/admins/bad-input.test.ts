/** The admin door's records never answer bad input with a fault of our own. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { NewAdminKey } from '../../src/admins/schema.ts'
import { AgentPatch, NewAgent, NewCredential } from '../../src/agents/schema.ts'
import { AudiencePatch, NewAudience } from '../../src/audiences/schema.ts'
import { GivenEntitlement } from '../../src/entitlements/schema.ts'
import { NewActorPermission } from '../../src/rules/actor-permission-schema.ts'
import { NewBlock } from '../../src/rules/block-schema.ts'
import { NewTenant, TenantPatch } from '../../src/tenants/schema.ts'
import { NewUser, UserPatch } from '../../src/users/schema.ts'
import { openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })

const create = async (path: string, body: object) => {
  const answer = await house.admin('POST', path, body)
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const later = new Date(house.clock.now.getTime() + 1e9).toISOString()
const user = await create('/users', { email: 'kim@orbit.example' })
const registration = {
  name: 'Planner',
  purpose: 'Plans',
  owner_id: user.id,
  expires_at: later,
  redirect_uris: [],
  grant_types: ['authorization_code'],
  environment: 'test',
  id_token_signed_response_alg: 'ES256',
  dpop_bound_access_tokens: false,
}
const enrolment = { ...registration, token_endpoint_auth_method: 'private_key_jwt' }
const jwks_uri = 'https://planner.example/jwks'
const agent = await create('/agents', { ...enrolment, jwks_uri })
const secretAgent = await create('/agents', {
  ...enrolment,
  token_endpoint_auth_method: 'client_secret_post',
})
const settings = {
  name: 'Chat',
  resources: [{ identifier: 'https://api.example/', scopes: [{ name: 'chat.read' }] }],
  default_scopes: [],
  default_resources: [],
  claims: [],
  max_auth_age: 3600,
  id_jag_lifetime: 100,
  id_jag_signing_alg: 'ES256',
  owner_id: user.id,
  review_at: later,
  aliases: [],
  sector: null,
  dpop_required: false,
  events_endpoint: null,
  events_dialect: 'none',
  event_type: null,
  event_names_agent: false,
  notify_expiry: false,
}
const issuer = 'https://auth.example'
const audience = await create('/audiences', { ...settings, issuer, profile: 'idjag' })

let fresh = 0
type Call = {
  call: [method: string, path: string]
  schema: { properties: object }
  body(): Record<string, unknown>
}
const CALLS: Call[] = [
  { call: ['POST', '/users'], schema: NewUser, body: () => ({}) },
  { call: ['PATCH', `/users/${user.id}`], schema: UserPatch, body: () => ({}) },
  { call: ['POST', '/tenants'], schema: NewTenant, body: () => ({ name: 'x' }) },
  { call: ['PATCH', `/tenants/${user.tenant_id}`], schema: TenantPatch, body: () => ({}) },
  { call: ['POST', '/agents'], schema: NewAgent, body: () => ({ ...enrolment, jwks_uri }) },
  { call: ['PATCH', `/agents/${agent.id}`], schema: AgentPatch, body: () => registration },
  ...[agent, secretAgent].map(
    ({ id }): Call => ({
      call: ['POST', `/agents/${id}/credentials`],
      schema: NewCredential,
      body: () => ({}),
    }),
  ),
  {
    call: ['POST', '/audiences'],
    schema: NewAudience,
    body: () => ({ ...settings, profile: 'idjag', issuer: `https://auth.example/${++fresh}` }),
  },
  { call: ['PATCH', `/audiences/${audience.id}`], schema: AudiencePatch, body: () => settings },
  {
    call: ['PUT', `/agents/${agent.id}/entitlements/${audience.id}`],
    schema: GivenEntitlement,
    body: () => ({ scopes: ['chat.read'], consent: 'admin' }),
  },
  {
    call: ['POST', '/admin-keys'],
    schema: NewAdminKey,
    body: () => ({ name: 'x', scopes: ['*'], expires_at: later }),
  },
  {
    call: ['POST', '/blocks'],
    schema: NewBlock,
    body: () => ({ agent_id: agent.id, reason: 'x' }),
  },
  {
    call: ['POST', '/actor-permissions'],
    schema: NewActorPermission,
    body: () => ({ agent_id: agent.id, actor_id: secretAgent.id }),
  },
]
const MODULUS = 'AQAB'.repeat(90)
const VALUES: unknown[] = [
  ...[null, true, 0, -1, 1e308, 2 ** 31, 2 ** 53, '', ' ', '\0', '\ud800', 'x'.repeat(5000)],
  ...[[], {}, [null], [{}], [[]], ['\0'], ['a', 'a'], { '\0': 1 }, { constructor: 1 }],
  ...['9999-12-31T23:59:59Z', '0000-01-01T00:00:00Z', '2016-12-31T23:59:60Z'],
  ...['2099-01-01 00:00:00Z', '2099-01-01T00:00:00+23:59', 'urn:x:y', 'https://%zz/'],
  ...['https://[::1]/', 'https://a.example:99999/', 'https://a.example', '*', 'none'],
  ...[[{ identifier: 'urn:x', scopes: [] }], { keys: [] }, { keys: [{ kty: 'EC' }] }],
  ...[
    { kty: 'RSA', n: 'AQAB', e: 'AQAB' },
    { kty: 'RSA', n: MODULUS, e: 'AA' },
    { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA' },
    { kty: 'OKP', crv: 'Ed25519', x: 'AAAA' },
    { kty: 'OKP', crv: 'Ed25519', x: 5 },
  ].flatMap((key) => [key, { keys: [key] }]),
]

const isOurFault = (status: number) => status >= 500

for (const { call, schema, body } of CALLS) {
  const shown = call.join(' ').replaceAll(/[a-z]{3}_[\w-]{22}/g, '{id}')
  test(`${shown} takes or refuses whatever comes`, async () => {
    const faults: string[] = []
    const ask = async (sent: unknown, what: string) => {
      const { status } = await house.admin(...call, sent)
      if (isOurFault(status)) faults.push(`${what}: ${status}`)
    }
    for (const value of VALUES) {
      await ask(value, JSON.stringify(value))
      for (const member of [...Object.keys(schema.properties), 'unknown']) {
        await ask({ ...body(), [member]: value }, `${member} ${JSON.stringify(value)}`)
      }
    }
    assert.deepEqual(faults, [])
  })
}

for (const path of [
  ...[`/users/${user.id}`, `/tenants/${user.tenant_id}`],
  ...[`/agents/${agent.id}`, `/audiences/${audience.id}`],
]) {
  test(`PATCH /${path.split('/')[1]}/{id} with nothing to change is no way to read`, async () => {
    const answer = await house.admin('PATCH', path, {})
    assertRefused(answer, 422, 'validation_failed', '')
    assert.match(answer.text, /has no member/)
  })
}

const LISTS = [
  ...['/users', '/agents', '/audiences', '/tenants', '/admin-keys'],
  ...['/blocks', '/actor-permissions'],
]
const cursorOf = (text: string) => Buffer.from(text).toString('base64url')
const QUERIES = [
  ...['limit', 'cursor', 'status', 'email', 'external_id', 'owner_id', 'issuer', 'tenant_id'],
  ...['environment', 'audience_id', 'unknown'],
].flatMap((name) =>
  ['', '%00', '%ff', '%ed%a0%80', '1', '-1', '1e9', 'null', `a&${name}=b`]
    .concat([cursorOf('1e20 x'), cursorOf('-8e15 x'), cursorOf('999999999999999 x')])
    .map((value) => `${name}=${value}`),
)
const ofAgent = ['credentials', 'entitlements'].map((name) => `/agents/${agent.id}/${name}`)
for (const path of [...LISTS, ...ofAgent]) {
  test(`GET ${path.replace(agent.id, '{id}')} takes or refuses whatever query comes`, async () => {
    for (const query of QUERIES) {
      const { status, text } = await house.admin('GET', `${path}?${query}`)
      assert.equal(isOurFault(status), false, `${query}: ${text}`)
    }
  })
}
