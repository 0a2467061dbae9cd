// Documents that name somebody else, from where those of an approved audience were always read.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Discovered } from '../../src/audiences/discovery-schema.ts'
import { rereadDue } from '../../src/audiences/reread.ts'
import {
  type Answering,
  challenge,
  type DiscoverableApp,
  openApp,
  openAppHost,
  plainServer,
  RESOURCE_AT,
  SERVER_AT,
} from '../support/discoverable-app.ts'
import { assertRefused } from '../support/refused.ts'
import { HOUR, openApprovals } from './approved.ts'

const { house, approved, read, approve, anHourLater, eventsOf, alarmsAt } = await openApprovals({
  after,
})
const OPENID_AT = '/.well-known/openid-configuration'

/** Its own document, at the place where it was always read, names this issuer and is otherwise as before. */
function nameIssuer(app: DiscoverableApp, issuer: string, members: object = {}) {
  app.auth.put(SERVER_AT, { ...app.server, issuer, ...members })
}

type Audience = {
  issuer: string
  events_endpoint: string
  resources: unknown
  discovered: Discovered
}
/** What counts for minting and for events, and what was stored of the documents. */
const kept = ({ issuer, events_endpoint, resources, discovered }: Audience) => {
  const { endpoints, profile, documents, ignored } = discovered
  return { issuer, events_endpoint, resources, endpoints, profile, documents, ignored }
}

test('its document names another issuer, which says so itself: minting stops until that is approved (DR-06, DR-10)', async (t) => {
  const { app, id } = await approved(t)
  const before = await read(id)
  const other = await openAppHost(t)
  const endpoint = `${other.origin}/notify`
  other.put(SERVER_AT, {
    ...app.server,
    issuer: other.origin,
    token_endpoint: `${other.origin}/token`,
    agent_auth: { ...app.server.agent_auth, events_endpoint: endpoint },
  })
  nameIssuer(app, other.origin, { token_endpoint: 'https://of-the-other-document.example/token' })
  const stopped = await anHourLater(id)
  assert.equal(stopped.status, 'suspended')
  assert.match(stopped.status_reason, /approve-change/)
  assert.deepEqual(kept(stopped), kept(before))
  const { notice, obstacle, ...pending } = stopped.pending_change
  assert.equal(
    notice,
    `The document at ${app.auth.origin}${SERVER_AT} names the issuer ${other.origin} instead of ${app.auth.origin}`,
  )
  assert.equal(obstacle, null)
  assert.deepEqual([pending.reason, pending.issuer], ['change', other.origin])
  assert.equal(pending.endpoints.token_endpoint, `${other.origin}/token`, 'of its own document')
  assert.deepEqual(pending.changes.slice(0, 2), [
    { member: 'issuer', from: app.auth.origin, to: other.origin },
    {
      member: 'token_endpoint',
      from: `${app.auth.origin}/oauth2/token`,
      to: `${other.origin}/token`,
    },
  ])
  assert.ok(!JSON.stringify(stopped).includes('of-the-other-document'))
  const [noticed, ...more] = await eventsOf(id, 'audience.change_noticed')
  assert.deepEqual(more, [])
  assert.deepEqual(noticed?.detail, {
    what: 'change',
    digest: pending.digest,
    changed: pending.changes.map(({ member }: { member: string }) => member),
    stopped: true,
  })
  assert.equal(JSON.parse(alarmsAt(id)[0] ?? '{}').level, 50)
  assert.deepEqual(await eventsOf(id, 'revocation.made'), [])

  // The same news is told once.
  assert.equal((await anHourLater(id)).pending_change.digest, pending.digest)
  assert.equal((await eventsOf(id, 'audience.change_noticed')).length, 1)
  assert.equal(alarmsAt(id).length, 1)

  const { body: now } = await approve(id, { digest: pending.digest })
  assert.deepEqual(
    [now.status, now.issuer, now.events_endpoint, now.pending_change],
    ['active', other.origin, endpoint, null],
  )
  await rereadDue(house.deps)
  const again = await read(id)
  assert.deepEqual([again.status, again.pending_change], ['active', null])
  const places = again.discovered.documents.map(({ url }: { url: string }) => url)
  assert.deepEqual(
    places,
    [app.api.origin + RESOURCE_AT, app.auth.origin + SERVER_AT, other.origin + SERVER_AT],
    'what led there, and what was approved',
  )
})

/** An audience that was approved as another server since, to which the one of before leads. */
async function moved(t: Parameters<typeof openApp>[0]) {
  const { app, id } = await approved(t)
  const other = await openAppHost(t)
  other.put(SERVER_AT, plainServer(other.origin))
  nameIssuer(app, other.origin)
  await anHourLater(id)
  assert.equal((await approve(id)).body.issuer, other.origin)
  assert.equal((await anHourLater(id)).status, 'active')
  return { app, id, other }
}

