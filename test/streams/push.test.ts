// Delivery by push (RFC 8935), to an endpoint of our own that answers what the test says.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createPusher } from '../../src/streams/keep-pushing.ts'
import { keepUp } from '../../src/streams/upkeep.ts'
import { events } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'
import { pushDue } from '../support/push-due.ts'
import {
  type Endpoint,
  openEndpoint,
  openReceiver,
  PUSH,
  STREAM_UPDATED,
  VERIFICATION,
} from './receiver.ts'

const house = await openHouse({ after })
const { db } = house.deps
const HEADER = 'Bearer a-secret-of-the-receiver-0123456789'
const HOUR = 3600

/** A receiver with a stream that is pushed to an endpoint of its own. */
async function pushed(delivery: object = {}) {
  const endpoint = await openEndpoint({ after })
  const receiver = await openReceiver(house)
  const { body, status, text } = await receiver.create({
    method: PUSH,
    endpoint_url: endpoint.url,
    ...delivery,
  })
  assert.equal(status, 201, text)
  const { stream_id } = body
  const url = receiver.metadata.verification_endpoint as string
  return {
    endpoint,
    receiver,
    stream_id: stream_id as string,
    async verify(state?: string) {
      const answer = await receiver.call('POST', url, { stream_id, state })
      assert.equal(answer.status, 204, answer.text)
    },
    events: () =>
      db
        .selectFrom('stream_events')
        .select(['jti', 'status', 'attempts', 'last_answer', 'next_attempt_at'])
        .where('stream_id', '=', stream_id)
        .orderBy('created_at')
        .orderBy('jti')
        .execute(),
    status: async () => {
      const at = `${receiver.metadata.status_endpoint}?stream_id=${stream_id}`
      return (await receiver.call('GET', at)).body
    },
  }
}

const statusOf = (row: { last_answer: object | null } | undefined) =>
  Object.entries(row?.last_answer ?? {}).find(([name]) => name === 'status')?.[1]
const failureOf = (row: { last_answer: object | null } | undefined) =>
  Object.entries(row?.last_answer ?? {}).find(([name]) => name === 'failure')?.[1]
const bodies = ({ received }: Endpoint) => received.map(({ body }) => body)

test('a verification is pushed as RFC 8935 has it, with the header of its stream (EV-31, EV-33)', async () => {
  const { endpoint, receiver, verify, events } = await pushed({ authorization_header: HEADER })
  await verify('state-of-mine')
  assert.equal(await pushDue(house.deps), 1)
  const [{ headers, body } = { headers: {}, body: '' }, ...others] = endpoint.received
  assert.equal(others.length, 0)
  assert.equal(headers.method, 'POST')
  assert.equal(headers['content-type'], 'application/secevent+jwt')
  assert.equal(headers.accept, 'application/json')
  assert.equal(headers.authorization, HEADER)
  const event = await receiver.read(body)
  assert.deepEqual(event.events, { [VERIFICATION]: { state: 'state-of-mine' } })
  const [row] = await events()
  assert.deepEqual(
    [row?.status, row?.attempts, row?.last_answer],
    ['delivered', 1, { status: 202 }],
  )
  assert.equal(await pushDue(house.deps), 0)
  assert.ok(!JSON.stringify(house.logs).includes(HEADER))
  const shown = await house.admin('GET', `/ssf-receivers/${receiver.client_id}`)
  assert.ok(shown.body.stream.last_delivered_at)
})

test('what did not arrive comes again, the same bytes, when it is time (EV-11, EV-12)', async () => {
  const { endpoint, verify, events } = await pushed()
  endpoint.answers.push({ status: 503 }, { status: 500 })
  await verify()
  await pushDue(house.deps)
  assert.equal(await pushDue(house.deps), 0, 'not before it is time')
  house.wait(5)
  await pushDue(house.deps)
  house.wait(10)
  await pushDue(house.deps)
  const sent = bodies(endpoint)
  assert.equal(sent.length, 3)
  assert.equal(new Set(sent).size, 1)
  assert.deepEqual(
    (await events()).map(({ status, attempts }) => [status, attempts]),
    [['delivered', 3]],
  )
})

