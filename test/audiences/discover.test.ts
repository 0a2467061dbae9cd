import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { rereadDue } from '../../src/audiences/reread.ts'
import { ID_JAG_GRANT_PROFILE } from '../../src/oauth/names.ts'
import {
  challenge,
  openApp,
  openAppHost,
  plainServer,
  RESOURCE_AT,
  SERVER_AT,
} from '../support/discoverable-app.ts'
import { openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })

const discover = (url: string, more: object = {}, headers = {}) =>
  house.admin('POST', '/audiences', { discover: url, ...more }, headers)
const found = async (url: string, more: object = {}) => {
  const answer = await discover(url, more)
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const countAudiences = async () =>
  (await house.admin('GET', '/audiences?limit=200')).body.data.length

test('an app is found from its challenge, and shown before anything is trusted (DR-01…DR-09)', async (t) => {
  const app = await openApp(t)
  const audience = await found(app.url)
  const { id, discovered, pending_change, ...record } = audience
  const endpoints = {
    token_endpoint: `${app.auth.origin}/oauth2/token`,
    identity_endpoint: `${app.auth.origin}/agent/identity`,
    events_endpoint: `${app.auth.origin}/agent/event/notify`,
  }
  assert.equal(record.status, 'suspended')
  assert.match(record.status_reason, /approve-change/)
  assert.equal(record.issuer, app.auth.origin)
  assert.equal(record.name, 'Chat')
  assert.equal(record.profile, 'authmd-0.2')
  assert.deepEqual(record.resources, [
    { identifier: app.url, scopes: [{ name: 'chat.read' }, { name: 'chat.write' }] },
  ])
  assert.equal(record.events_endpoint, endpoints.events_endpoint)
  assert.equal(record.events_dialect, 'set')
  assert.equal(record.event_type, null)
  assert.deepEqual(discovered.endpoints, endpoints)
  assert.equal(discovered.url, app.url)
  assert.equal(discovered.approved_at, null)
  assert.deepEqual(
    discovered.documents.map((one: { kind: string; url: string; document: object }) => [
      one.kind,
      one.url,
      one.document,
    ]),
    [
      ['protected_resource', `${app.api.origin}${RESOURCE_AT}`, app.resource],
      ['authorization_server', `${app.auth.origin}${SERVER_AT}`, app.server],
    ],
  )
  assert.deepEqual(
    [pending_change.reason, pending_change.issuer, pending_change.endpoints],
    ['registration', app.auth.origin, endpoints],
  )
  assert.deepEqual((await house.admin('GET', `/audiences/${id}`)).body, audience)
  const { body } = await house.admin('GET', `/audiences?issuer=${app.auth.origin}`)
  assert.equal(body.data[0].discovered.documents[1].document, undefined)
  // What agents are to be told is nobody's instruction here (DR-24).
  assert.ok(!app.auth.asked.includes('/auth.md'))
})

test('one that nobody could tell of revocations is flagged from the start, until it can be told (EV-04)', async (t) => {
  const app = await openApp(t)
  app.auth.put(SERVER_AT, plainServer(app.auth.origin))
  const { id, events_endpoint, events_dialect, discovered } = await found(app.url)
  assert.deepEqual(
    [events_endpoint, events_dialect, discovered.flags],
    [null, 'none', ['events_endpoint_missing']],
  )
  await house.admin('POST', `/audiences/${id}/approve-change`)
  const events = `${app.auth.origin}/events`
  app.auth.put(SERVER_AT, { ...plainServer(app.auth.origin), events_endpoint: events })
  house.wait(3600)
  await rereadDue(house.deps)
  const { body } = await house.admin('GET', `/audiences/${id}`)
  assert.deepEqual(
    [body.status, body.events_endpoint, body.events_dialect, body.discovered.flags],
    ['active', events, 'set', []],
  )

  const other = await openApp(t)
  other.auth.put(SERVER_AT, plainServer(other.auth.origin))
  const told = await found(other.url, { events_endpoint: `${other.auth.origin}/told` })
  assert.deepEqual(told.discovered.flags, [])
})

test('approval brings it into force, and nothing else does (DR-09)', async (t) => {
  const app = await openApp(t)
  const { id, pending_change } = await found(app.url)
  const approve = (body?: object) => house.admin('POST', `/audiences/${id}/approve-change`, body)
  assertRefused(await house.admin('POST', `/audiences/${id}/resume`, {}), 409, 'invalid_transition')
  assertRefused(await approve({ digest: 'another' }), 409, 'invalid_transition')
  const { body } = await approve({ digest: pending_change.digest, reason: 'Looks right' })
  assert.deepEqual([body.status, body.status_reason], ['active', 'Looks right'])
  assert.equal(body.pending_change, null)
  assert.equal(body.discovered.approved_at, house.clock.now.toISOString())
  assertRefused(await approve(), 409, 'invalid_transition')
  const { body: audit } = await house.admin('GET', `/audit-events?audience_id=${id}`)
  const event = audit.data.find(({ type }: { type: string }) => type === 'audience.change_approved')
  assert.equal(event.detail.digest, pending_change.digest)
  assert.ok(!JSON.stringify(audit).includes(app.auth.host), 'the log holds closed words alone')
})

test('what awaits approval can be listed', async (t) => {
  const { id } = await found((await openApp(t)).url)
  const listed = async (awaits: boolean) => {
    const { body } = await house.admin('GET', `/audiences?limit=200&awaits_approval=${awaits}`)
    return body.data.some((one: { id: string }) => one.id === id)
  }
  assert.deepEqual([await listed(true), await listed(false)], [true, false])
  await house.admin('POST', `/audiences/${id}/approve-change`)
  assert.deepEqual([await listed(true), await listed(false)], [false, true])
})

test('what is retired awaits nothing', async (t) => {
  const { id } = await found((await openApp(t)).url)
  const { body: retired } = await house.admin('POST', `/audiences/${id}/retire`, {})
  const { body: read } = await house.admin('GET', `/audiences/${id}`)
  assert.deepEqual([retired.pending_change, read.pending_change], [null, null])
  for (const awaits of [true, false]) {
    const { body } = await house.admin('GET', `/audiences?limit=200&awaits_approval=${awaits}`)
    const listed = body.data.find((one: { id: string }) => one.id === id)
    assert.equal(listed?.status, awaits ? undefined : 'retired')
  }
})

test('an issuer that is an alias is not found again', async (t) => {
  const app = await openApp(t)
  const { body } = await house.admin('POST', '/audiences', {
    issuer: 'https://aliased.example',
    name: 'Aliased',
    profile: 'idjag',
    resources: [],
    aliases: [app.auth.origin],
  })
  assertRefused(await discover(app.url), 409, 'already_exists', '/discover')
  await house.admin('PATCH', `/audiences/${body.id}`, { aliases: [] })
  await found(app.url)
})

test('of two who find it at a time, one registers it', async (t) => {
  const app = await openApp(t)
  const answers = await Promise.all([1, 2, 3].map(() => discover(app.url)))
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409])
})

