// What an administrator sees of events, and can do about one that failed.
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { decodeJwt } from 'jose'
import { createApp } from '../../src/app.ts'
import { newId } from '../../src/db/ids.ts'
import { REVOKED } from '../../src/events/revocation-set.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { deliverDue } from '../support/deliver-due.ts'
import { callsBy } from '../support/house.ts'
import { openDelivery } from './apps.ts'
import { receive } from './receiver.ts'

const VARIANT = 'https://schemas.workos.com/events/agent/identity/assertion/revoked'

async function openDesk(t: Parameters<typeof openDelivery>[0]) {
  const delivery = await openDelivery(t)
  // The same server, with the keys and the way out of the test.
  const app = await createApp(delivery.deps)
  const { admin } = callsBy(async (options) => {
    const answer = await app.inject(options)
    const body = answer.body === '' ? undefined : JSON.parse(answer.body)
    return { status: answer.statusCode, body, headers: answer.headers, text: answer.body }
  })
  return {
    ...delivery,
    admin,
    retry: (id: string) => admin('POST', `/event-deliveries/${id}/retry`),
    /** An event that its audience has refused for good. */
    async fail(audience_id: string): Promise<string> {
      const id = await delivery.tell(audience_id)
      await deliverDue(delivery.deps)
      assert.equal((await delivery.row(id)).status, 'failed')
      return id
    },
  }
}

test('an administrator reads how far an event has come, and never its token (EV-13)', async (t) => {
  const { app, tell, row, deps, wait, admin } = await openDesk(t)
  const { audience_id, url, tenant_id } = await app([503, 202])
  const id = await tell(audience_id)
  const { jti, user_id, jws, aud, sub } = await row(id)
  await deliverDue(deps)
  const { body: waiting, status } = await admin('GET', `/event-deliveries/${id}`)
  const { last_attempt_at, next_attempt_at, ...known } = waiting
  const created_at = deps.now().toISOString()
  const fixed = {
    id,
    tenant_id,
    audience_id,
    aud,
    user_id,
    sub,
    agent_id: null,
    revocation_id: null,
    compromised_kid: null,
    cause: known.cause,
    endpoint: url,
    dialect: 'set',
    event_type: REVOKED,
    jti,
    earlier_jtis: [],
    created_at,
    failed_at: null,
    superseded_at: null,
    expires_at: addSeconds(deps.now(), 72 * 3600).toISOString(),
    resent_at: null,
  }
  assert.equal(status, 200)
  assert.deepEqual(known, {
    ...fixed,
    status: 'queued',
    attempts: 1,
    last_answer: { status: 503 },
    delivered_at: null,
    seconds_to_acknowledgement: null,
  })
  assert.equal(last_attempt_at, created_at)
  assert.ok(next_attempt_at > created_at)
  wait(7)
  await deliverDue(deps)
  const { body, text } = await admin('GET', `/event-deliveries/${id}`)
  assert.deepEqual(body, {
    ...fixed,
    status: 'delivered',
    attempts: 2,
    last_answer: { status: 202 },
    last_attempt_at: deps.now().toISOString(),
    next_attempt_at: null,
    delivered_at: deps.now().toISOString(),
    seconds_to_acknowledgement: 7,
  })
  assert.ok(!text.includes(jws ?? ''))
  assert.equal((await admin('GET', `/event-deliveries/${newId('dlv')}`)).status, 404)
})

test('who reads an event reads which other delegations it ends, revocation or not (GR-08)', async (t) => {
  const { app, queue, row, deps, wait, admin, delegate, parties, db } = await openDesk(t)
  const { audience_id, ...of } = await app([503], { event_names_agent: true })
  const { user_id, agent_id } = of
  const pair = { ...of, audience_id }
  const event = { audience_id, user_id, sub: user_id }
  const another = await parties()
  const live = await delegate(pair, user_id)
  await delegate({ ...pair, agent_id: another.agent_id }, user_id, {
    status: 'revoked',
    revoked_at: deps.now(),
    end_reason: 'user',
  })
  await delegate(pair, another.user_id)
  await delegate({ ...of, audience_id: another.audience_id }, user_id)
  const [all] = await queue([event])
  const [one] = await queue([{ ...event, agent: { id: another.agent_id, client_id: 'there' } }])
  wait(1)
  await delegate({ ...pair, agent_id: another.agent_id }, user_id)

  const interrupts = async (id = '') =>
    (await admin('GET', `/event-deliveries/${id}`)).body.interrupts
  assert.equal((await row(all?.id ?? '')).revocation_id, null)
  assert.deepEqual(await interrupts(all?.id), [
    { delegation_id: live, user_id, agent_id, audience_id },
  ])
  assert.equal(await interrupts(one?.id), undefined, 'its app leaves the others alone')
  await db
    .updateTable('event_deliveries')
    .set({ status: 'superseded', superseded_at: deps.now(), next_attempt_at: null })
    .where('id', '=', all?.id ?? '')
    .execute()
  assert.equal(await interrupts(all?.id), undefined, 'it ends nothing any more')
})

