// What becomes of an event, by what the relying app answers: every row of §6.3.
import assert from 'node:assert/strict'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { REVOKED } from '../../src/events/revocation-set.ts'
import { deliverDue } from '../support/deliver-due.ts'
import { TEST_ONLY_CERTIFICATE, TEST_ONLY_PRIVATE_KEY } from '../support/tls.ts'
import { HANG_UP, openDelivery, type Reply } from './apps.ts'
import { receive } from './receiver.ts'

const VARIANT = 'https://schemas.workos.com/events/agent/identity/assertion/revoked'
const HOUR = 3600

test('an event is posted as it was signed and is delivered by a 202 (EV-05, EV-06, EV-10)', async (t) => {
  const { app, tell, row, deps, keys, auditTypes, house } = await openDelivery(t)
  const { audience_id, received } = await app([202])
  const id = await tell(audience_id)
  await deliverDue(deps)
  const { jws, aud, sub, ...event } = await row(id)
  assert.deepEqual(received, [
    { path: '/events', type: 'application/secevent+jwt', accept: 'application/json', body: jws },
  ])
  const { status, attempts, next_attempt_at, delivered_at, outcome_unknown, last_answer } = event
  assert.deepEqual(
    { status, attempts, next_attempt_at, delivered_at, outcome_unknown, last_answer },
    {
      status: 'delivered',
      attempts: 1,
      next_attempt_at: null,
      delivered_at: deps.now(),
      outcome_unknown: false,
      last_answer: { status: 202 },
    },
  )
  const expected = {
    issuer: deps.config.issuer,
    audience: aud,
    keys: keys.jwks(),
    knows: [REVOKED],
    seen: new Set<string>(),
  }
  assert.deepEqual(await receive('application/secevent+jwt', received[0]?.body ?? '', expected), {
    status: 202,
    revoked: { iss: deps.config.issuer, sub, aud },
  })
  assert.deepEqual(await auditTypes(), ['event.delivered'])
  await deliverDue(deps)
  assert.equal(received.length, 1)
  assert.ok(!house.logs.join('').includes(jws ?? ''), 'the token is in the log')
})

test('a service that answers 503 twice gets the same event a third time (TV-91, EV-12)', async (t) => {
  const { app, tell, row, deps, wait } = await openDelivery(t)
  const { audience_id, bodies } = await app([503, 503, 202])
  const id = await tell(audience_id)
  await deliverDue(deps)
  assert.equal((await row(id)).status, 'queued')
  wait(5)
  await deliverDue(deps)
  wait(10)
  await deliverDue(deps)
  const { status, attempts, jws } = await row(id)
  assert.deepEqual([status, attempts], ['delivered', 3])
  assert.deepEqual(bodies(), [jws, jws, jws])
})

test('an event that may have been taken and is refused as a replay goes once with a new jti (TV-92)', async (t) => {
  const { app, tell, row, deps, wait } = await openDelivery(t)
  const { audience_id, bodies } = await app([HANG_UP, 'invalid_request'])
  const id = await tell(audience_id)
  const { jti } = await row(id)
  await deliverDue(deps)
  assert.equal((await row(id)).outcome_unknown, true)
  wait(5)
  await deliverDue(deps)
  const renewed = await row(id)
  assert.equal(renewed.status, 'queued')
  assert.deepEqual([renewed.earlier_jtis, renewed.remedies], [[jti], ['new_jti']])
  wait(10)
  await deliverDue(deps)
  const { status, attempts, last_answer } = await row(id)
  assert.deepEqual(
    { status, attempts, last_answer },
    { status: 'failed', attempts: 3, last_answer: { status: 400, err: 'invalid_request' } },
  )
  const sent = bodies().map((body) => decodeJwt(body).jti)
  assert.deepEqual(sent, [jti, jti, renewed.jti])
  wait(73 * HOUR)
  await deliverDue(deps)
  assert.equal(bodies().length, 3)
})