test('an administrator who suspends a newcomer keeps it so through the approval', async (t) => {
  const app = await openApp(t)
  const { id } = await found(app.url)
  await house.admin('POST', `/audiences/${id}/suspend`, { reason: 'Not yet' })
  const { body } = await house.admin('POST', `/audiences/${id}/approve-change`)
  assert.deepEqual([body.status, body.status_reason], ['suspended', 'Not yet'])
  assert.equal((await house.admin('POST', `/audiences/${id}/resume`, {})).body.status, 'active')
})

test('approval is for audiences that were found by discovery, and live', async (t) => {
  const approve = (id: string) => house.admin('POST', `/audiences/${id}/approve-change`, {})
  assertRefused(await approve('aud_x'), 404, 'not_found')
  const { body } = await house.admin('POST', '/audiences', {
    issuer: 'https://by-hand.example',
    name: 'By hand',
    profile: 'idjag',
    resources: [],
  })
  assert.deepEqual([body.discovered, body.pending_change], [null, null])
  assertRefused(await approve(body.id), 409, 'invalid_transition')
  const { id } = await found((await openApp(t)).url)
  await house.admin('POST', `/audiences/${id}/retire`, {})
  assertRefused(await approve(id), 409, 'invalid_transition')
})

test('hosts beside that of the issuer are listed for confirmation (DR-08)', async (t) => {
  const app = await openApp(t)
  const elsewhere = await openAppHost(t)
  app.server.token_endpoint = `${elsewhere.origin}/token`
  app.publish()
  const { id, pending_change, discovered } = await found(app.url)
  assert.deepEqual(pending_change.unconfirmed_hosts, [elsewhere.host])
  assert.deepEqual(discovered.unconfirmed_hosts, [elsewhere.host])
  const { body } = await house.admin('POST', `/audiences/${id}/approve-change`)
  assert.deepEqual(body.discovered.unconfirmed_hosts, [])
})