test('a receiver may ask for patience', async () => {
  const { endpoint, verify } = await pushed()
  endpoint.answers.push({ status: 429, headers: { 'retry-after': '120' } })
  await verify()
  await pushDue(house.deps)
  house.wait(119)
  assert.equal(await pushDue(house.deps), 0)
  house.wait(8)
  assert.equal(await pushDue(house.deps), 1)
})

for (const [what, answer] of [
  ['invalid_request', { status: 400, body: { err: 'invalid_request', description: 'no' } }],
  ['invalid_issuer', { status: 400, body: { err: 'invalid_issuer' } }],
  ['access_denied', { status: 400, body: { err: 'access_denied' } }],
  ['401 without a reason', { status: 401 }],
] as const) {
  test(`an event that is refused for good is not sent again: ${what}`, async () => {
    const { endpoint, receiver, verify, events } = await pushed()
    endpoint.answers.push(answer)
    await verify()
    await pushDue(house.deps)
    const at = house.clock.now.toISOString()
    house.wait(HOUR)
    assert.equal(await pushDue(house.deps), 0)
    const [row] = await events()
    assert.equal(row?.status, 'failed')
    assert.equal(statusOf(row), answer.status)
    const { err, ...more } = { err: undefined, ...('body' in answer ? answer.body : {}) }
    const line = house.logs.findLast((one) => one.includes('could not be delivered')) ?? '{}'
    assert.deepEqual([JSON.parse(line).answer, JSON.parse(line).refusal], [answer.status, err])
    assert.ok(!('description' in more && line.includes(`"${more.description}"`)))
    const { body } = await house.admin('GET', `/ssf-receivers/${receiver.client_id}`)
    const { queued, failed, last_failed_at, last_answer, last_delivered_at } = body.stream
    assert.deepEqual([queued, failed, last_failed_at, last_delivered_at], [0, 1, at, null])
    assert.deepEqual(last_answer, { status: answer.status, ...(err && { err }), ...more })
  })
}

test('of an event that waits it shows why, and of a stream without trouble nothing (EV-13)', async () => {
  const { endpoint, receiver, verify } = await pushed()
  const shown = async () =>
    (await house.admin('GET', `/ssf-receivers/${receiver.client_id}`)).body.stream
  const trouble = async () => {
    const { failed, last_failed_at, last_answer } = await shown()
    return [failed, last_failed_at, last_answer]
  }
  assert.deepEqual(await trouble(), [0, null, null])
  endpoint.answers.push({ status: 401 })
  await verify()
  await pushDue(house.deps)
  const at = house.clock.now.toISOString()
  assert.deepEqual(await trouble(), [1, at, { status: 401 }])
  house.wait(HOUR)
  endpoint.answers.push({ status: 503 })
  await verify()
  await pushDue(house.deps)
  assert.deepEqual(await trouble(), [1, at, { status: 503 }], 'what waits comes first')
  house.wait(HOUR)
  await pushDue(house.deps)
  assert.deepEqual(await trouble(), [1, at, { status: 401 }])
})

test('a key that a receiver does not know yet is tried again after its cache has gone', async () => {
  const { endpoint, verify, events } = await pushed()
  endpoint.answers.push({ status: 400, body: { err: 'invalid_key' } })
  await verify()
  await pushDue(house.deps)
  house.wait(599)
  assert.equal(await pushDue(house.deps), 0)
  house.wait(60)
  await pushDue(house.deps)
  assert.equal((await events())[0]?.status, 'delivered')
})

for (const [err, seconds] of [
  ['authentication_failed', 630],
  ['invalid_audience', 63],
] as const) {
  test(`a refusal that may pass is tried once more, whatever came before it, and not twice (§6.3): ${err}`, async () => {
    const { endpoint, verify, events } = await pushed()
    const refused = { status: 400, body: { err } }
    endpoint.answers.push({ status: 503 }, refused, { status: 500 }, refused)
    await verify()
    await pushDue(house.deps)
    house.wait(5)
    await pushDue(house.deps)
    assert.equal((await events())[0]?.status, 'queued')
    house.wait(seconds - 60)
    assert.equal(await pushDue(house.deps), 0, 'not before it is time')
    house.wait(60)
    await pushDue(house.deps)
    assert.equal((await events())[0]?.status, 'queued')
    house.wait(HOUR)
    await pushDue(house.deps)
    const [row] = await events()
    assert.deepEqual([row?.status, row?.attempts], ['failed', 4])
    assert.deepEqual(row?.last_answer, { status: 400, err })
  })
}