test('that nobody knows what came of it is kept over other answers, and ends with the new jti', async (t) => {
  const { app, tell, row, deps, wait } = await openDelivery(t)
  const { audience_id, bodies } = await app([HANG_UP, 503, 429, 'invalid_request', 202])
  const id = await tell(audience_id)
  for (let attempt = 0; attempt < 5; attempt++) {
    await deliverDue(deps)
    wait(80)
  }
  const { status, earlier_jtis, jti } = await row(id)
  assert.equal(status, 'delivered')
  const sent = bodies().map((body) => decodeJwt(body).jti)
  assert.deepEqual(sent, [...Array(4).fill(earlier_jtis[0]), jti])
})

/** Answers after which an event is not sent again, and whether somebody is to look at it. */
const FOR_GOOD: [string, Reply, object, 'alert'?][] = [
  ['400 invalid_request, never sent before', 'invalid_request', { err: 'invalid_request' }],
  ['400 invalid_issuer', 'invalid_issuer', { err: 'invalid_issuer' }, 'alert'],
  ['400 access_denied', 'access_denied', { err: 'access_denied' }],
  ['400 with another error', 'something_else', { err: 'something_else' }],
  ['400 with anything for an error', 'No such thing', { err: 'No such thing' }],
  ['400 without a word', 400, {}],
  ['401', 401, { status: 401 }, 'alert'],
  ['403 with a page', (to) => to.writeHead(403).end('<h1>No</h1>'), { status: 403 }, 'alert'],
  [
    '403 access_denied',
    (to) => to.writeHead(403).end('{"err":"access_denied","description":"not\\nyou"}'),
    { status: 403, err: 'access_denied', description: 'not you' },
  ],
  ['405', 405, { status: 405 }, 'alert'],
  ['415', 415, { status: 415 }, 'alert'],
]
test('it fails for good, and whoever watches is told (EV-11, EV-13)', async (t) => {
  const { app, tell, row, deps, wait, house, auditTypes } = await openDelivery(t)
  const lines = () => house.logs.map((line) => JSON.parse(line))
  for (const [what, reply, last, alert] of FOR_GOOD) {
    await t.test(what, async () => {
      const { audience_id, received } = await app([reply])
      const id = await tell(audience_id)
      await deliverDue(deps)
      const { status, failed_at, next_attempt_at, last_answer, jws } = await row(id)
      assert.deepEqual([status, failed_at, next_attempt_at], ['failed', deps.now(), null])
      assert.deepEqual(last_answer, { status: 400, ...last })
      wait(73 * HOUR)
      await deliverDue(deps)
      assert.equal(received.length, 1)
      assert.equal((await auditTypes()).at(-1), 'event.failed')
      const told = lines().filter((line) => line.id === id && line.level >= 40)
      assert.deepEqual(
        told.map(({ level, msg, audience_id: audience }) => [level, msg, audience]),
        [...(alert ? [[40, 'event.refused', audience_id]] : []), [50, 'event.failed', audience_id]],
      )
      const err = /^[a-z_]+$/.exec((last as { err?: string }).err ?? '')?.[0]
      for (const { answer, refusal } of told) {
        assert.deepEqual([answer, refusal], [last_answer?.status, err])
      }
      assert.ok(!house.logs.join('').includes(jws ?? ''), 'the token is in the log')
    })
  }
})

