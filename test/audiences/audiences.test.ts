import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { SIGNING_ALGS } from '../../src/oauth/signing-alg.ts'
import { openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })

let count = 0
const API = 'https://api.chat.example/'
const chat = {
  identifier: API,
  scopes: [{ name: 'chat.read', description: 'Read your messages' }, { name: 'chat.write' }],
}
const asked = (body: object = {}) => ({
  issuer: `https://auth-${++count}.chat.example`,
  name: 'Chat',
  profile: 'idjag',
  resources: [chat],
  ...body,
})
const ask = (body: object = {}) => house.admin('POST', '/audiences', asked(body))
const register = async (body: object = {}) => {
  const answer = await ask(body)
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}

test('an audience is registered with its catalogue and defaults', async () => {
  const { body: owner } = await house.admin('POST', '/users', {})
  const settings = {
    issuer: 'https://auth.chat.example/tenant/7',
    default_scopes: ['chat.read'],
    default_resources: ['https://API.chat.example'],
    claims: ['email', 'act'],
    max_auth_age: 900,
    id_jag_lifetime: 120,
    id_jag_signing_alg: 'RS256',
    acr_values: ['urn:example:acr:mfa'],
    dpop_required: true,
    subject_type: 'pairwise',
    sector: 'chat.example',
    owner_id: owner.id,
    events_endpoint: 'https://auth.chat.example/events',
    events_dialect: 'set',
    event_type: 'https://schemas.workos.com/events/agent/identity/assertion/revoked',
    event_names_agent: true,
    notify_expiry: true,
    notify_when: 'last',
  }
  const audience = await register({
    ...settings,
    review_at: '2027-06-01T02:00:00+02:00',
    aliases: ['urn:example:chat', 'https://chat.example'],
  })
  const now = house.clock.now.toISOString()
  assert.deepEqual(audience, {
    ...settings,
    id: audience.id,
    tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA',
    name: 'Chat',
    profile: 'idjag',
    resources: [chat],
    default_resources: [API],
    aliases: ['https://chat.example', 'urn:example:chat'],
    review_at: '2027-06-01T00:00:00.000Z',
    status: 'active',
    status_reason: null,
    created_at: now,
    updated_at: now,
    discovered: null,
    pending_change: null,
  })
  assert.deepEqual((await house.admin('GET', `/audiences/${audience.id}`)).body, audience)
  const query = `issuer=${encodeURIComponent(settings.issuer)}&status=active`
  assert.deepEqual((await house.admin('GET', `/audiences?${query}`)).body.data, [audience])
})

test('what is left out is standard; an auth.md service wants a sign-in of the last hour', async () => {
  const plain = await register({ resources: [] })
  assert.deepEqual(
    [plain.max_auth_age, plain.id_jag_lifetime, plain.id_jag_signing_alg, plain.claims],
    [null, null, 'ES256', []],
  )
  assert.deepEqual(
    [plain.aliases, plain.subject_type, plain.sector, plain.acr_values, plain.dpop_required],
    [[], 'public', null, [], false],
  )
  for (const profile of ['authmd-0.1', 'authmd-0.2', 'authmd-head']) {
    assert.equal((await register({ profile })).max_auth_age, 3600)
  }
  assert.equal((await register({ profile: 'authmd-0.2', max_auth_age: 600 })).max_auth_age, 600)
})

test('an issuer is registered once in a tenant, until its audience is retired', async () => {
  const { id, issuer } = await register()
  assertRefused(await ask({ issuer }), 409, 'already_exists', '/issuer')
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
  await register({ issuer, tenant_id: tenant.id })
  await house.admin('POST', `/audiences/${id}/retire`, {})
  await register({ issuer })
})

const scopes = (...names: string[]) => names.map((name) => ({ name }))
const faultyTypes = (...cases: [why: string, types: unknown, pointer: string][]): typeof REFUSED =>
  cases.map(([why, authorization_details_types, at]) => [
    `with a type ${why}`,
    { resources: [chat, { identifier: `${API}pay`, scopes: [], authorization_details_types }] },
    `/resources/1/authorization_details_types${at}`,
  ])