test('an event is never confirmed before it was queued, whatever the clocks of two replicas say', async (t) => {
  const { app, tell, deps, db, admin } = await openDesk(t)
  const id = await tell((await app([202])).audience_id)
  await deliverDue(deps)
  await db
    .updateTable('event_deliveries')
    .set({ delivered_at: addSeconds(deps.now(), -2) })
    .where('id', '=', id)
    .execute()
  const { body } = await admin('GET', `/event-deliveries/${id}`)
  assert.equal(body.seconds_to_acknowledgement, 0)
})

test('events are listed newest first, by state, audience, user, agent and revocation', async (t) => {
  const { app, queue, deps, wait, admin, db } = await openDesk(t)
  const one = await app([202])
  const other = await app(['access_denied'])
  const revocation_id = newId('rev')
  const told: string[] = []
  for (const { audience_id, user_id } of [one, other, one]) {
    const [event] = await queue([{ audience_id, user_id, sub: user_id, revocation_id }])
    told.unshift(event?.id ?? '')
    wait(1)
  }
  await deliverDue(deps)
  const [third = '', second = '', first = ''] = told
  const later = newId('rev')
  await db
    .insertInto('revocation_events')
    .values({ revocation_id: later, delivery_id: first })
    .execute()
  const ids = async (query: string) => {
    const { status, body } = await admin('GET', `/event-deliveries?${query}`)
    assert.equal(status, 200)
    return body.data.map(({ id }: { id: string }) => id)
  }
  assert.deepEqual(await ids(''), [third, second, first])
  assert.deepEqual(await ids('status=failed'), [second])
  assert.deepEqual(await ids(`audience_id=${one.audience_id}&status=delivered`), [third, first])
  assert.deepEqual(await ids(`user_id=${other.user_id}`), [second])
  assert.deepEqual(await ids(`agent_id=${one.agent_id}`), [])
  assert.deepEqual(await ids(`revocation_id=${revocation_id}`), [third, second, first])
  assert.deepEqual(await ids(`revocation_id=${later}`), [first])
  const { body: page } = await admin('GET', '/event-deliveries?limit=2')
  assert.deepEqual(await ids(`limit=2&cursor=${page.next_cursor}`), [first])
  assert.equal((await admin('GET', '/event-deliveries?status=lost')).status, 422)
  assert.equal((await admin('GET', '/event-deliveries?jws=x')).status, 422)
})