test('an event is given up after three days of trying (EV-11)', async () => {
  const { endpoint, verify, events } = await pushed()
  endpoint.otherwise = { status: 503 }
  await verify()
  for (let hour = 0; hour <= 72; hour += 1) {
    await pushDue(house.deps)
    house.wait(HOUR)
  }
  assert.equal((await events())[0]?.status, 'failed')
})

test('an event is signed when it is sent: a key that is compromised meanwhile is no matter', async () => {
  const { endpoint, receiver, verify } = await pushed()
  endpoint.answers.push({ status: 503 })
  await verify()
  await pushDue(house.deps)
  const [first = ''] = bodies(endpoint)
  const { kid } = JSON.parse(Buffer.from(first.split('.')[0] ?? '', 'base64url').toString())
  const ended = await house.admin('POST', `/keys/${kid}/compromise`, { reason: 'a test' })
  assert.equal(ended.status, 200, ended.text)
  await assert.rejects(receiver.read(first))
  house.wait(10)
  await pushDue(house.deps)
  const [before, after] = [first, bodies(endpoint)[1] ?? ''].map((set) =>
    JSON.parse(Buffer.from(set.split('.')[1] ?? '', 'base64url').toString()),
  )
  assert.deepEqual(after, before)
  await receiver.read(bodies(endpoint)[1] ?? '')
})

test('one event is sent by one worker, however many there are (EV-10)', async () => {
  const { endpoint, verify } = await pushed()
  await verify()
  await Promise.all([pushDue(house.deps), pushDue(house.deps), pushDue(house.deps)])
  assert.equal(endpoint.received.length, 1)
})

test('an endpoint that does not answer leaves the others their turn', async () => {
  const slow = await pushed()
  const quick = await pushed()
  for (let time = 0; time < 12; time += 1) {
    await slow.verify()
    house.wait(60)
  }
  await quick.verify()
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const { outbound } = house.deps
  const deps = {
    ...house.deps,
    outbound: {
      ...outbound,
      async request(request: Parameters<typeof outbound.request>[0]) {
        if (request.url === slow.endpoint.url) await held
        return outbound.request(request)
      },
    },
  }
  const pusher = createPusher(deps, { most: 4, mostOfOne: 4 })
  assert.ok((await pusher.begin()) < 5, 'not all of the slow one')
  await quick.endpoint.arrived(1)
  assert.equal(slow.endpoint.received.length, 0)
  release()
  await pusher.idle()
  await pushDue(house.deps)
  assert.equal(slow.endpoint.received.length, 12)
})

test('a crash between sending and writing it down sends the same event once more (EV-10, EV-12)', async () => {
  const { endpoint, verify, events } = await pushed()
  await verify()
  const crashing = {
    ...house.deps,
    outbound: {
      ...house.deps.outbound,
      async request(request: Parameters<typeof house.deps.outbound.request>[0]) {
        await house.deps.outbound.request(request)
        // As far as this worker goes: nobody hears of the answer, nor will it write anything.
        return new Promise<never>(() => {})
      },
    },
  }
  void pushDue(crashing)
  await endpoint.arrived(1)
  assert.equal(await pushDue(house.deps), 0, 'somebody may still be at it')
  house.wait(60)
  assert.equal(await pushDue(house.deps), 1)
  const [first, second] = bodies(endpoint)
  assert.equal(first, second)
  assert.equal((await events())[0]?.status, 'delivered')
})

test('a paused stream sends nothing, and goes on where it was', async () => {
  const { endpoint, receiver, stream_id, verify } = await pushed()
  const url = receiver.metadata.status_endpoint as string
  await receiver.call('POST', url, { stream_id, status: 'paused' })
  await verify()
  assert.equal(await pushDue(house.deps), 0)
  await receiver.call('POST', url, { stream_id, status: 'enabled' })
  assert.equal(await pushDue(house.deps), 1)
  assert.equal(endpoint.received.length, 1)
})

