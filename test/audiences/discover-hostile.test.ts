// Relying apps that lie, or break off: a clear reason for the administrator, nothing stored, never a 5xx.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { parseJsonObject } from '../../src/http/json-object.ts'
import { OutboundError } from '../../src/http/outbound.ts'
import {
  type Answering,
  challenge,
  type DiscoverableApp,
  openApp,
  openAppHost,
  RESOURCE_AT,
  SERVER_AT,
} from '../support/discoverable-app.ts'
import { oddValue } from '../support/hostile-text.ts'
import { type Answer, openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
/** What lies of the app say, and no answer repeats. */
const SECRET = 'internal-secret-7c1f'

const discover = (url: string, more: object = {}) =>
  house.admin('POST', '/audiences', { discover: url, ...more })

async function assertNothingCame(answer: Answer, says?: RegExp) {
  assertRefused(answer, 422, 'validation_failed', '/discover')
  if (says) assert.match(answer.body.detail, says)
  assert.ok(!answer.text.includes(SECRET), 'what was fetched is not told (DR-36)')
  for (const table of ['audiences', 'audience_discoveries'] as const) {
    const { rows } = await house.deps.pool.query(`select from ${table}`)
    assert.equal(rows.length, 0, `${table} has rows`)
  }
}

type Lie = [name: string, tell: (app: DiscoverableApp) => unknown, says: RegExp]

const resource = (members: object) => (app: DiscoverableApp) => {
  Object.assign(app.resource, members)
  app.publish()
}
const server = (members: object) => (app: DiscoverableApp) => {
  Object.assign(app.server, members)
  app.publish()
}

const LIES: Lie[] = [
  [
    'whose resource is of another origin (DR-02, TV-98)',
    resource({ resource: `https://${SECRET}.example/chat` }),
    /metadata of the resource .*another origin/,
  ],
  [
    'whose resource is another of its own (DR-02)',
    (app) => resource({ resource: `${app.api.origin}/other` })(app),
    /it speaks of another resource/,
  ],
  ['whose resource is no URL', resource({ resource: SECRET }), /its resource is missing or no/],
  ['whose resource is a list', resource({ resource: [] }), /its resource is missing or no/],
  ['without a resource', resource({ resource: undefined }), /its resource is missing or no/],
  [
    'whose resource is too long',
    (app) => resource({ resource: `${app.url}?${'x'.repeat(600)}` })(app),
    /its resource is missing or no/,
  ],
  [
    'without an authorization server',
    resource({ authorization_servers: [] }),
    /authorization_servers names no https URL/,
  ],
  [
    'whose authorization servers are a text',
    resource({ authorization_servers: 'https://auth.example' }),
    /authorization_servers names no https URL/,
  ],
  [
    'whose authorization servers are no URLs',
    resource({ authorization_servers: [1, null, {}, SECRET, `http://${SECRET}.example`] }),
    /authorization_servers names no https URL/,
  ],
  [
    'that names itself as its authorization server',
    (app) => resource({ authorization_servers: [app.url] })(app),
    /metadata of the authorization server .*status 200/,
  ],
  [
    'that names its metadata as its authorization server',
    (app) => resource({ authorization_servers: [`${app.api.origin}${RESOURCE_AT}`] })(app),
    /metadata of the authorization server .*status 200/,
  ],
  [
    'whose authorization server is this very server',
    resource({ authorization_servers: ['http://localhost:4000/'] }),
    /this server itself/,
  ],
  [
    'whose issuer is of another host (DR-06, TV-99)',
    server({ issuer: `https://${SECRET}.example` }),
    /metadata of the authorization server .*another issuer, of another origin/,
  ],
  [
    'whose issuer has a path too many (DR-06, TV-99)',
    (app) => server({ issuer: `${app.auth.origin}/t` })(app),
    /another issuer, https?:\/\/[^ ]+\/t$/,
  ],
  [
    'whose issuer has two slashes too many (DR-06, TV-99)',
    (app) => server({ issuer: `${app.auth.origin}//` })(app),
    /another issuer/,
  ],
  ['whose issuer is a number', server({ issuer: 7 }), /its issuer is no https URL/],
  ['without an issuer (DR-07)', server({ issuer: undefined }), /it has no issuer/],
  [
    'whose challenge leads into the network',
    (app) => app.api.put('/chat', challenge('Bearer resource_metadata="https://10.0.0.1/m"')),
    /no address that may be called/,
  ],
  [
    'whose challenge leads nowhere',
    (app) => app.api.put('/chat', challenge(`Bearer resource_metadata="${SECRET}"`)),
    /names a resource_metadata that is no https URL/,
  ],
  [
    'whose challenge leads to nothing',
    (app) => app.api.put('/chat', challenge(`Bearer resource_metadata="${app.api.origin}/none"`)),
    /metadata of the resource .*status 200/,
  ],
  [
    'whose authorization server lies in the network',
    resource({ authorization_servers: ['https://169.254.169.254'] }),
    /no address that may be called/,
  ],
]
for (const [name, tell, says] of LIES) {
  test(`refused: an app ${name}`, async (t) => {
    const app = await openApp(t)
    await tell(app)
    await assertNothingCame(await discover(app.url), says)
  })
}

const text =
  (body: string | Buffer, headers: Record<string, string> = {}): Answering =>
  (_request, response) =>
    response.writeHead(200, headers).end(body)
const BODIES: [name: string, answering: Answering, says: RegExp][] = [
  ['that is no JSON', text(`{"resource": ${SECRET}`), /not a JSON object/],
  ['that is a list', text(`["${SECRET}"]`), /not a JSON object/],
  ['that is a text', text(`"${SECRET}"`), /not a JSON object/],
  ['that is a page', text(`<!doctype html>${SECRET}`), /not a JSON object/],
  ['that is empty', text(''), /not a JSON object/],
  [
    'that is nested deeply',
    text(`${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`),
    /nested too deeply/,
  ],
  ['with half a character', text('{"resource":"\\ud800"}'), /half a surrogate/],
  ['that is huge', text(JSON.stringify({ x: SECRET.repeat(50_000) })), /too large/],
  [
    'that is compressed',
    text(gzipSync(JSON.stringify({ x: 'x'.repeat(1e6) })), { 'content-encoding': 'gzip' }),
    /compressed/,
  ],
  [
    'that never ends',
    (_request, response) => {
      response.writeHead(200)
      const more = () => {
        while (!response.destroyed && response.write(' '.repeat(65_536)));
      }
      response.on('drain', more)
      more()
    },
    /too large/,
  ],
  [
    'that breaks off',
    (_request, response) => void response.writeHead(200).write('{"a', () => response.destroy()),
    /broken or incomplete/,
  ],
  [
    'that leads to itself',
    ({ url }, response) => response.writeHead(302, { location: url }).end(),
    /redirect, which is not followed/,
  ],
  ['that is an error', (_request, response) => response.writeHead(500).end(SECRET), /status 200/],
]
for (const [name, answering, says] of BODIES) {
  for (const [of, place] of [
    ['the resource', RESOURCE_AT],
    ['the server', SERVER_AT],
  ] as const) {
    test(`refused: metadata of ${of} ${name} (DR-32, DR-33)`, async (t) => {
      const app = await openApp(t)
      ;(place === RESOURCE_AT ? app.api : app.auth).put(place, answering)
      const answer = await discover(app.url)
      await assertNothingCame(answer, says)
      assert.ok(answer.body.detail.includes(place), 'it says which document')
    })
  }
  test(`an address ${name} is none to learn from`, async (t) => {
    const host = await openAppHost(t)
    host.put('/chat', answering)
    await assertNothingCame(await discover(`${host.origin}/chat`), /the usual places have none/)
    host.put(RESOURCE_AT, answering)
    await assertNothingCame(await discover(`${host.origin}/chat`))
    assert.ok(host.asked.length <= 12, `${host.asked.length} requests`)
  })
}

for (const [url, says] of [
  ['chat', /no absolute https URL/],
  ['ftp://chat.example/', /no absolute https URL/],
  ['http://chat.example/', /no absolute https URL/],
  ['https://kim:secret@chat.example/', /no absolute https URL/],
  ['https://chat.example/#x', /no absolute https URL/],
  ['https://chat.example/\u202e', /no absolute https URL/],
  ['https://10.1.2.3/', /no address that may be called/],
  ['https://[::ffff:169.254.169.254]/', /no address that may be called/],
  ['https://2852039166/', /no address that may be called/],
  ['http://127.0.0.1:9/', /no secure connection/],
  ['http://localhost:4000/', /itself|no secure connection/],
] as const) {
  test(`refused: ${url} leads nowhere (DR-30, DR-31)`, async () =>
    assertNothingCame(await discover(url), says))
}

test('who takes his time is asked for nothing more after a while', async (t) => {
  const app = await openApp(t)
  app.api.put(RESOURCE_AT, (_request, response) => {
    house.wait(21)
    response.end(JSON.stringify(app.resource))
  })
  await assertNothingCame(await discover(app.url), /took too long/)
  assert.deepEqual(app.auth.asked, [])
})

test('the address is one text of a bounded length', async () => {
  for (const address of [null, 7, '', ['https://chat.example'], {}, 'x'.repeat(3_000)]) {
    const answer = await house.admin('POST', '/audiences', { discover: address })
    assertRefused(answer, 422, 'validation_failed', '/discover')
  }
  const unknown = await discover('https://chat.example', { skill: 'x' })
  assertRefused(unknown, 422, 'validation_failed', '/skill')
})

/** Documents with odd things put in at places that are read. */
const MEMBERS = [
  ...['resource', 'authorization_servers', 'resource_name', 'scopes_supported', 'issuer'],
  ...['dpop_bound_access_tokens_required', 'authorization_details_types_supported'],
  ...['token_endpoint', 'grant_types_supported', 'authorization_grant_profiles_supported'],
  ...['agent_auth', 'identity_endpoint', 'register_uri', 'events_endpoint', 'revocation_uri'],
  ...['identity_types_supported', 'identity_assertion', 'events_supported', '__proto__', 'skill'],
]
const PLAIN = { enumerable: true, configurable: true, writable: true }
const odd = fc.oneof(
  oddValue,
  fc.jsonValue(),
  fc.array(oddValue),
  fc.webUrl().map((url) => [url]),
)
const edits = fc.array(
  fc.record({
    at: fc.constantFrom('resource', 'server', 'agent_auth'),
    member: fc.constantFrom(...MEMBERS),
    value: odd,
  }),
  { minLength: 1, maxLength: 4 },
)
const names = fc.record({ 'www-authenticate': fc.string({ maxLength: 200 }) })

test('whatever the documents hold, it is a clean answer (DR-21)', async (t) => {
  const app = await openApp(t)
  const { outbound } = house.deps
  t.after(() => {
    house.deps.outbound = outbound
  })
  const outcomes = new Set<number>()
  const property = fc.asyncProperty(edits, names, async (changes, headers) => {
    const documents = structuredClone({ resource: app.resource, server: app.server })
    for (const { at, member, value } of changes) {
      const to = at === 'agent_auth' ? documents.server.agent_auth : documents[at as 'server']
      if (to instanceof Object) Object.defineProperty(to, member, { ...PLAIN, value })
    }
    house.deps.outbound = {
      ...outbound,
      request: async () => ({ status: 401, headers, body: Buffer.alloc(0) }),
      getJson: async (url) => {
        const isResource = url.includes('oauth-protected-resource')
        const document = isResource ? documents.resource : documents.server
        const json = parseJsonObject(Buffer.from(JSON.stringify(document)))
        if (json === undefined) throw Object.assign(new OutboundError('not_json'), { status: 200 })
        return { status: 200, headers: {}, json }
      },
    }
    const answer = await discover(app.url)
    outcomes.add(answer.status)
    assert.ok([201, 422].includes(answer.status), answer.text)
    if (answer.status === 422) {
      assert.equal(answer.body.errors[0].pointer, '/discover', answer.text)
      return
    }
    const { id } = answer.body
    for (const path of [`/audiences/${id}`, '/audiences']) {
      assert.equal((await house.admin('GET', path)).status, 200)
    }
    const approved = await house.admin('POST', `/audiences/${id}/approve-change`)
    assert.equal(approved.status, 200, approved.text)
    const renamed = await house.admin('PATCH', `/audiences/${id}`, { name: 'Another' })
    assert.equal(renamed.status, 200, renamed.text)
    await house.admin('POST', `/audiences/${id}/retire`, {})
  })
  await fc.assert(property, { numRuns: 150 })
  assert.deepEqual([...outcomes].sort(), [201, 422])
})