test('the events about an agent are also those about every agent of a user where it had a delegation (EV-13)', async (t) => {
  const { app, queue, wait, admin, delegate, deps, parties } = await openDesk(t)
  const names = { event_names_agent: true }
  const here = await app([202], names)
  const { user_id, agent_id, audience_id } = here
  const there = await app([202], names)
  const another = await parties()
  const tell = async (of: { audience_id: string; user_id: string }, agent?: string) => {
    const about = agent === undefined ? {} : { agent: { id: agent, client_id: agent } }
    const [event] = await queue([{ ...of, sub: of.user_id, ...about }])
    wait(1)
    return event?.id ?? ''
  }
  const pair = { audience_id, user_id }
  const before = await tell(pair)
  const [ended, moment] = [{ status: 'revoked', end_reason: 'user' } as const, deps.now()]
  await delegate(here, user_id, { ...ended, revoked_at: moment })
  wait(1)
  const unnamed = await tell(pair)
  await tell({ audience_id, user_id: another.user_id })
  await tell({ audience_id: there.audience_id, user_id })
  const named = await tell({ audience_id: there.audience_id, user_id }, agent_id)
  const other = await tell(pair, another.agent_id)
  await delegate({ ...here, agent_id: another.agent_id }, user_id)
  wait(1)
  const last = await tell(pair)

  const ids = async (query: string) => {
    const { status, body } = await admin('GET', `/event-deliveries?${query}`)
    assert.equal(status, 200)
    return body.data.map(({ id }: { id: string }) => id)
  }
  assert.deepEqual(await ids(`agent_id=${agent_id}`), [last, named, unnamed])
  assert.deepEqual(await ids(`agent_id=${another.agent_id}`), [last, other])
  assert.deepEqual(await ids(`agent_id=${there.agent_id}`), [])
  assert.deepEqual(await ids(`agent_id=${agent_id}&audience_id=${audience_id}`), [last, unnamed])
  const seen: string[] = []
  for (let cursor = ''; seen.length < 3; ) {
    const { body } = await admin('GET', `/event-deliveries?agent_id=${agent_id}&limit=1${cursor}`)
    seen.push(...body.data.map(({ id }: { id: string }) => id))
    cursor = `&cursor=${body.next_cursor}`
  }
  assert.deepEqual(seen, [last, named, unnamed], 'page by page')
  assert.ok(!(await ids(`agent_id=${agent_id}`)).includes(before))
})

test('an event that failed is sent again under another jti, where and how its audience is told now (EV-13)', async (t) => {
  const { app, fail, row, deps, keys, wait, db, retry, auditTypes } = await openDesk(t)
  const { audience_id, bodies } = await app(['invalid_issuer'])
  const id = await fail(audience_id)
  const { jti, sub, aud } = await row(id)
  const moved = await app([503, 202])
  await db
    .updateTable('audiences')
    .set({
      events_endpoint: moved.url,
      events_dialect: 'logout',
      event_type: VARIANT,
    })
    .where('id', '=', audience_id)
    .execute()
  wait(80 * 3600)
  const { status, body } = await retry(id)
  assert.equal(status, 200)
  const resent_at = deps.now()
  const {
    status: state,
    attempts,
    earlier_jtis,
    endpoint,
    dialect,
    event_type,
    failed_at,
    ...shown
  } = body
  assert.deepEqual(
    { state, attempts, earlier_jtis, endpoint, dialect, event_type, failed_at },
    {
      state: 'queued',
      attempts: 0,
      earlier_jtis: [jti],
      endpoint: moved.url,
      dialect: 'logout',
      event_type: VARIANT,
      failed_at: null,
    },
  )
  assert.deepEqual(
    [shown.resent_at, shown.expires_at],
    [resent_at.toISOString(), addSeconds(resent_at, 72 * 3600).toISOString()],
  )
  await deliverDue(deps)
  wait(5)
  await deliverDue(deps)
  const after = await row(id)
  assert.deepEqual([after.status, after.aud], ['delivered', aud])
  assert.notEqual(after.jti, jti)
  assert.deepEqual(moved.bodies(), [after.jws, after.jws])
  assert.equal(bodies().length, 1)
  const expected = {
    issuer: deps.config.issuer,
    audience: aud,
    keys: keys.jwks(),
    seen: new Set<string>(),
  }
  assert.deepEqual(
    await receive('application/logout+jwt', after.jws ?? '', { ...expected, knows: [VARIANT] }),
    { status: 202, revoked: { iss: deps.config.issuer, sub, aud } },
  )
  assert.equal(decodeJwt(after.jws ?? '').jti, after.jti)
  assert.deepEqual(await auditTypes(), ['event.failed', 'event.resent', 'event.delivered'])
})

test('an event that failed goes to whom it was for when its audience is another server by now (EV-13, EV-02)', async (t) => {
  const { app, fail, row, deps, db, retry } = await openDesk(t)
  const { audience_id, bodies, says } = await app(['access_denied'], { event_names_agent: true })
  const id = await fail(audience_id)
  const before = await row(id)
  const moved = await app([202])
  await db
    .updateTable('audiences')
    .set({
      issuer: 'https://other.example',
      events_endpoint: moved.url,
      events_dialect: 'logout',
      event_type: VARIANT,
      event_names_agent: false,
    })
    .where('id', '=', audience_id)
    .execute()
  says(202)
  assert.equal((await retry(id)).status, 200)
  await deliverDue(deps)
  const after = await row(id)
  const { aud, endpoint, dialect, event_type } = before
  assert.deepEqual([after.status, after.aud, after.endpoint], ['delivered', aud, endpoint])
  assert.deepEqual([after.dialect, after.event_type], [dialect, event_type])
  assert.deepEqual([bodies().length, moved.bodies()], [2, []])
})