const REFUSED: [why: string, body: object, pointer: string][] = [
  ['without an issuer', { issuer: undefined }, '/issuer'],
  ['at a plain http issuer', { issuer: 'http://auth.example' }, '/issuer'],
  ['whose issuer is no URL', { issuer: 'auth.example' }, '/issuer'],
  ['whose issuer has a query', { issuer: 'https://auth.example?x=1' }, '/issuer'],
  ['whose issuer has a fragment', { issuer: 'https://auth.example#x' }, '/issuer'],
  ['whose issuer has userinfo', { issuer: 'https://a@auth.example' }, '/issuer'],
  ['whose issuer has a space', { issuer: 'https://auth.example/a b' }, '/issuer'],
  ['whose issuer is too long', { issuer: `https://auth.example/${'a'.repeat(500)}` }, '/issuer'],
  ['that is this server itself', { issuer: 'http://localhost:4000' }, '/issuer'],
  ['that is this server with a slash', { issuer: 'http://localhost:4000/' }, '/issuer'],
  ['that is this server in capitals', { issuer: 'http://LOCALHOST:4000' }, '/issuer'],
  ['without a name', { name: undefined }, '/name'],
  ['of an unknown profile', { profile: 'saml' }, '/profile'],
  ['without resources', { resources: undefined }, '/resources'],
  ['for MCP without a resource', { profile: 'mcp-ema', resources: [] }, '/resources'],
  [
    'with a relative resource',
    { resources: [{ identifier: '/api', scopes: [] }] },
    '/resources/0/identifier',
  ],
  [
    'with a fragment in a resource',
    { resources: [{ identifier: `${API}#x`, scopes: [] }] },
    '/resources/0/identifier',
  ],
  [
    'with one resource written two ways',
    { resources: [chat, { identifier: 'HTTPS://api.chat.example', scopes: [] }] },
    '/resources/1/identifier',
  ],
  [
    'with a space in a scope',
    { resources: [{ identifier: API, scopes: scopes('chat read') }] },
    '/resources/0/scopes/0/name',
  ],
  [
    'with a scope named twice',
    { resources: [{ identifier: API, scopes: scopes('a', 'b', 'a') }] },
    '/resources/0/scopes/2/name',
  ],
  ...faultyTypes(
    ['of details that is empty', [''], '/0'],
    ['of details that is a number', ['payment', 7], '/1'],
    ['of details that is too long', ['a'.repeat(129)], '/0'],
    ['of details on two lines', [{ type: 'pay\nment' }], '/0/type'],
    ['of details without a name', [{ description: 'Pay' }], '/0/type'],
    [
      'of details with a blank description',
      [{ type: 'payment', description: ' ' }],
      '/0/description',
    ],
    ['of details with an unknown member', [{ type: 'payment', schema: {} }], '/0/schema'],
    ['of details named twice', ['payment', 'account', { type: 'payment' }], '/2'],
    ['of details that is not in a list', 'payment', ''],
  ),
  ['with a default scope of nobody', { default_scopes: ['chat.delete'] }, '/default_scopes/0'],
  [
    'with a default resource of somebody else',
    { default_resources: ['https://other.example/'] },
    '/default_resources/0',
  ],
  ['with an unknown claim', { claims: ['address'] }, '/claims/0'],
  ['with an alias that is no URI', { aliases: ['urn:a', 'chat'] }, '/aliases/1'],
  ['with an alias that has a fragment', { aliases: ['urn:a#b'] }, '/aliases/0'],
  ['with an alias that has a space', { aliases: ['urn:a b'] }, '/aliases/0'],
  ['with an alias that is too long', { aliases: [`urn:${'a'.repeat(510)}`] }, '/aliases/0'],
  ['with an alias named twice', { aliases: ['urn:a', 'urn:a'] }, '/aliases'],
  [
    'with too many aliases',
    { aliases: Array.from({ length: 101 }, (_, n) => `urn:n:${n}`) },
    '/aliases',
  ],
  ['with this server as an alias', { aliases: ['http://LOCALHOST:4000/'] }, '/aliases/0'],
  [
    'with its own issuer as an alias',
    { issuer: 'https://self.example', aliases: ['https://self.example'] },
    '/aliases/0',
  ],
  ['of no known subject type', { subject_type: 'ephemeral' }, '/subject_type'],
  ['with a sector, but public', { sector: 'chat.example' }, '/sector'],
  ['with a blank sector', { subject_type: 'pairwise', sector: ' ' }, '/sector'],
  ['with a context class of two words', { acr_values: ['mfa', 'a b'] }, '/acr_values/1'],
  ['with an empty context class', { acr_values: [''] }, '/acr_values/0'],
  ['with a context class named twice', { acr_values: ['mfa', 'mfa'] }, '/acr_values'],
  [
    'with too many context classes',
    { acr_values: Array.from({ length: 11 }, (_, n) => `c${n}`) },
    '/acr_values',
  ],
  ['that wants DPoP perhaps', { dpop_required: 'yes' }, '/dpop_required'],
  ['that wants no age at all', { max_auth_age: 0 }, '/max_auth_age'],
  ['that leaves no time to use an ID-JAG', { max_auth_age: 300 }, '/max_auth_age'],
  ['with a long-lived ID-JAG', { id_jag_lifetime: 301 }, '/id_jag_lifetime'],
  ['with a very short-lived ID-JAG', { id_jag_lifetime: 59 }, '/id_jag_lifetime'],
  ...['none', 'HS256', 'ES512', 'es256', 'Ed25519', '', 7].map((alg): (typeof REFUSED)[number] => [
    `whose ID-JAGs would be signed with ${JSON.stringify(alg)} (IJ-02)`,
    { id_jag_signing_alg: alg },
    '/id_jag_signing_alg',
  ]),
  ['with an unknown owner', { owner_id: 'usr_unknown' }, '/owner_id'],
  ['in an unknown tenant', { tenant_id: 'ten_unknown' }, '/tenant_id'],
  ['with a review on no day', { review_at: '2027-02-30T00:00:00Z' }, '/review_at'],
  ['with an unknown member', { url: 'https://x.example' }, '/url'],
  [
    'with U+0000 deep inside',
    { resources: [{ identifier: API, scopes: [{ name: 'a', description: 'b\0' }] }] },
    '/resources/0/scopes/0/description',
  ],
]
for (const [why, body, pointer] of REFUSED) {
  test(`an audience ${why} is refused`, async () => {
    assertRefused(await ask(body), 422, 'validation_failed', pointer)
  })
}