test('after such a change either document that names a third one raises the alarm, and the silence of either does not', async (t) => {
  const { app, id, other } = await moved(t)
  const third = await openAppHost(t)
  third.put(SERVER_AT, plainServer(third.origin))
  for (const host of [app.auth, other]) {
    host.put(SERVER_AT, undefined)
    const away = await anHourLater(id)
    assert.deepEqual([away.status, away.discovered.failures], ['active', 1])
    nameIssuer(app, other.origin)
    other.put(SERVER_AT, plainServer(other.origin))
    assert.deepEqual((await anHourLater(id)).discovered.failures, 0)
    host.put(SERVER_AT, plainServer(third.origin))
    const stopped = await anHourLater(id)
    assert.deepEqual(
      [stopped.status, stopped.issuer, stopped.pending_change.issuer],
      ['suspended', other.origin, third.origin],
    )
    assert.match(stopped.pending_change.notice, new RegExp(`${host.host}.*instead of`))
    nameIssuer(app, other.origin)
    other.put(SERVER_AT, plainServer(other.origin))
    assert.deepEqual((await anHourLater(id)).pending_change.changes, [])
    assert.equal((await approve(id)).body.status, 'active')
  }
})

type Unproven = [name: string, lie: (app: DiscoverableApp, other: string) => void, says: RegExp]
const UNPROVEN: Unproven[] = [
  ['one that nobody answers for', (app) => nameIssuer(app, 'http://127.0.0.1:1'), /127.0.0.1:1/],
  ['one without metadata', (app, other) => nameIssuer(app, other), /status 200/],
  [
    'one that names another in turn',
    (app, other) => nameIssuer(app, `${other}/renamed`),
    /another issuer/,
  ],
  [
    'one that does not take ID-JAGs',
    (app, other) => nameIssuer(app, `${other}/deaf`),
    /does not say that it takes ID-JAGs/,
  ],
  [
    'one whose metadata name nobody',
    (app, other) => nameIssuer(app, `${other}/nameless`),
    /do not name it/,
  ],
  ['itself with a path more', (app) => nameIssuer(app, `${app.auth.origin}/x`), /status 200/],
  ['itself with two slashes', (app) => nameIssuer(app, `${app.auth.origin}//`), /status 200/],
  ['itself with a query', (app) => nameIssuer(app, `${app.auth.origin}?x`), /no https URL/],
  ['one without TLS', (app) => nameIssuer(app, 'http://auth.example'), /no https URL/],
  ['this server', (app) => nameIssuer(app, house.deps.config.issuer), /this server itself/],
]

for (const [name, lie, says] of UNPROVEN) {
  test(`its document names ${name}: minting stops, and there is nothing to approve (DR-06, DR-10)`, async (t) => {
    const { app, id } = await approved(t)
    const other = await openAppHost(t)
    const deaf = {
      ...plainServer(`${other.origin}/deaf`),
      authorization_grant_profiles_supported: [],
    }
    other.put(`${SERVER_AT}/deaf`, deaf)
    other.put(`${SERVER_AT}/renamed`, plainServer(other.origin))
    const { agent_auth: { identity_endpoint: _, ...first } = {} } = app.server
    const nameless = { ...first, register_uri: `${other.origin}/register` }
    other.put(`${SERVER_AT}/nameless`, { agent_auth: nameless })
    const before = await read(id)
    lie(app, other.origin)
    const stopped = await anHourLater(id)
    assert.equal(stopped.status, 'suspended')
    assert.deepEqual(kept(stopped), kept(before))
    const { obstacle, notice, changes, endpoints, digest } = stopped.pending_change
    assert.match(obstacle, says)
    assert.match(notice, /names the issuer .* instead of /)
    assert.deepEqual([changes.length, changes[0].member, endpoints], [1, 'issuer', {}])
    for (const body of [{}, { digest }]) {
      const refused = await approve(id, body)
      assertRefused(refused, 409, 'invalid_transition')
      assert.match(refused.body.detail, says)
      assert.match(refused.body.detail, /names the issuer .* mend .* retire/)
    }
    assertRefused(
      await house.admin('POST', `/audiences/${id}/resume`, {}),
      409,
      'invalid_transition',
    )
    assert.deepEqual((await read(id)).issuer, before.issuer)

    // Mended, it awaits approval all the same.
    app.publish()
    const { status, pending_change: mended } = await anHourLater(id)
    assert.deepEqual(
      [status, mended.changes, mended.notice, mended.obstacle],
      ['suspended', [], null, null],
    )
    assertRefused(await approve(id, { digest }), 409, 'invalid_transition')
    const { body: now } = await approve(id, { digest: mended.digest })
    assert.deepEqual([now.status, now.issuer], ['active', before.issuer])
  })
}