test('an event that failed goes where its app is told that was registered anew (EV-13)', async (t) => {
  const { app, fail, row, deps, db, retry } = await openDesk(t)
  const old = await app(['access_denied'])
  const id = await fail(old.audience_id)
  const { aud, tenant_id } = await row(id)
  const retired = db.updateTable('audiences').set({ status: 'retired' })
  await retired.where('id', '=', old.audience_id).execute()
  const anew = await app([202], { issuer: aud, tenant_id })
  assert.equal((await retry(id)).status, 200)
  await deliverDue(deps)
  const { status, endpoint } = await row(id)
  assert.deepEqual([status, endpoint, old.bodies().length], ['delivered', anew.url, 1])
})

test('what was tried the first time can be tried again', async (t) => {
  const { app, tell, row, deps, wait, retry } = await openDesk(t)
  const { audience_id, says } = await app(['authentication_failed'])
  const id = await tell(audience_id)
  await deliverDue(deps)
  wait(700)
  await deliverDue(deps)
  const { status, remedies } = await row(id)
  assert.deepEqual([status, remedies], ['failed', ['cache_window']])
  says('authentication_failed', 202)
  assert.equal((await retry(id)).status, 200)
  assert.deepEqual((await row(id)).remedies, [])
  await deliverDue(deps)
  wait(700)
  await deliverDue(deps)
  assert.equal((await row(id)).status, 'delivered')
})

test('an event that was dropped is not sent again, nor one to nowhere, and the answer says why (EV-12)', async (t) => {
  const { app, fail, deps, db, retry } = await openDesk(t)
  const sour = await app(['access_denied'])
  const superseded = await fail(sour.audience_id)
  const nowhere = await fail(sour.audience_id)
  await db
    .updateTable('event_deliveries')
    .set({ status: 'superseded', failed_at: null, superseded_at: deps.now() })
    .where('id', '=', superseded)
    .execute()
  await db
    .updateTable('audiences')
    .set({ events_dialect: 'none', events_endpoint: null })
    .where('id', '=', sour.audience_id)
    .execute()
  for (const [id, why] of [
    [superseded, /was dropped/],
    [nowhere, /needs an events_endpoint, and an events_dialect/],
  ] as const) {
    const { status, body } = await retry(id)
    assert.deepEqual([status, body.type], [409, '/problems/invalid_transition'])
    assert.match(body.detail, why)
  }
  const silent = { events_dialect: 'none', events_endpoint: sour.url } as const
  await db.updateTable('audiences').set(silent).where('id', '=', sour.audience_id).execute()
  assert.match((await retry(nowhere)).body.detail, /events_dialect other than none/)
  assert.equal((await retry(newId('dlv'))).status, 404)
})

test('an event that its app accepted and lost is told of by another one (EV-13)', async (t) => {
  const { app, queue, row, deps, db, wait, retry, delegate, auditTypes } = await openDesk(t)
  const { audience_id, bodies, ...parties } = await app([202])
  const { user_id } = parties
  const revocation_id = newId('rev')
  const about = { audience_id, user_id, sub: user_id, revocation_id }
  const [{ id } = { id: '' }] = await queue([about])
  await deliverDue(deps)
  const before = await row(id)
  wait(60)
  const answers = await Promise.all([retry(id), retry(id)])
  const [{ status, body } = { status: 0, body: { id: '' } }, other] = answers
  assert.deepEqual([status, other?.body.id], [200, body.id], 'those who ask at once have one made')
  assert.notEqual(body.id, id)
  const { aud, sub, endpoint } = before
  const told = { aud, sub, endpoint, user_id, revocation_id: null, status: 'queued' }
  const shown = Object.fromEntries(Object.keys(told).map((name) => [name, body[name]]))
  assert.deepEqual(shown, told)
  assert.deepEqual([body.resent_at, body.created_at], Array(2).fill(deps.now().toISOString()))
  assert.deepEqual(await row(id), before)
  wait(1)
  await deliverDue(deps)
  const after = await row(body.id)
  assert.deepEqual([after.status, bodies()], ['delivered', [before.jws, after.jws]])
  assert.deepEqual(await auditTypes(), ['event.delivered', 'event.resent', 'event.delivered'])
  wait(1)
  await delegate({ ...parties, audience_id }, user_id)
  const refused = await retry(id)
  assert.deepEqual([refused.status, refused.body.type], [409, '/problems/invalid_transition'])
  assert.match(refused.body.detail, /access was given there since/i)
  const { length } = await db.selectFrom('event_deliveries').select('id').execute()
  assert.equal(length, 2)
})