test('an audience chooses what its ID-JAGs are signed with, and goes back to ES256 (IJ-02)', async () => {
  for (const id_jag_signing_alg of SIGNING_ALGS) {
    const audience = await register({ id_jag_signing_alg })
    assert.equal(audience.id_jag_signing_alg, id_jag_signing_alg)
    const patch = (alg: string | null) =>
      house.admin('PATCH', `/audiences/${audience.id}`, { id_jag_signing_alg: alg })
    assertRefused(await patch('none'), 422, 'validation_failed', '/id_jag_signing_alg')
    assert.equal((await patch(null)).body.id_jag_signing_alg, 'ES256')
    assert.equal((await patch(id_jag_signing_alg)).body.id_jag_signing_alg, id_jag_signing_alg)
  }
})

const ENDPOINT = 'https://auth.chat.example/events'
const EVENTS_REFUSED: [what: string, body: object, pointer: string][] = [
  ['a dialect without an address', { events_dialect: 'set' }, '/events_endpoint'],
  ['what is no URL', { events_endpoint: 'events' }, '/events_endpoint'],
  ['another scheme', { events_endpoint: 'ftp://chat.example/events' }, '/events_endpoint'],
  ['userinfo', { events_endpoint: 'https://u@chat.example/events' }, '/events_endpoint'],
  ['a fragment', { events_endpoint: `${ENDPOINT}#x` }, '/events_endpoint'],
  ['a private address', { events_endpoint: 'https://10.0.0.1/events' }, '/events_endpoint'],
  ['plain http', { events_endpoint: 'http://chat.example/events' }, '/events_endpoint'],
  ['another port', { events_endpoint: 'https://chat.example:8443/events' }, '/events_endpoint'],
  ['us', { events_endpoint: `${house.config.issuer}/events` }, '/events_endpoint'],
  ['a type that is no URI', { events_endpoint: ENDPOINT, event_type: 'x' }, '/event_type'],
  [
    'an agent named in a dialect that cannot',
    { events_endpoint: ENDPOINT, events_dialect: 'logout', event_names_agent: true },
    '/event_names_agent',
  ],
]
for (const [what, body, pointer] of EVENTS_REFUSED) {
  test(`an audience is not told of revocations with ${what}`, async () => {
    assertRefused(await ask(body), 422, 'validation_failed', pointer)
  })
}