test('what waits goes where the stream wants it now', async () => {
  const { endpoint, receiver, stream_id, verify } = await pushed()
  endpoint.answers.push({ status: 503 })
  await verify()
  await pushDue(house.deps)
  const url = receiver.metadata.configuration_endpoint as string
  await receiver.call('PUT', url, { stream_id })
  const { sets } = await receiver.poll(stream_id)
  assert.equal(Object.keys(sets).length, 1)
})

test('a stream that accepts nothing for a week is disabled, and its receiver told (EV-31)', async () => {
  const { endpoint, receiver, stream_id, verify, status, events: rows } = await pushed()
  endpoint.otherwise = { status: 503 }
  for (let day = 0; day <= 7; day += 1) {
    await verify()
    await pushDue(house.deps)
    await keepUp(house.deps)
    if (day < 7) assert.equal((await status()).status, 'enabled', `day ${day}`)
    house.wait(24 * HOUR)
  }
  await keepUp(house.deps)
  const reason = 'The endpoint has accepted nothing for a week'
  assert.deepEqual(await status(), { stream_id, status: 'disabled', reason })
  const queued = (await rows()).filter(({ status }) => status === 'queued')
  assert.equal(queued.length, 1, 'nothing else is kept')
  endpoint.otherwise = { status: 202 }
  endpoint.received = []
  await pushDue(house.deps)
  const event = await receiver.read(bodies(endpoint)[0] ?? '')
  assert.deepEqual(event.events, { [STREAM_UPDATED]: { status: 'disabled', reason } })
  assert.deepEqual(event.sub_id, { format: 'opaque', id: stream_id })
  const audited = await events(house, 'stream.disabled')
  assert.ok(audited.some(({ detail }) => detail?.stream_id === stream_id))
  const url = receiver.metadata.status_endpoint as string
  await receiver.call('POST', url, { stream_id, status: 'enabled' })
  await keepUp(house.deps)
  assert.equal((await status()).status, 'enabled', 'its receiver begins anew')
})

test('an address that has become forbidden is not called (DR-31)', async () => {
  const { endpoint, stream_id, verify, events } = await pushed()
  await db
    .updateTable('streams')
    .set({ endpoint_url: 'http://169.254.169.254/latest' })
    .where('id', '=', stream_id)
    .execute()
  await verify()
  await pushDue(house.deps)
  assert.equal(endpoint.received.length, 0)
  const [row] = await events()
  assert.equal(row?.status, 'queued')
  assert.equal(failureOf(row), 'scheme_not_allowed')
})

test('a header under a key encryption key that is gone keeps the event back, and says so', async () => {
  const { endpoint, stream_id, verify, events } = await pushed({ authorization_header: HEADER })
  await db
    .updateTable('streams')
    .set({ authorization_header: 'v1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA' })
    .where('id', '=', stream_id)
    .execute()
  await verify()
  await pushDue(house.deps)
  assert.equal(endpoint.received.length, 0)
  assert.equal((await events())[0]?.status, 'queued')
  assert.ok(house.logs.some((line) => line.includes('has to set its header again')))
})

test('a header comes under a newer key encryption key by itself', async () => {
  const { randomBytes } = await import('node:crypto')
  const { stream_id, endpoint, verify } = await pushed({ authorization_header: HEADER })
  const [old] = house.config.keyEncryptionKeys ?? []
  const newest = randomBytes(32)
  const under = (...keyEncryptionKeys: (Buffer | undefined)[]) => ({
    ...house.deps,
    config: { ...house.config, keyEncryptionKeys: keyEncryptionKeys as Buffer[] },
  })
  const sealed = async () =>
    (
      await db
        .selectFrom('streams')
        .select('authorization_header')
        .where('id', '=', stream_id)
        .executeTakeFirstOrThrow()
    ).authorization_header
  const before = await sealed()
  await keepUp(under(old))
  assert.equal(await sealed(), before)
  await keepUp(under(newest, old))
  assert.notEqual(await sealed(), before)
  await verify()
  await pushDue(under(newest))
  assert.equal(endpoint.received[0]?.headers.authorization, HEADER)
})