test('an event that waits is tried at once when somebody asks for it, and is the same event (EV-13)', async (t) => {
  const { app, tell, row, deps, wait, retry, auditTypes } = await openDesk(t)
  const { audience_id, bodies } = await app([503, 202])
  const id = await tell(audience_id)
  wait(1)
  await deliverDue(deps)
  const waits = await row(id)
  for (let time = 1; time <= 2; time += 1) {
    const { status, body } = await retry(id)
    assert.deepEqual([status, body.status, body.resent_at], [200, 'queued', null])
    assert.equal(body.next_attempt_at, body.created_at)
  }
  assert.deepEqual(await row(id), { ...waits, next_attempt_at: waits.created_at })
  assert.deepEqual(
    await auditTypes(),
    ['event.hastened'],
    'there was nothing to do the second time',
  )
  await deliverDue(deps)
  const { status, jti, attempts } = await row(id)
  assert.deepEqual([status, jti, attempts], ['delivered', waits.jti, 2])
  assert.deepEqual(bodies(), [waits.jws, waits.jws])
})

test('an event that is being sent is left alone by who asks for it, and nobody waits (EV-12)', async (t) => {
  const { app, tell, row, deps, retry, auditTypes } = await openDesk(t)
  const held: ServerResponse[] = []
  const { audience_id, received, got } = await app([(response) => void held.push(response)])
  const id = await tell(audience_id)
  const sent = deliverDue(deps)
  await got(1)
  const { status, body } = await retry(id)
  assert.deepEqual([status, body.status, body.attempts], [200, 'queued', 1])
  for (const response of held) response.writeHead(202).end()
  await sent
  assert.deepEqual([(await row(id)).status, received.length], ['delivered', 1])
  assert.deepEqual(await auditTypes(), ['event.delivered'])
})

test('an endpoint that is patched is tried at once with what waited, but for another dialect (EV-11)', async (t) => {
  const { app, tell, row, deps, db, admin, wait } = await openDesk(t)
  const { audience_id } = await app([503])
  const elsewhere = await tell((await app([503])).audience_id)
  const [id, older] = [await tell(audience_id), await tell(audience_id)]
  wait(1)
  await deliverDue(deps)
  const logout = { dialect: 'logout' } as const
  await db.updateTable('event_deliveries').set(logout).where('id', '=', older).execute()
  const waiting = async () => {
    const due = async (one: string) => {
      const { next_attempt_at, created_at } = await row(one)
      return Number(next_attempt_at) > Number(created_at)
    }
    return [await due(id), await due(older), await due(elsewhere)]
  }
  const patch = (body: object) => admin('PATCH', `/audiences/${audience_id}`, body)
  assert.equal((await patch({ name: 'Another' })).status, 200)
  assert.deepEqual(await waiting(), [true, true, true])
  const mended = await app([202])
  assert.equal((await patch({ events_endpoint: mended.url })).status, 200)
  assert.deepEqual(await waiting(), [false, true, true])
  await deliverDue(deps)
  assert.deepEqual([(await row(id)).status, mended.received.length], ['delivered', 1])
})

test('while no key can sign, an event is not sent again, and the answer says so', async (t) => {
  const { app, fail, row, keys, retry } = await openDesk(t)
  const { audience_id } = await app(['access_denied'])
  const id = await fail(audience_id)
  keys.lastFor(0)
  const { status, body } = await retry(id)
  assert.deepEqual([status, body.type], [503, '/problems/unavailable'])
  assert.equal((await row(id)).status, 'failed')
})

test('two who send the same event again send it once', async (t) => {
  const { app, fail, row, deps, retry } = await openDesk(t)
  const { audience_id, bodies } = await app(['access_denied', 202])
  const id = await fail(audience_id)
  const answers = await Promise.all([retry(id), retry(id), retry(id)])
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200],
  )
  await deliverDue(deps)
  assert.equal((await row(id)).earlier_jtis.length, 1)
  assert.equal(bodies().length, 2)
})