test('an events endpoint is one for security event tokens unless said otherwise (EV-05)', async () => {
  const audience = await register({ events_endpoint: ENDPOINT })
  const patch = async (body: object) => {
    const answer = await house.admin('PATCH', `/audiences/${audience.id}`, body)
    assert.equal(answer.status, 200, answer.text)
    const { events_endpoint, events_dialect, notify_when } = answer.body
    return [events_endpoint, events_dialect, notify_when]
  }
  assert.equal(audience.events_dialect, 'set')
  assert.deepEqual(await patch({ events_dialect: 'logout' }), [ENDPOINT, 'logout', 'each'])
  assert.deepEqual(await patch({ notify_when: 'last' }), [ENDPOINT, 'logout', 'last'])
  const other = 'https://events.chat.example/'
  assert.deepEqual(await patch({ events_endpoint: other }), [other, 'logout', 'last'])
  assert.deepEqual(await patch({ events_dialect: null, notify_when: null }), [other, 'set', 'each'])
  assert.deepEqual(await patch({ events_dialect: 'none' }), [other, 'none', 'each'])
  assert.deepEqual(await patch({ events_endpoint: ENDPOINT }), [ENDPOINT, 'none', 'each'])
  assert.deepEqual(await patch({ events_endpoint: null }), [null, 'none', 'each'])
  assert.deepEqual(await patch({ events_endpoint: ENDPOINT }), [ENDPOINT, 'set', 'each'])
})

test('a patch changes what it names, and the whole must still hold', async () => {
  const audience = await register({ default_scopes: ['chat.write'], max_auth_age: 900 })
  const patch = (body: object) => house.admin('PATCH', `/audiences/${audience.id}`, body)
  const { body: owner } = await house.admin('POST', '/users', {})
  house.wait(1)
  const changed = await patch({
    name: 'Chatter',
    claims: ['name', 'aud_sub', 'aud_tenant'],
    max_auth_age: null,
    id_jag_lifetime: 60,
    acr_values: ['urn:example:acr:mfa'],
    dpop_required: true,
    owner_id: owner.id,
    review_at: '2027-01-01T00:00:00Z',
  })
  assert.equal(changed.status, 200, changed.text)
  assert.deepEqual(changed.body, {
    ...audience,
    name: 'Chatter',
    claims: ['name', 'aud_sub', 'aud_tenant'],
    max_auth_age: null,
    id_jag_lifetime: 60,
    acr_values: ['urn:example:acr:mfa'],
    dpop_required: true,
    owner_id: owner.id,
    review_at: '2027-01-01T00:00:00.000Z',
    updated_at: house.clock.now.toISOString(),
  })
  const fewer = [{ identifier: API, scopes: [{ name: 'chat.read' }] }]
  assertRefused(await patch({ resources: fewer }), 422, 'validation_failed', '/default_scopes/0')
  const cleared = await patch({
    resources: fewer,
    default_scopes: null,
    claims: null,
    owner_id: null,
    review_at: null,
    id_jag_lifetime: null,
    acr_values: null,
    dpop_required: null,
  })
  assert.equal(cleared.status, 200, cleared.text)
  assert.deepEqual(cleared.body, {
    ...audience,
    name: 'Chatter',
    resources: fewer,
    default_scopes: [],
    max_auth_age: null,
    updated_at: house.clock.now.toISOString(),
  })
  assertRefused(await patch({ max_auth_age: 200 }), 422, 'validation_failed', '/max_auth_age')
  assertRefused(await patch({ event_type: 'x' }), 422, 'validation_failed', '/event_type')
  for (const [name, value] of Object.entries({
    issuer: 'https://other.example',
    profile: 'mcp-ema',
    subject_type: 'pairwise',
    sector: 'chat.example',
    tenant_id: 'ten_x',
    status: 'retired',
  })) {
    assertRefused(await patch({ [name]: value }), 422, 'validation_failed', `/${name}`)
  }
  assertRefused(
    await house.admin('PATCH', '/audiences/aud_unknown', { name: 'x' }),
    404,
    'not_found',
  )
})