/** Answers after which the same event is sent again by the back-off. */
const TRANSIENT: [string, Reply, object, { unknown?: true }?][] = [
  ['408', 408, { status: 408 }],
  ['429', 429, { status: 429 }],
  ['500', 500, { status: 500 }, { unknown: true }],
  ['502', 502, { status: 502 }, { unknown: true }],
  ['503', 503, { status: 503 }],
  ['504', 504, { status: 504 }, { unknown: true }],
  [
    'a redirect, which is not followed',
    (to) => to.writeHead(307, { location: '/elsewhere' }).end(),
    { status: 307, failure: 'redirect_refused' },
  ],
  ['a connection that breaks', HANG_UP, { failure: 'bad_response' }, { unknown: true }],
  ['no answer in time', () => undefined, { failure: 'timeout' }, { unknown: true }],
  [
    'half a 202',
    (to) => {
      to.writeHead(202, { 'content-length': '10' }).write('half')
      setImmediate(() => to.socket?.destroy())
    },
    { status: 202, failure: 'bad_response' },
    { unknown: true },
  ],
  [
    'an error without an end',
    (to) => to.writeHead(400).end('x'.repeat(70_000)),
    { status: 400, failure: 'too_large' },
  ],
]
test('it is sent again as it is (EV-11, EV-12)', async (t) => {
  const { app, tell, row, deps, wait } = await openDelivery(t, { timeoutMs: 300 })
  for (const [what, reply, last, { unknown = false } = {}] of TRANSIENT) {
    await t.test(what, async () => {
      const { audience_id, bodies } = await app([reply, 202])
      const id = await tell(audience_id)
      await deliverDue(deps)
      const { status, next_attempt_at, last_answer, outcome_unknown } = await row(id)
      assert.deepEqual([status, last_answer, outcome_unknown], ['queued', last, unknown])
      const after = (Number(next_attempt_at) - deps.now().getTime()) / 1000
      assert.ok(after >= 2.5 && after <= 5, `${after} s`)
      wait(5)
      await deliverDue(deps)
      const { status: end, jws } = await row(id)
      assert.equal(end, 'delivered')
      assert.deepEqual(bodies(), [jws, jws])
    })
  }
})

test('an app that cannot be connected to is tried again, and its event was never sent (EV-11)', async (t) => {
  const { parties, tell, row, deps } = await openDelivery(t)
  const { audience_id } = await parties({ events_endpoint: 'http://127.0.0.1:1/events' })
  const id = await tell(audience_id)
  await deliverDue(deps)
  const { status, last_answer, outcome_unknown } = await row(id)
  assert.deepEqual(
    [status, last_answer, outcome_unknown],
    ['queued', { failure: 'connect_failed' }, false],
  )
})

