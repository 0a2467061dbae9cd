import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { rereadAudience, rereadDue } from '../../src/audiences/reread.ts'
import { newId } from '../../src/db/ids.ts'
import { queueEvents } from '../../src/events/queue.ts'
import {
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

function moveServer(app: DiscoverableApp, origin: string, members: object = {}) {
  app.resource.authorization_servers = [origin]
  app.publish()
  return { ...plainServer(origin), ...members }
}

test('a new issuer stops minting until it is approved; nothing is ended, and events stay where they were (DR-10)', async (t) => {
  const { app, id } = await approved(t)
  const before = await read(id)
  const other = await openAppHost(t)
  other.put(SERVER_AT, moveServer(app, other.origin))
  const stopped = await anHourLater(id)
  assert.deepEqual(
    [stopped.status, stopped.issuer, stopped.events_endpoint, stopped.resources],
    ['suspended', before.issuer, before.events_endpoint, before.resources],
  )
  assert.match(stopped.status_reason, /approve-change/)
  const pending = stopped.pending_change
  assert.deepEqual([pending.reason, pending.issuer], ['change', other.origin])
  assert.deepEqual(pending.changes, [
    { member: 'issuer', from: app.auth.origin, to: other.origin },
    {
      member: 'token_endpoint',
      from: `${app.auth.origin}/oauth2/token`,
      to: `${other.origin}/token`,
    },
  ])
  assert.deepEqual(pending.unconfirmed_hosts, [other.host])
  const [noticed, ...more] = await eventsOf(id, 'audience.change_noticed')
  assert.deepEqual(more, [])
  assert.deepEqual(noticed.detail, {
    what: 'change',
    digest: pending.digest,
    changed: ['issuer', 'token_endpoint'],
    stopped: true,
  })
  assert.deepEqual(await eventsOf(id, 'revocation.made'), [])
  const { body } = await house.admin('GET', `/event-deliveries?audience_id=${id}`)
  assert.deepEqual(body?.data ?? [], [])
  assert.ok(alarmsAt(id).some((line) => JSON.parse(line).level === 50))

  // The same news is told once.
  const count = alarmsAt(id).length
  await anHourLater(id)
  assert.equal((await eventsOf(id, 'audience.change_noticed')).length, 1)
  assert.equal(alarmsAt(id).length, count)
  assertRefused(await house.admin('POST', `/audiences/${id}/resume`, {}), 409, 'invalid_transition')

  const { body: now } = await approve(id, { digest: pending.digest })
  assert.deepEqual([now.status, now.issuer, now.pending_change], ['active', other.origin, null])
  assert.deepEqual(now.discovered.flags, ['events_endpoint_lost', 'profile_changed'])
  assert.equal(now.events_endpoint, before.events_endpoint)
  assert.equal((await anHourLater(id)).status, 'active')
})

test('another host of an endpoint stops minting too, and approval confirms it (DR-08, DR-10)', async (t) => {
  const { app, id } = await approved(t)
  const other = await openAppHost(t)
  const endpoint = `${other.origin}/notify`
  const kept = (await read(id)).events_endpoint
  app.server.agent_auth = { ...app.server.agent_auth, events_endpoint: endpoint }
  app.publish()
  const stopped = await anHourLater(id)
  assert.deepEqual([stopped.status, stopped.events_endpoint], ['suspended', kept])
  assert.deepEqual(stopped.pending_change.changes, [
    { member: 'events_endpoint', from: kept, to: endpoint },
  ])
  const { body } = await approve(id)
  assert.deepEqual([body.status, body.events_endpoint], ['active', endpoint])
  app.server.agent_auth = { ...app.server.agent_auth, events_endpoint: `${other.origin}/moved` }
  app.publish()
  const moved = await anHourLater(id)
  assert.deepEqual([moved.status, moved.events_endpoint], ['active', `${other.origin}/moved`])
})

test('another place on the same host is followed and audited', async (t) => {
  const { app, id } = await approved(t)
  const endpoint = `${app.auth.origin}/new/notify`
  const event_type = 'https://schemas.workos.com/events/agent/identity/assertion/revoked'
  app.server.agent_auth = {
    ...app.server.agent_auth,
    events_endpoint: endpoint,
    events_supported: [event_type],
  }
  app.publish()
  const audience = await anHourLater(id)
  assert.deepEqual(
    [audience.status, audience.events_endpoint, audience.event_type],
    ['active', endpoint, event_type],
  )
  const [event] = await eventsOf(id, 'audience.updated')
  assert.deepEqual(
    [event.actor_kind, event.detail],
    ['system', { changed: ['events_endpoint', 'event_type'] }],
  )
})

test('what an administrator told otherwise is not followed', async (t) => {
  const own = 'https://events.example/notify'
  const { app, id } = await approved(t, { events_endpoint: own })
  assert.deepEqual((await read(id)).events_dialect, 'set')
  app.server.agent_auth = { ...app.server.agent_auth, events_endpoint: `${app.auth.origin}/new` }
  app.publish()
  const audience = await anHourLater(id)
  assert.deepEqual([audience.status, audience.events_endpoint], ['active', own])
})

test('a lost events endpoint, lost support and a new demand are flagged, and the record stays (DR-10)', async (t) => {
  const { app, id } = await approved(t)
  const before = await read(id)
  const { agent_auth } = app.server
  delete app.server.agent_auth
  app.resource.dpop_bound_access_tokens_required = true
  app.publish()
  const flagged = await anHourLater(id)
  assert.deepEqual(flagged.discovered.flags, [
    'events_endpoint_lost',
    'support_lost',
    'dpop_now_required',
  ])
  assert.deepEqual(
    [flagged.status, flagged.events_endpoint, flagged.events_dialect, flagged.profile],
    ['active', before.events_endpoint, 'set', before.profile],
  )
  await anHourLater(id)
  const flags = (await eventsOf(id, 'audience.flagged')).map(
    (one: { detail: object }) => one.detail,
  )
  assert.deepEqual(flags, [{ flags: flagged.discovered.flags }])
  app.server.agent_auth = { ...agent_auth }
  app.publish()
  await house.admin('PATCH', `/audiences/${id}`, { dpop_required: true })
  assert.deepEqual((await anHourLater(id)).discovered.flags, [])
})

test('a reading that fails changes nothing, is shown, and is tried again later and later', async (t) => {
  const { app, id } = await approved(t)
  const before = await read(id)
  app.auth.put(SERVER_AT, { ...app.server, issuer: undefined })
  const failed = await anHourLater(id)
  assert.equal(failed.discovered.failures, 1)
  assert.match(failed.discovered.last_failure, /it has no issuer/)
  const { failures: _f, last_failure: _l, failed_at: _a, ...discovered } = failed.discovered
  const { failures: _g, last_failure: _m, failed_at: _b, ...known } = before.discovered
  assert.deepEqual({ ...failed, discovered }, { ...before, discovered: known })
  const asked = app.auth.asked.length
  house.wait(299)
  await rereadDue(house.deps)
  assert.equal(app.auth.asked.length, asked)
  house.wait(1)
  await rereadDue(house.deps)
  assert.equal((await read(id)).discovered.failures, 2)
  house.wait(599)
  await rereadDue(house.deps)
  assert.equal((await read(id)).discovered.failures, 2)
  app.publish()
  house.wait(1)
  await rereadDue(house.deps)
  const again = await read(id)
  assert.deepEqual([again.discovered.failures, again.discovered.last_failure], [0, null])
})

test('a resource whose metadata are away is not taken for its own authorization server', async (t) => {
  const { app, id } = await approved(t)
  app.api.put('/chat', undefined)
  app.api.put(RESOURCE_AT, (_request, response) => response.writeHead(503).end())
  for (const at of [SERVER_AT, `${SERVER_AT}/chat`]) {
    app.api.put(at, { ...plainServer(app.api.origin), issuer: app.url })
  }
  const down = await anHourLater(id)
  assert.match(down.discovered.last_failure, /status 200/)
  app.api.put(RESOURCE_AT, undefined)
  const gone = await anHourLater(id)
  assert.match(gone.discovered.last_failure, /no longer where they were/)
  assert.deepEqual(
    [gone.status, gone.pending_change, gone.discovered.failures],
    ['active', null, 2],
  )
})

test('documents are read again when they say so, within five minutes and a day (DR-10)', async (t) => {
  for (const [told, seconds] of [
    ['max-age=1', 300],
    ['no-store', 300],
    ['max-age=900', 900],
    ['max-age=999999', 86_400],
  ] as const) {
    const app = await openApp(t)
    app.publish({ 'cache-control': told })
    const { body } = await house.admin('POST', '/audiences', { discover: app.url })
    const asked = app.auth.asked.length
    house.wait(seconds - 1)
    await rereadDue(house.deps)
    assert.equal(app.auth.asked.length, asked, told)
    house.wait(1)
    await rereadDue(house.deps)
    assert.equal(app.auth.asked.length, asked + 1, told)
    await house.admin('POST', `/audiences/${body.id}/retire`, {})
  }
})

test('who finds something moved has the documents read at once, but not again and again', async (t) => {
  const { app, id } = await approved(t)
  const moved = `${app.auth.origin}/moved`
  app.server.agent_auth = { ...app.server.agent_auth, events_endpoint: moved }
  app.publish()
  await rereadAudience(house.deps, id)
  assert.notEqual((await read(id)).events_endpoint, moved, 'it was read just now')
  house.wait(31)
  await Promise.all([1, 2, 3].map(() => rereadAudience(house.deps, id)))
  assert.equal((await read(id)).events_endpoint, moved)
  assert.equal(app.auth.asked.length, 2)
  await rereadAudience(house.deps, 'aud_of-nobody')
})

test('a server that is to stop begins no reading, and whoever comes next reads', async (t) => {
  const { app } = await approved(t)
  const asked = app.auth.asked.length
  house.wait(HOUR)
  await rereadDue(house.deps, undefined, AbortSignal.abort())
  assert.equal(app.auth.asked.length, asked)
  await rereadDue(house.deps)
  assert.equal(app.auth.asked.length, asked + 1)
})

test('one replica reads at a time, and a retired audience is left alone', async (t) => {
  const { app, id } = await approved(t)
  house.wait(HOUR)
  await Promise.all([1, 2, 3, 4].map(() => rereadDue(house.deps)))
  assert.equal(app.auth.asked.length, 2)
  await house.admin('POST', `/audiences/${id}/retire`, {})
  house.wait(HOUR)
  await rereadDue(house.deps)
  assert.equal(app.auth.asked.length, 2)
})

test('a change that is taken back awaits approval all the same', async (t) => {
  const { app, id } = await approved(t)
  const known = structuredClone(app.server)
  app.server.token_endpoint = 'https://elsewhere.example/token'
  app.publish()
  const { digest } = (await anHourLater(id)).pending_change
  app.server = known
  app.publish()
  const { status, pending_change } = await anHourLater(id)
  assert.deepEqual([status, pending_change.changes], ['suspended', []])
  assertRefused(await approve(id, { digest }), 409, 'invalid_transition')
  assert.equal((await approve(id, { digest: pending_change.digest })).body.status, 'active')
})

test('an audience that an administrator suspended stays so, whatever is approved meanwhile', async (t) => {
  const { app, id } = await approved(t)
  await house.admin('POST', `/audiences/${id}/suspend`, { reason: 'Looked odd' })
  app.server.token_endpoint = 'https://elsewhere.example/token'
  app.publish()
  const noticed = await anHourLater(id)
  assert.deepEqual([noticed.status, noticed.status_reason], ['suspended', 'Looked odd'])
  assertRefused(await house.admin('POST', `/audiences/${id}/resume`, {}), 409, 'invalid_transition')
  assert.equal((await approve(id)).body.status, 'suspended')
  assert.equal((await house.admin('POST', `/audiences/${id}/resume`, {})).body.status, 'active')
})

test('the issuer that is approved is nobody else’s in the tenant', async (t) => {
  const { app, id } = await approved(t)
  const other = await openAppHost(t)
  other.put(SERVER_AT, moveServer(app, other.origin))
  await anHourLater(id)
  const byHand = { name: 'X', profile: 'idjag', resources: [] }
  const { body: taker } = await house.admin('POST', '/audiences', {
    ...byHand,
    issuer: other.origin,
  })
  assertRefused(await approve(id), 409, 'already_exists')
  assert.equal((await read(id)).status, 'suspended')
  await house.admin('POST', `/audiences/${taker.id}/retire`, {})
  const { body: alias } = await house.admin('POST', '/audiences', {
    ...byHand,
    issuer: 'https://aliased.example',
    aliases: [other.origin],
  })
  assertRefused(await approve(id), 409, 'already_exists')
  await house.admin('POST', `/audiences/${alias.id}/retire`, {})
  assert.equal((await approve(id)).body.issuer, other.origin)
})

test('a newcomer whose documents change before it is approved is approved as it is by then', async (t) => {
  const app = await openApp(t)
  const { body } = await house.admin('POST', '/audiences', { discover: app.url })
  app.server.agent_auth = { ...app.server.agent_auth, events_endpoint: `${app.auth.origin}/other` }
  app.publish()
  const later = await anHourLater(body.id)
  assert.equal(later.events_endpoint, body.events_endpoint, 'nothing is applied unseen')
  assertRefused(
    await approve(body.id, { digest: body.pending_change.digest }),
    409,
    'invalid_transition',
  )
  const { body: now } = await approve(body.id, { digest: later.pending_change.digest })
  assert.deepEqual([now.status, now.events_endpoint], ['active', `${app.auth.origin}/other`])
})

test('when the server is replaced by several, what is proposed is the first, or the known one wins (DR-04)', async (t) => {
  const { app, id } = await approved(t)
  const other = await openAppHost(t)
  other.put(SERVER_AT, plainServer(other.origin))
  app.resource.authorization_servers = [other.origin, `${app.auth.origin}/`]
  app.publish()
  assert.equal((await anHourLater(id)).status, 'active')
  app.resource.authorization_servers = [other.origin, 'https://third.example']
  app.publish()
  assert.equal((await anHourLater(id)).pending_change.issuer, other.origin)
})

test('what lies at the address may move by a challenge', async (t) => {
  const { app, id } = await approved(t)
  app.api.put('/m.json', app.resource)
  app.api.put('/chat', challenge(`DPoP resource_metadata="${app.api.origin}/m.json"`))
  const { discovered } = await anHourLater(id)
  assert.equal(discovered.documents[0].url, `${app.api.origin}/m.json`)
})

test('what waits is tried at once when another endpoint is approved, and when one is followed (EV-11)', async (t) => {
  const { app, id } = await approved(t)
  const other = await openAppHost(t)
  const { db } = house.deps
  const event = { audience_id: id, user_id: newId('usr'), sub: newId('usr') }
  const [queued] = await db.transaction().execute((tx) => queueEvents(tx, house.deps, [event]))
  const events = db.selectFrom('event_deliveries').where('id', '=', queued?.id ?? '')
  const put = (next_attempt_at: Date) =>
    db
      .updateTable('event_deliveries')
      .set({ next_attempt_at })
      .where('id', '=', queued?.id ?? '')
      .execute()
  const waits = async () => {
    const { created_at, next_attempt_at } = await events
      .select(['created_at', 'next_attempt_at'])
      .executeTakeFirstOrThrow()
    return Number(next_attempt_at) > Number(created_at)
  }
  const later = new Date(house.clock.now.getTime() + 24 * HOUR * 1000)
  for (const [path, act] of [
    ['/notify', () => approve(id)],
    ['/moved', async () => undefined],
  ] as const) {
    await put(later)
    app.server.agent_auth = {
      ...app.server.agent_auth,
      events_endpoint: `${other.origin}${path}`,
    }
    app.publish()
    await anHourLater(id)
    await act()
    assert.equal((await read(id)).events_endpoint, `${other.origin}${path}`)
    assert.equal(await waits(), false, path)
  }
})
