// Which app speaks which dialect: by the members that are there, never by a version.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Found, foreignHosts, foundIn } from '../../src/audiences/found.ts'
import { ID_JAG_GRANT_PROFILE, JWT_BEARER_GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { readResourceMetadata } from '../../src/oauth/resource-metadata.ts'
import { readServerMetadata } from '../../src/oauth/server-metadata.ts'

const AUTH = 'https://auth.paperclip.example'
const API = 'https://api.paperclip.example/'
const OFFICIAL = 'https://schemas.workos.com/events/agent/auth/identity/assertion/revoked'
const VARIANT = 'https://schemas.workos.com/events/agent/identity/assertion/revoked'

const takesIdJags = {
  identity_types_supported: ['anonymous', 'identity_assertion'],
  identity_assertion: { assertion_types_supported: [TOKEN_TYPE.idJag] },
}
const first = { ...takesIdJags, register_uri: `${AUTH}/agent/auth` }
const second = { ...takesIdJags, identity_endpoint: `${AUTH}/agent/identity` }
const newest = {
  ...second,
  identity_types_supported: ['anonymous', 'service_auth', 'identity_assertion'],
}
const CLAIM = 'urn:workos:agent-auth:grant-type:claim'

function find(server: object, resource?: object): Found {
  const read = readServerMetadata({ issuer: AUTH, ...server }, false)
  assert.ok(!('fault' in read), 'fault' in read ? read.fault : '')
  const about = resource && readResourceMetadata({ ...known, ...resource }, false)
  assert.ok(!(about && 'fault' in about))
  return foundIn({ server: { ...read, issuer: read.issuer ?? AUTH }, resource: about })
}
const known = { resource: API, authorization_servers: [AUTH] }

const DIALECTS: [what: string, profile: Found['profile'], server: object][] = [
  ['register_uri', 'authmd-0.1', { agent_auth: first }],
  ['identity_endpoint', 'authmd-0.2', { agent_auth: second }],
  [
    'the claim grant of v0.4 to v0.7',
    'authmd-0.2',
    { agent_auth: newest, grant_types_supported: [JWT_BEARER_GRANT, CLAIM] },
  ],
  [
    'service_auth without the claim grant',
    'authmd-head',
    { agent_auth: newest, grant_types_supported: [JWT_BEARER_GRANT] },
  ],
  ['both shapes', 'authmd-0.2', { agent_auth: { ...first, ...second } }],
  [
    'agent_auth and the grant profile',
    'authmd-0.2',
    { agent_auth: second, authorization_grant_profiles_supported: [ID_JAG_GRANT_PROFILE] },
  ],
  [
    'the grant profile',
    'idjag',
    { authorization_grant_profiles_supported: [ID_JAG_GRANT_PROFILE] },
  ],
  ['another grant profile', null, { authorization_grant_profiles_supported: ['urn:x'] }],
  ['nothing', null, {}],
  ['a version', null, { agent_auth: { version: '0.2', profile: 'authmd-head' } }],
  [
    'agent_auth for anonymous agents',
    null,
    { agent_auth: { ...second, identity_types_supported: ['anonymous'] } },
  ],
  [
    'assertions that are no ID-JAGs',
    null,
    {
      agent_auth: {
        ...second,
        identity_assertion: { assertion_types_supported: ['verified_email'] },
      },
    },
  ],
  ['no assertion types', null, { agent_auth: { ...second, identity_assertion: undefined } }],
]
for (const [what, profile, server] of DIALECTS) {
  test(`${what} means ${profile ?? 'not supported'} (DR-20…DR-23)`, () =>
    assert.equal(find(server).profile, profile))
}

test('the jwt-bearer grant before an MCP server is that of enterprise-managed authorization', () => {
  const server = { authorization_grant_profiles_supported: [ID_JAG_GRANT_PROFILE] }
  for (const [resource, profile] of [
    ['https://mcp.paperclip.example/', 'mcp-ema'],
    ['https://paperclip.example/v1/mcp', 'mcp-ema'],
    ['https://paperclip.example/mcpx', 'idjag'],
    [API, 'idjag'],
  ] as const) {
    assert.equal(find(server, { resource }).profile, profile, resource)
  }
})

test('events go where the newest shape says, by the spelling that it knows (EV-04, EV-07, EV-20, TV-94)', () => {
  const notify = `${AUTH}/agent/event/notify`
  const logout = `${AUTH}/agent/revoke`
  const events = (agent_auth: object) =>
    find({ agent_auth, revocation_endpoint: `${AUTH}/oauth2/revoke` }).events
  const set = { endpoint: notify, dialect: 'set', event_type: null }
  assert.deepEqual(events({ events_endpoint: notify }), set)
  assert.deepEqual(events({ events_endpoint: notify, revocation_uri: logout }), set)
  assert.deepEqual(events({ revocation_uri: logout }), {
    ...set,
    endpoint: logout,
    dialect: 'logout',
  })
  assert.equal(events({}), null)
  assert.equal(events({ revocation_endpoint: notify }), null)
  for (const [events_supported, event_type] of [
    [[VARIANT], VARIANT],
    [['urn:x', VARIANT, OFFICIAL], VARIANT],
    [[OFFICIAL, VARIANT], null],
    [['urn:x'], null],
  ] as const) {
    assert.equal(events({ events_endpoint: notify, events_supported })?.event_type, event_type)
  }
})

test('an app without agent_auth says beside its other endpoints where events go; agent_auth comes first (EV-04)', () => {
  const [top, inner] = [`${AUTH}/events`, `${AUTH}/agent/event/notify`]
  const server = {
    authorization_grant_profiles_supported: [ID_JAG_GRANT_PROFILE],
    events_endpoint: top,
    events_supported: [VARIANT],
  }
  const set = { endpoint: top, dialect: 'set', event_type: VARIANT }
  assert.deepEqual(find(server).events, set)
  assert.deepEqual(find({ ...server, agent_auth: second }).events, set)
  const event_type = null
  for (const [agent_auth, events] of [
    [{ events_endpoint: inner }, { endpoint: inner, dialect: 'set', event_type }],
    [{ revocation_uri: inner }, { endpoint: inner, dialect: 'logout', event_type }],
    [{ events_endpoint: 7 }, null],
  ] as const) {
    assert.deepEqual(find({ ...server, agent_auth: { ...second, ...agent_auth } }).events, events)
  }
  const { events, ignored } = find({ ...server, events_endpoint: 'http://paperclip.example/' })
  assert.deepEqual([events, ignored], [null, ['authorization_server: events_endpoint']])
})

test('of what both documents say, that of the resource wins; a foreign resource is not the server’s to name', () => {
  const repeated = { resource: `${AUTH}/api`, scopes_supported: ['theirs'] }
  const scopes = (found: Found) =>
    found.resources.map(({ identifier, scopes }) => [identifier, scopes])
  const theirs = [{ name: 'theirs' }]
  assert.deepEqual(scopes(find(repeated, { scopes_supported: ['ours', 'ours'] })), [
    [API, [{ name: 'ours' }]],
  ])
  assert.deepEqual(scopes(find(repeated, {})), [[API, theirs]])
  assert.deepEqual(scopes(find(repeated)), [[`${AUTH}/api`, theirs]])
  assert.deepEqual(scopes(find({ ...repeated, resource: 'https://other.example/' })), [])
})

test('what is wrong is left out and named, what is unknown is not looked at (DR-21, DR-24)', () => {
  const found = find(
    { agent_auth: { ...second, skill: 7, events_endpoint: 'http://paperclip.example/' }, jwks: 7 },
    {
      resource_name: ' ',
      scopes_supported: ['a', 'b c', 7],
      dpop_bound_access_tokens_required: 'yes',
    },
  )
  assert.deepEqual(found.ignored, [
    'protected_resource: resource_name',
    'protected_resource: scopes_supported',
    'protected_resource: dpop_bound_access_tokens_required',
    'authorization_server: agent_auth.events_endpoint',
  ])
  assert.deepEqual(
    [found.name, found.resources[0]?.scopes, found.dpop_required, found.events],
    ['api.paperclip.example', [{ name: 'a' }], false, null],
  )
})

test('hosts beside that of the issuer are told, each once (DR-08)', () => {
  const there = 'https://elsewhere.example'
  const { agent_auth } = { agent_auth: { ...second, events_endpoint: `${there}:8443/notify` } }
  const found = find({
    agent_auth,
    token_endpoint: `${there}/token`,
    revocation_endpoint: 'https://x.example',
  })
  assert.deepEqual(foreignHosts(found), ['elsewhere.example', 'elsewhere.example:8443'])
})

test('any two documents are read, and what is found fits a record', () => {
  const anything = fc.dictionary(
    fc.constantFrom(
      'issuer',
      'resource',
      'authorization_servers',
      'agent_auth',
      'scopes_supported',
      'resource_name',
      'token_endpoint',
    ),
    fc.oneof(fc.jsonValue(), fc.webUrl(), fc.array(fc.webUrl())),
  )
  fc.assert(
    fc.property(anything, anything, (one, other) => {
      const [resource, server] = [
        readResourceMetadata(one, false),
        readServerMetadata(other, false),
      ]
      if ('fault' in resource || 'fault' in server) return
      const found = foundIn({ server: { ...server, issuer: server.issuer ?? AUTH }, resource })
      assert.ok(found.name.length > 0 && found.issuer.length <= 512)
      for (const { scopes } of found.resources) {
        for (const { name } of scopes) assert.match(name, /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/)
      }
    }),
  )
})