test('after a newer consent an event is not sent again, nor tried again (EV-14)', async (t) => {
  const desk = await openDesk(t)
  const { app, queue, row, deps, wait, retry, delegate, auditTypes } = desk
  const { audience_id, bodies, says, ...parties } = await app(['access_denied'])
  const { user_id } = parties
  const event = { audience_id, user_id, sub: user_id }
  const [one = '', two = ''] = [...(await queue([event])), ...(await queue([event]))].map(
    ({ id }) => id,
  )
  await deliverDue(deps)
  // The one from before is what the event is about.
  await delegate({ ...parties, audience_id }, user_id, {
    created_at: addSeconds(deps.now(), -60),
    status: 'revoked',
    revoked_at: deps.now(),
    end_reason: 'user',
  })
  says(503)
  wait(60)
  assert.equal((await retry(one)).status, 200)
  await deliverDue(deps)
  assert.equal((await row(one)).status, 'queued')
  await delegate({ ...parties, audience_id }, user_id)
  const { status, body } = await retry(two)
  assert.deepEqual([status, body.type], [409, '/problems/invalid_transition'])
  assert.match(body.detail, /access was given there since/i)
  const sent = bodies().length
  wait(10)
  await deliverDue(deps)
  const { status: state, superseded_at, next_attempt_at, last_answer } = await row(one)
  assert.deepEqual(
    [state, superseded_at, next_attempt_at, last_answer],
    ['superseded', deps.now(), null, { status: 503 }],
  )
  assert.equal(bodies().length, sent)
  assert.equal((await auditTypes()).at(-1), 'event.superseded')
})

test('a consent counts by what the app sees, issuer and subject: by which audience is all the same (EV-14)', async (t) => {
  const desk = await openDesk(t)
  const { app, queue, deps, wait, retry, delegate, db, parties } = desk
  const { audience_id, user_id, ...rest } = await app(['access_denied'])
  const event = { audience_id, user_id, sub: user_id }
  const [{ id } = { id: '' }] = await queue([event])
  await deliverDue(deps)
  wait(60)
  const other = await parties()
  await delegate({ ...rest, user_id, audience_id }, user_id, { sub_asserted: 'p_another' })
  await delegate({ ...rest, user_id, audience_id: other.audience_id }, user_id)
  await db
    .updateTable('audiences')
    .set({ status: 'retired' })
    .where('id', '=', audience_id)
    .execute()
  assert.equal((await retry(id)).status, 200)
  await deliverDue(deps)
  const { issuer } = await db
    .updateTable('audiences')
    .from('audiences as earlier')
    .set((eb) => ({ issuer: eb.ref('earlier.issuer') }))
    .where('audiences.id', '=', other.audience_id)
    .where('earlier.id', '=', audience_id)
    .returning('audiences.issuer')
    .executeTakeFirstOrThrow()
  assert.equal(issuer, `https://chat.example/${audience_id}`)
  const { status, body } = await retry(id)
  assert.equal(status, 409)
  assert.match(body.detail, /access was given there since/i)
})

test('of an event that names an agent only a newer consent to that agent counts (EV-14)', async (t) => {
  const desk = await openDesk(t)
  const { app, tell, row, deps, wait, retry, delegate, db } = desk
  const sibling = await app(['access_denied'])
  const { audience_id, user_id } = sibling
  const id = await tell(audience_id)
  const own = await desk.parties()
  await db
    .updateTable('event_deliveries')
    .set({ agent_id: own.agent_id, user_id, sub: user_id })
    .where('id', '=', id)
    .execute()
  await db.updateTable('audiences').set({ event_names_agent: true }).execute()
  await deliverDue(deps)
  wait(60)
  await delegate(sibling, user_id)
  assert.equal((await retry(id)).status, 200)
  await delegate({ ...sibling, agent_id: own.agent_id }, user_id, {
    mode: 'once',
    status: 'consumed',
    consumed_at: deps.now(),
  })
  await deliverDue(deps)
  // It was used up, and what it gave is not what the event is about.
  assert.equal((await row(id)).status, 'superseded')
  assert.equal(sibling.received.length, 1)
})