test('what could not be approved is read once more when it is to be, and nobody approves unseen what it says by then', async (t) => {
  const { app, id } = await approved(t)
  const other = await openAppHost(t)
  nameIssuer(app, other.origin)
  const { digest } = (await anHourLater(id)).pending_change
  other.put(SERVER_AT, plainServer(other.origin))
  assertRefused(await approve(id, { digest }), 409, 'invalid_transition')
  assert.equal(other.asked.length, 2, 'it was read just now')
  house.wait(31)
  const refused = await approve(id, { digest })
  assertRefused(refused, 409, 'invalid_transition')
  assert.match(refused.body.detail, /look at pending_change again/)
  const { pending_change: seen } = await read(id)
  assert.deepEqual([seen.issuer, seen.obstacle], [other.origin, null])
  const { body } = await approve(id, { digest: seen.digest })
  assert.deepEqual([body.status, body.issuer], ['active', other.origin])
})

test('one that was named and is away later is a failing reading, and leaves what awaits approval', async (t) => {
  const { app, id } = await approved(t)
  const other = await openAppHost(t)
  other.put(SERVER_AT, plainServer(other.origin))
  nameIssuer(app, other.origin)
  const { pending_change } = await anHourLater(id)
  for (const gone of [other, app.auth]) {
    gone.put(SERVER_AT, (_request, response) => response.writeHead(503).end())
    const away = await anHourLater(id)
    assert.ok(away.discovered.failures > 0)
    assert.deepEqual(away.pending_change, pending_change)
  }
  assert.equal(alarmsAt(id).length, 1)
  assert.equal((await approve(id)).body.issuer, other.origin)
})

test('one that was named and denies it later cannot be approved any more', async (t) => {
  const { app, id } = await approved(t)
  const other = await openAppHost(t)
  other.put(SERVER_AT, plainServer(other.origin))
  nameIssuer(app, other.origin)
  const { digest } = (await anHourLater(id)).pending_change
  other.put(SERVER_AT, plainServer('https://another.example'))
  const { pending_change } = await anHourLater(id)
  assert.notEqual(pending_change.digest, digest)
  assertRefused(await approve(id), 409, 'invalid_transition')
})

test('another place that still names it as before does not hide the change', async (t) => {
  const { app, id } = await approved(t)
  app.auth.put(OPENID_AT, app.server)
  nameIssuer(app, 'https://other.example')
  const stopped = await anHourLater(id)
  assert.deepEqual(
    [stopped.status, stopped.pending_change.issuer],
    ['suspended', 'https://other.example'],
  )
})

test('what lies in a place that it was never read from is no word of its own', async (t) => {
  const { app, id } = await approved(t)
  app.auth.put(OPENID_AT, plainServer('https://other.example'))
  app.auth.put(SERVER_AT, undefined)
  const silent = await anHourLater(id)
  assert.match(silent.discovered.last_failure, /another issuer/)
  app.publish()
  app.api.put('/chat', undefined)
  app.api.put(RESOURCE_AT, undefined)
  app.api.put('/.well-known/oauth-protected-resource', {
    ...app.resource,
    resource: `${app.api.origin}/other`,
  })
  const lost = await anHourLater(id)
  assert.match(lost.discovered.last_failure, /another resource/)
  assert.deepEqual([lost.status, lost.pending_change], ['active', null])
})