test('an app whose certificate nobody vouches for is sent nothing, and tried again (EV-05, EV-11)', async (t) => {
  let requests = 0
  const pair = { cert: TEST_ONLY_CERTIFICATE, key: TEST_ONLY_PRIVATE_KEY }
  const server = https.createServer(pair, () => {
    requests += 1
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const { parties, tell, row, deps } = await openDelivery(t, { allow: [host] })
  const { audience_id } = await parties({ events_endpoint: `https://${host}/events` })
  const id = await tell(audience_id)
  await deliverDue(deps)
  const { status, last_answer, outcome_unknown } = await row(id)
  assert.deepEqual(
    [status, last_answer, outcome_unknown, requests],
    ['queued', { failure: 'connect_failed' }, false, 0],
  )
})

test('an address that may not be called can be allowed within the time of the event', async (t) => {
  const { parties, tell, row, deps } = await openDelivery(t)
  const { audience_id } = await parties({ events_endpoint: 'https://10.0.0.7/events' })
  const id = await tell(audience_id)
  await deliverDue(deps)
  const { status, last_answer, outcome_unknown } = await row(id)
  assert.deepEqual(
    [status, last_answer, outcome_unknown],
    ['queued', { failure: 'address_not_allowed' }, false],
  )
})

test('Retry-After is honoured, in seconds or as a date, and within bounds (EV-11)', async (t) => {
  const { app, tell, row, deps } = await openDelivery(t)
  for (const [header, least, most] of [
    ['120', 120, 126],
    [new Date(deps.now().getTime() + 600_000).toUTCString(), 600, 630],
    ['1', 2.5, 5],
    ['31536000', 4 * HOUR, 4.2 * HOUR],
    ['soon', 2.5, 5],
  ] as const) {
    const { audience_id } = await app([(to) => to.writeHead(503, { 'retry-after': header }).end()])
    const id = await tell(audience_id)
    await deliverDue(deps)
    const after = (Number((await row(id)).next_attempt_at) - deps.now().getTime()) / 1000
    assert.ok(after >= least && after <= most, `${header}: ${after} s`)
  }
})

test('an unknown key is waited for, not more often than key sets are read, and for a day (§6.3)', async (t) => {
  const { app, tell, row, deps, wait } = await openDelivery(t)
  const { audience_id, bodies } = await app(['invalid_key'])
  const id = await tell(audience_id)
  const { created_at } = await row(id)
  for (;;) {
    await deliverDue(deps)
    const { next_attempt_at } = await row(id)
    if (next_attempt_at === null) break
    const seconds = (next_attempt_at.getTime() - deps.now().getTime()) / 1000
    const last = next_attempt_at.getTime() - created_at.getTime() === 24 * HOUR * 1000
    assert.ok(seconds >= 600 || last, `${seconds} s`)
    wait(seconds)
  }
  assert.equal(deps.now().getTime() - created_at.getTime(), 24 * HOUR * 1000)
  const { status, jws, last_answer } = await row(id)
  assert.equal(status, 'failed')
  assert.deepEqual(last_answer, { status: 400, err: 'invalid_key' })
  assert.deepEqual(new Set(bodies()), new Set([jws]))
})

test('a signature that is refused is sent once more when key sets were read again (§6.3)', async (t) => {
  const { app, tell, row, deps, wait } = await openDelivery(t)
  const { audience_id, bodies } = await app(['authentication_failed'])
  const id = await tell(audience_id)
  await deliverDue(deps)
  wait(599)
  await deliverDue(deps)
  assert.equal(bodies().length, 1)
  wait(60)
  await deliverDue(deps)
  const { status, jws, remedies } = await row(id)
  assert.deepEqual([status, remedies], ['failed', ['cache_window']])
  assert.deepEqual(bodies(), [jws, jws])
})

test('a wrong audience is tried once more after its metadata were read, and then fails (TV-93)', async (t) => {
  const { app, tell, row, deps } = await openDelivery(t)
  const { audience_id, bodies } = await app(['invalid_audience'])
  const id = await tell(audience_id)
  const read: string[] = []
  await deliverDue(deps, { reread: async (audience) => void read.push(audience) })
  const { status, jws, last_answer } = await row(id)
  assert.equal(status, 'failed')
  assert.deepEqual(last_answer, { status: 400, err: 'invalid_audience' })
  assert.deepEqual([read, bodies()], [[audience_id], [jws, jws]])
})

test('an app that has another issuer by then is sent the refused event under that one (TV-93)', async (t) => {
  const { app, tell, row, deps, db, wait, keys } = await openDelivery(t)
  const { audience_id, bodies, says } = await app([503])
  const id = await tell(audience_id)
  const { aud: before, jti } = await row(id)
  await deliverDue(deps)
  const issuer = 'https://renamed.example'
  const change = db.updateTable('audiences').set({ issuer }).where('id', '=', audience_id)
  await change.execute()
  says('invalid_audience', 202)
  wait(5)
  await deliverDue(deps)
  const { status, aud, earlier_jtis, kid, jws } = await row(id)
  assert.deepEqual([status, aud, earlier_jtis, kid], ['delivered', issuer, [jti], keys.kid()])
  // Until it is refused it stays what it was.
  assert.deepEqual(
    bodies().map((body) => decodeJwt(body).aud),
    [before, before, issuer],
  )
  assert.equal(bodies().at(-1), jws)
})

test('what a newer consent gave by the other issuer is not ended by a refused event (EV-14, TV-93)', async (t) => {
  const { app, queue, row, deps, db, wait, delegate } = await openDelivery(t)
  const { audience_id, user_id, bodies, ...rest } = await app(['invalid_audience'])
  const [{ id } = { id: '' }] = await queue([{ audience_id, user_id, sub: user_id }])
  const { aud } = await row(id)
  const reread = async () => {
    const issuer = 'https://renamed.example'
    await db.updateTable('audiences').set({ issuer }).where('id', '=', audience_id).execute()
    wait(1)
    await delegate({ ...rest, user_id, audience_id }, user_id)
  }
  await deliverDue(deps, { reread })
  assert.equal((await row(id)).status, 'failed')
  assert.deepEqual(
    bodies().map((body) => decodeJwt(body).aud),
    [aud, aud],
  )
})

for (const code of [404, 410]) {
  test(`an endpoint that has moved is looked up, and the event goes to the new one (§6.3): ${code}`, async (t) => {
    const { app, tell, row, deps, db } = await openDelivery(t)
    const old = await app([code])
    const moved = await app([202])
    const id = await tell(old.audience_id)
    const reread = async () => {
      await db
        .updateTable('audiences')
        .set({ events_endpoint: moved.url })
        .where('id', '=', old.audience_id)
        .execute()
    }
    await deliverDue(deps, { reread })
    const { status, jws, endpoint } = await row(id)
    assert.deepEqual([status, endpoint], ['delivered', moved.url])
    assert.deepEqual([old.bodies(), moved.bodies()], [[jws], [jws]])
  })
}

test('an event for an app that was registered anew goes where that one is told now (EV-13)', async (t) => {
  const { app, tell, row, deps, db, wait } = await openDelivery(t)
  const old = await app([503])
  const id = await tell(old.audience_id)
  await deliverDue(deps)
  const { aud, tenant_id, jws } = await row(id)
  const retired = db.updateTable('audiences').set({ status: 'retired' })
  await retired.where('id', '=', old.audience_id).execute()
  const anew = await app([202], { issuer: aud, tenant_id })
  wait(5)
  await deliverDue(deps)
  const { status, endpoint } = await row(id)
  assert.deepEqual([status, endpoint], ['delivered', anew.url])
  assert.deepEqual(anew.bodies(), [jws])
})

test('an endpoint that stays away is read about once and then tried by the back-off (§6.3)', async (t) => {
  const { app, tell, row, deps, wait } = await openDelivery(t)
  const { audience_id, bodies } = await app([404, 404, 404, 202])
  const id = await tell(audience_id)
  let read = 0
  const reread = async () => {
    read += 1
    throw new Error('the metadata are away too')
  }
  await deliverDue(deps, { reread })
  assert.deepEqual([read, bodies().length], [1, 2])
  wait(10)
  await deliverDue(deps, { reread })
  wait(20)
  await deliverDue(deps, { reread })
  assert.deepEqual([read, (await row(id)).status], [1, 'delivered'])
})

test('another 2xx is taken for delivered, with a warning (§6.3)', async (t) => {
  const { app, tell, row, deps, house } = await openDelivery(t)
  const { audience_id } = await app([(to) => to.writeHead(200).end('x'.repeat(100_000))])
  const id = await tell(audience_id)
  await deliverDue(deps)
  assert.equal((await row(id)).status, 'delivered')
  const odd = house.logs.map((line) => JSON.parse(line)).filter(({ level }) => level === 40)
  assert.deepEqual(
    odd.map(({ msg, id, answer }) => ({ msg, id, answer })),
    [{ msg: 'event.accepted_oddly', id, answer: 200 }],
  )
})

test('a v0.1 service gets a logout token, and any 2xx is success (TV-95, EV-20)', async (t) => {
  const { app, tell, row, deps, house } = await openDelivery(t)
  const { audience_id, received } = await app([200], { events_dialect: 'logout' })
  const id = await tell(audience_id)
  await deliverDue(deps)
  assert.equal((await row(id)).status, 'delivered')
  assert.equal(received[0]?.type, 'application/logout+jwt')
  assert.equal(decodeProtectedHeader(received[0]?.body ?? '').typ, 'logout+jwt')
  assert.ok(!house.logs.some((line) => JSON.parse(line).level >= 40))
})

test('a service that knows the variant spelling alone gets that one (TV-94, EV-04)', async (t) => {
  const { app, tell, deps } = await openDelivery(t)
  const { audience_id, bodies } = await app([202], { event_type: VARIANT })
  await tell(audience_id)
  await deliverDue(deps)
  const { events } = decodeJwt(bodies()[0] ?? '')
  assert.deepEqual(events, { [VARIANT]: {} })
})

test('an app that is down for an hour gets its event once when it is back (EV-10, EV-11)', async (t) => {
  const { app, tell, row, deps, wait } = await openDelivery(t)
  const { audience_id, bodies, says } = await app([HANG_UP])
  const id = await tell(audience_id)
  const accepted: string[] = []
  let minutes = 0
  for (; minutes < 60; minutes++) {
    await deliverDue(deps)
    wait(60)
  }
  assert.equal((await row(id)).status, 'queued')
  const before = bodies().length
  assert.ok(before >= 8 && before <= 14, `${before} attempts in an hour`)
  says((response, body) => {
    accepted.push(body)
    response.writeHead(202).end()
  })
  for (; (await row(id)).status === 'queued' && minutes < 180; minutes++) {
    await deliverDue(deps)
    wait(60)
  }
  const { status, jws } = await row(id)
  assert.deepEqual([status, accepted], ['delivered', [jws]])
  assert.deepEqual(new Set(bodies()), new Set([jws]))
})

test('an app that stays away is given up after 72 hours, after a last attempt (EV-11, EV-13)', async (t) => {
  const { app, tell, row, deps, wait, house, auditTypes } = await openDelivery(t)
  const { audience_id, bodies } = await app([503])
  const id = await tell(audience_id)
  const { expires_at } = await row(id)
  for (;;) {
    await deliverDue(deps)
    const { next_attempt_at } = await row(id)
    if (next_attempt_at === null) break
    wait((next_attempt_at.getTime() - deps.now().getTime()) / 1000)
  }
  const { status, failed_at, last_answer } = await row(id)
  assert.deepEqual([status, failed_at, last_answer], ['failed', expires_at, { status: 503 }])
  assert.ok(bodies().length > 72 && bodies().length < 180, `${bodies().length} attempts`)
  assert.deepEqual(await auditTypes(), ['event.failed'])
  assert.ok(house.logs.some((line) => JSON.parse(line).msg === 'event.failed'))
})

test('with many that wait, what is past its time is given up with the first that its app does not answer (EV-11, EV-14)', async (t) => {
  const { app, tell, row, deps, wait, house, auditTypes, db } = await openDelivery(t)
  const { audience_id, bodies } = await app([503])
  const other = await app([503])
  await tell(audience_id, 30)
  const elsewhere = await tell(other.audience_id)
  await deliverDue(deps)
  assert.equal(bodies().length, 30)
  // Nobody could try this one in all its time.
  const untried = await tell(audience_id)
  wait(72 * HOUR)
  const fresh = await tell(audience_id)
  await db
    .updateTable('event_deliveries')
    .set({ next_attempt_at: new Date(8e15) })
    .where('id', '=', elsewhere)
    .execute()
  await deliverDue(deps)
  const statuses = await db
    .selectFrom('event_deliveries')
    .select(['id', 'status', 'failed_at', 'next_attempt_at', 'last_answer'])
    .where('audience_id', '=', audience_id)
    .where('id', '<>', fresh)
    .execute()
  const failed = { status: 'failed', failed_at: deps.now(), next_attempt_at: null }
  for (const { id: _, ...one } of statuses) {
    assert.deepEqual(one, { ...failed, last_answer: { status: 503 } })
  }
  assert.equal(statuses.length, 31)
  assert.equal((await row(untried)).attempts, 1)
  assert.equal((await row(fresh)).status, 'queued')
  assert.equal((await row(elsewhere)).status, 'queued')
  assert.ok(bodies().length <= 30 + 4, `${bodies().length} attempts`)
  const types = await auditTypes()
  assert.deepEqual([types.length, new Set(types)], [31, new Set(['event.failed'])])
  const lines = house.logs.filter((line) => JSON.parse(line).msg === 'event.failed')
  assert.equal(lines.length, 31)
})

test('what is past its time has its attempt while its app answers (EV-11)', async (t) => {
  const { app, tell, deps, wait, db } = await openDelivery(t)
  const { audience_id, says } = await app([503])
  await tell(audience_id, 8)
  await deliverDue(deps)
  wait(80 * HOUR)
  says(202)
  await deliverDue(deps)
  const rows = await db.selectFrom('event_deliveries').select('status').execute()
  assert.deepEqual(
    rows.map(({ status }) => status),
    Array(8).fill('delivered'),
  )
})