test('what the administrator says comes before what was found', async (t) => {
  const app = await openApp(t)
  const own = {
    name: 'Our chat',
    profile: 'authmd-head',
    resources: [{ identifier: app.url, scopes: [{ name: 'chat.read', description: 'Read' }] }],
    claims: ['name'],
    events_endpoint: null,
    dpop_required: true,
    id_jag_signing_alg: 'RS256',
    aliases: ['urn:example:our-chat'],
  }
  const audience = await found(app.url, own)
  for (const [name, value] of Object.entries(own)) assert.deepEqual(audience[name], value, name)
  assert.equal(audience.events_dialect, 'none')
  assertRefused(await discover(app.url, { owner_id: 'usr_x' }), 409, 'already_exists', '/discover')
})

test('a call that is sent again gets its first answer, whatever the app says by now', async (t) => {
  const app = await openApp(t)
  const key = { 'idempotency-key': 'discover-once' }
  const first = await discover(app.url, {}, key)
  app.api.put('/chat', undefined)
  app.api.put(RESOURCE_AT, undefined)
  const again = await discover(app.url, {}, key)
  assert.deepEqual([again.status, again.body], [201, first.body])
  assertRefused(await discover(app.url, { name: 'X' }, key), 409, 'idempotency_conflict')
})

test('of several authorization servers the one that is registered already wins, or the administrator chooses (DR-04)', async (t) => {
  const app = await openApp(t)
  const other = await openAppHost(t)
  other.put(SERVER_AT, plainServer(other.origin))
  app.resource.authorization_servers = [other.origin, `${app.auth.origin}/`]
  app.publish()
  const undecided = await discover(app.url)
  assertRefused(undecided, 422, 'validation_failed', '/discover')
  assert.ok(undecided.body.detail.includes(`${other.origin}, ${app.auth.origin}/`))
  assert.deepEqual([other.asked, app.auth.asked], [[], []], 'neither was trusted with a request')
  const third = await discover(app.url, { issuer: 'https://third.example' })
  assertRefused(third, 422, 'validation_failed', '/discover')
  const chosen = await found(app.url, { issuer: app.auth.origin })
  assert.equal(chosen.issuer, app.auth.origin)
  const again = await discover(app.url)
  assertRefused(again, 409, 'already_exists', '/discover')
  assert.ok(again.body.detail.includes(app.auth.origin))
  assert.deepEqual(other.asked, [])
})

const CHALLENGES: [name: string, values: (pointer: string) => string[]][] = [
  ['in DPoP', (at) => [`DPoP algs="ES256", resource_metadata="${at}"`]],
  ['in small letters', (at) => [`bearer Resource_Metadata="${at}"`]],
  ['behind another scheme', (at) => [`Basic realm="a, b", Bearer resource_metadata="${at}"`]],
  ['in a second field', (at) => ['Negotiate', `Bearer error="x", resource_metadata="${at}"`]],
]
for (const [name, values] of CHALLENGES) {
  test(`a challenge is read ${name} (DR-01)`, async (t) => {
    const app = await openApp(t)
    app.api.put('/elsewhere.json', app.resource)
    app.api.put(RESOURCE_AT, undefined)
    app.api.put('/chat', challenge(...values(`${app.api.origin}/elsewhere.json`)))
    assert.equal((await found(app.url)).issuer, app.auth.origin)
    assert.deepEqual(app.api.asked, ['/chat', '/elsewhere.json'])
  })
}

test('without a challenge the metadata is looked for before the path, then at the root (DR-01)', async (t) => {
  const app = await openApp(t)
  app.api.put('/chat', { hello: 'world' })
  app.api.put(RESOURCE_AT, undefined)
  app.api.put('/.well-known/oauth-protected-resource', app.resource)
  await found(app.url)
  assert.deepEqual(app.api.asked, ['/chat', RESOURCE_AT, '/.well-known/oauth-protected-resource'])
})

test('the metadata may speak of what lies above the address (DR-03)', async (t) => {
  const app = await openApp(t)
  app.api.put(
    '/chat/rooms/7',
    challenge(`Bearer resource_metadata="${app.api.origin}${RESOURCE_AT}"`),
  )
  const audience = await found(`${app.url}/rooms/7`)
  assert.equal(audience.resources[0].identifier, app.url)
})