test('a patch that changes nothing leaves no trace', async () => {
  const audience = await register()
  house.wait(1)
  const { body } = await house.admin('PATCH', `/audiences/${audience.id}`, {
    name: audience.name,
    resources: audience.resources,
  })
  assert.deepEqual(body, audience)
  const events = await house.deps.db
    .selectFrom('audit_events')
    .select('type')
    .where('audience_id', '=', audience.id)
    .execute()
  assert.deepEqual(events, [{ type: 'audience.created' }])
})

test('the types of authorization details are shown as they were written, at every call (TX-15)', async () => {
  const described = { type: 'payment', description: 'Make a payment' }
  const types = ['account', described]
  const resources = [{ ...chat, authorization_details_types: types }]
  const audience = await register({ resources })
  assert.deepEqual(audience.resources, resources)
  const shown = async (method: 'GET' | 'POST' | 'PATCH', path = '', body?: object) =>
    (await house.admin(method, `/audiences${path}`, body)).body
  const at = `/${audience.id}`
  assert.deepEqual(await shown('GET', at), audience)
  const query = `?issuer=${encodeURIComponent(audience.issuer)}`
  assert.deepEqual((await shown('GET', query)).data, [audience])
  for (const verb of ['suspend', 'resume'])
    assert.deepEqual((await shown('POST', `${at}/${verb}`, {})).resources, resources)

  const longer = [{ ...chat, authorization_details_types: [{ type: 'account' }, described] }]
  house.wait(1)
  const before = await shown('GET', at)
  assert.deepEqual(
    await shown('PATCH', at, { resources: longer }),
    before,
    'the same in other words',
  )
  const none = [{ ...chat, authorization_details_types: [] }]
  assert.deepEqual((await shown('PATCH', at, { resources: none })).resources, none)
  assert.deepEqual((await shown('PATCH', at, { resources: [chat] })).resources, [chat])
})

test('suspend and resume, each twice without harm; retiring is final', async () => {
  const { id } = await register()
  const move = (verb: string) => house.admin('POST', `/audiences/${id}/${verb}`, { reason: verb })
  for (const [verb, status] of [
    ['suspend', 'suspended'],
    ['suspend', 'suspended'],
    ['resume', 'active'],
    ['resume', 'active'],
    ['retire', 'retired'],
    ['retire', 'retired'],
  ] as const) {
    const answer = await move(verb)
    assert.equal(answer.status, 200, answer.text)
    assert.equal(answer.body.status, status)
    assert.equal(answer.body.status_reason, verb)
  }
  assertRefused(await move('suspend'), 409, 'invalid_transition')
  assertRefused(await move('resume'), 409, 'invalid_transition')
  assertRefused(
    await house.admin('PATCH', `/audiences/${id}`, { name: 'x' }),
    409,
    'invalid_transition',
  )
  assertRefused(await house.admin('GET', '/audiences/aud_unknown'), 404, 'not_found')
  assertRefused(await house.admin('POST', '/audiences/aud_x/suspend', {}), 404, 'not_found')
})