const OTHERS: [name: string, resource: (app: DiscoverableApp) => string][] = [
  ['at another origin', () => 'https://api.elsewhere.example/chat'],
  ['at its own origin', (app) => `${app.api.origin}/other`],
  ['without TLS', () => 'http://api.elsewhere.example/chat'],
]
for (const [name, resourceOf] of OTHERS) {
  for (const way of ['its challenge leads', 'its metadata always lay']) {
    test(`where ${way}, another resource ${name} is described: minting stops, and there is nothing to approve (DR-02, DR-10)`, async (t) => {
      const { app, id } = await approved(t)
      const before = await read(id)
      const resource = resourceOf(app)
      if (way === 'its challenge leads') {
        app.api.put('/elsewhere.json', { ...app.resource, resource })
        const pointer = `${app.api.origin}/elsewhere.json`
        app.api.put('/chat', challenge(`Bearer resource_metadata="${pointer}"`))
      } else {
        app.api.put('/chat', undefined)
        app.api.put(RESOURCE_AT, { ...app.resource, resource })
      }
      const stopped = await anHourLater(id)
      assert.equal(stopped.status, 'suspended')
      assert.deepEqual(kept(stopped), kept(before))
      const { changes, notice, obstacle, issuer, digest } = stopped.pending_change
      assert.deepEqual(changes, [{ member: 'resource', from: app.url, to: resource }])
      assert.ok(notice.endsWith(` speaks of the resource ${resource} instead of ${app.url}`))
      assert.ok(obstacle)
      assert.equal(issuer, before.issuer)
      assert.deepEqual((await eventsOf(id, 'audience.change_noticed'))[0]?.detail.changed, [
        'resource',
      ])
      assertRefused(await approve(id), 409, 'invalid_transition')
      assertRefused(await approve(id, { digest }), 409, 'invalid_transition')
      app.publish()
      app.api.put('/chat', challenge(`Bearer resource_metadata="${app.api.origin}${RESOURCE_AT}"`))
      const { pending_change } = await anHourLater(id)
      assert.deepEqual([pending_change.changes, pending_change.obstacle], [[], null])
      assertRefused(await approve(id, { digest }), 409, 'invalid_transition')
      assert.equal((await approve(id)).body.status, 'active')
    })
  }
}

test('its resource lists another server that says nothing: minting stops, until that one can be approved (DR-04, DR-10)', async (t) => {
  const { app, id } = await approved(t)
  const before = await read(id)
  const other = await openAppHost(t)
  app.resource.authorization_servers = [other.origin]
  app.publish()
  const stopped = await anHourLater(id)
  assert.deepEqual([stopped.status, kept(stopped)], ['suspended', kept(before)])
  const { notice, obstacle, digest } = stopped.pending_change
  assert.equal(
    notice,
    `The document at ${app.api.origin}${RESOURCE_AT} names the authorization server ${other.origin} instead of ${app.auth.origin}`,
  )
  assert.match(obstacle, /status 200/)
  assertRefused(await approve(id), 409, 'invalid_transition')
  const away = await anHourLater(id)
  assert.deepEqual([away.discovered.failures, away.pending_change.digest], [1, digest])
  other.put(SERVER_AT, plainServer(other.origin))
  const { pending_change: ready } = await anHourLater(id)
  assert.deepEqual([ready.issuer, ready.notice, ready.obstacle], [other.origin, null, null])
  assert.equal((await approve(id, { digest: ready.digest })).body.issuer, other.origin)
})

const json: (text: string) => Answering = (text) => (_request, response) =>
  response.writeHead(200, { 'content-type': 'application/json' }).end(text)
const OUTAGES: [name: string, answer: Answering | object | undefined][] = [
  ['nothing', undefined],
  ['500', (_request, response) => response.writeHead(500).end()],
  ['503', (_request, response) => response.writeHead(503).end()],
  [
    'a redirect',
    (_q, response) => response.writeHead(302, { location: 'https://x.example' }).end(),
  ],
  ['a connection that ends', (request) => request.socket.destroy()],
  ['a page', json('<html>down for maintenance</html>')],
  ['half of it', json('{"issuer": "https://other.exa')],
  ['a list', json('["https://other.example"]')],
  ['a document that names nobody', {}],
  ['names of the wrong type', { issuer: 7, resource: ['https://other.example'] }],
  ['names that are no URL', { issuer: 'unknown', resource: 'maintenance https://x.example' }],
]
for (const [name, answer] of OUTAGES) {
  test(`where its documents lay is ${name}: a failing reading, which changes nothing (DR-10)`, async (t) => {
    const { app, id } = await approved(t)
    const before = await read(id)
    app.auth.put(SERVER_AT, answer)
    await anHourLater(id)
    app.publish()
    app.api.put(RESOURCE_AT, answer)
    house.wait(HOUR)
    const { discovered, ...now } = await anHourLater(id)
    const { discovered: _, ...then } = before
    assert.deepEqual(now, then)
    assert.deepEqual(kept({ ...now, discovered }), kept(before))
    assert.equal(discovered.failures, 2)
    assert.deepEqual(await eventsOf(id, 'audience.change_noticed'), [])
    assert.deepEqual(alarmsAt(id), [])
  })
}

test('a newcomer that names somebody else before it is approved is not approved as what it was', async (t) => {
  const app = await openApp(t)
  const { body } = await house.admin('POST', '/audiences', { discover: app.url })
  nameIssuer(app, 'https://other.example')
  const { pending_change } = await anHourLater(body.id)
  assert.deepEqual([pending_change.reason, !!pending_change.obstacle], ['registration', true])
  for (const { digest } of [body.pending_change, pending_change]) {
    assertRefused(await approve(body.id, { digest }), 409, 'invalid_transition')
  }
})