for (const at of ['oauth-protected-resource/chat', 'the server', 'the issuer']) {
  test(`${at} is an address to begin at too`, async (t) => {
    const app = await openApp(t)
    const url = {
      'the server': `${app.auth.origin}${SERVER_AT}`,
      'the issuer': `${app.auth.origin}/`,
    }[at]
    const audience = await found(url ?? `${app.api.origin}${RESOURCE_AT}`)
    assert.equal(audience.issuer, app.auth.origin)
    assert.equal(audience.resources.length, url ? 0 : 1)
  })
}

test('the metadata of a server is found in all three places (DR-05)', async (t) => {
  for (const place of [
    '/.well-known/oauth-authorization-server/t/7',
    '/.well-known/openid-configuration/t/7',
    '/t/7/.well-known/openid-configuration',
  ]) {
    const host = await openAppHost(t)
    const issuer = `${host.origin}/t/7`
    host.put(place, { ...plainServer(host.origin), issuer })
    assert.equal((await found(issuer)).issuer, issuer)
  }
})

test('one slash more or less is tolerated where the path is empty, and aud is what the document says (DR-06, DR-07, TV-99)', async (t) => {
  const app = await openApp(t)
  app.resource.authorization_servers = [`${app.auth.origin}/`]
  app.publish()
  assert.equal((await found(app.url)).issuer, app.auth.origin)
  const other = await openApp(t)
  other.server.issuer = `${other.auth.origin}/`
  other.publish()
  assert.equal((await found(other.url)).issuer, `${other.auth.origin}/`)
})

test('a v0.1 service without an issuer is what its resource calls it (DR-07, OQ-01)', async (t) => {
  const app = await openApp(t)
  const { issuer: _issuer, agent_auth, ...server } = app.server
  const { identity_endpoint: _new, events_endpoint: _events, ...agentAuth } = agent_auth ?? {}
  const at = (path: string) => `${app.auth.origin}${path}`
  const first = {
    ...agentAuth,
    register_uri: at('/agent/auth'),
    revocation_uri: at('/agent/logout'),
  }
  app.server = { ...server, agent_auth: first }
  app.resource.authorization_servers = [`${app.auth.origin}/`]
  app.publish()
  const audience = await found(app.url)
  assert.deepEqual(
    [audience.issuer, audience.profile, audience.events_dialect, audience.events_endpoint],
    [`${app.auth.origin}/`, 'authmd-0.1', 'logout', at('/agent/logout')],
  )
})

test('an app that does not say that it takes ID-JAGs is not supported, unless an administrator knows better (DR-23)', async (t) => {
  const app = await openApp(t)
  delete app.server.agent_auth
  app.publish()
  const before = await countAudiences()
  const refused = await discover(app.url)
  assertRefused(refused, 422, 'unsupported_value', '/discover')
  assert.equal(refused.body.title, 'The value is not supported here')
  assert.equal(await countAudiences(), before)
  const audience = await found(app.url, { profile: 'idjag' })
  assert.deepEqual(
    [audience.profile, audience.discovered.profile, audience.events_dialect],
    ['idjag', null, 'none'],
  )
})

test('an MCP server is taken for one by its name; DPoP and details types come of its metadata', async (t) => {
  const app = await openApp(t)
  const url = `${app.api.origin}/mcp`
  app.api.put('/mcp', challenge(`Bearer resource_metadata="${app.api.origin}/r"`))
  app.api.put('/r', {
    ...app.resource,
    resource: url,
    dpop_bound_access_tokens_required: true,
    authorization_details_types_supported: ['payment'],
  })
  app.auth.put(SERVER_AT, {
    ...plainServer(app.auth.origin),
    authorization_grant_profiles_supported: [ID_JAG_GRANT_PROFILE, 'urn:example:other'],
  })
  const audience = await found(url)
  assert.equal(audience.profile, 'mcp-ema')
  assert.equal(audience.dpop_required, true)
  assert.deepEqual(audience.resources[0].authorization_details_types, ['payment'])
})

test('an events endpoint that may not be called is none, and the reason is shown', async (t) => {
  const app = await openApp(t)
  app.server.agent_auth = { ...app.server.agent_auth, events_endpoint: 'https://[::]/notify' }
  app.publish()
  const audience = await found(app.url)
  assert.deepEqual([audience.events_endpoint, audience.events_dialect], [null, 'none'])
  assert.match(audience.discovered.ignored.join(), /events endpoint \(/)
})
