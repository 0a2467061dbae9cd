// Stream management as SSF §8.1 has it: what a receiver may do with its stream, and each refusal.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { events } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'
import {
  CREDENTIAL_CHANGE,
  openReceiver,
  POLL,
  PUSH,
  SESSION_REVOKED,
  type SignalReceiver,
  VERIFICATION,
} from './receiver.ts'

const house = await openHouse({ after }, { ISSUER: 'https://id.orbit.example' })
const { issuer } = house.config
const AT = 'https://auth.paperclip.example/events'
const HEADER = 'Bearer a-secret-of-the-receiver-0123456789'

/** Who asks for one subject is not to have all of them paused. */
const ONE = { status: 'paused', subject: { format: 'iss_sub', iss: issuer, sub: 'usr_x' } }

const config = (receiver: SignalReceiver) => receiver.metadata.configuration_endpoint as string
const status = (receiver: SignalReceiver) => receiver.metadata.status_endpoint as string

/** A receiver with a stream. */
async function withStream(delivery?: object, more: object = {}) {
  const receiver = await openReceiver(house)
  const { body, status, text } = await receiver.create(delivery, more)
  assert.equal(status, 201, text)
  return { receiver, stream: body, stream_id: body.stream_id as string }
}

test('the transmitter says what it does, and caches say it for it (DS-60, DS-61, EV-33)', async () => {
  const url = '/.well-known/ssf-configuration'
  const answer = await house.inject({ method: 'GET', url })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers['cache-control'], 'public, max-age=300')
  assert.equal(answer.headers['access-control-allow-origin'], '*')
  assert.deepEqual(answer.body, {
    spec_version: '1_0',
    issuer,
    jwks_uri: `${issuer}/.well-known/jwks.json`,
    delivery_methods_supported: [PUSH, POLL],
    configuration_endpoint: `${issuer}/ssf/stream`,
    status_endpoint: `${issuer}/ssf/status`,
    add_subject_endpoint: `${issuer}/ssf/subjects/add`,
    remove_subject_endpoint: `${issuer}/ssf/subjects/remove`,
    verification_endpoint: `${issuer}/ssf/verify`,
    critical_subject_members: ['user'],
    authorization_schemes: [{ spec_urn: 'urn:ietf:rfc:6749' }],
    default_subjects: 'NONE',
  })
  const headers = { 'if-none-match': String(answer.headers.etag) }
  assert.equal((await house.inject({ method: 'GET', url, headers })).status, 304)
})

test('a stream is made, and read by its id or with all there are', async () => {
  const { receiver, stream, stream_id } = await withStream(
    { method: PUSH, endpoint_url: AT, authorization_header: HEADER },
    {
      description: 'Sessions',
      events_requested: [SESSION_REVOKED, 'urn:example:other', SESSION_REVOKED],
      some_member_of_a_later_version: true,
    },
  )
  assert.match(stream_id, /^str_[A-Za-z0-9_-]{22}$/)
  assert.deepEqual(stream, {
    stream_id,
    iss: issuer,
    aud: receiver.audience,
    events_supported: [SESSION_REVOKED, CREDENTIAL_CHANGE],
    events_requested: [SESSION_REVOKED, 'urn:example:other'],
    events_delivered: [SESSION_REVOKED],
    delivery: { method: PUSH, endpoint_url: AT },
    min_verification_interval: 60,
    inactivity_timeout: 604_800,
    description: 'Sessions',
  })
  const one = await receiver.call('GET', `${config(receiver)}?stream_id=${stream_id}`)
  assert.deepEqual(one.body, stream)
  assert.equal(one.headers['cache-control'], 'no-store')
  assert.deepEqual((await receiver.call('GET', config(receiver))).body, [stream])
  const [event] = await events(house, 'stream.created')
  assert.equal(event?.detail?.stream_id, stream_id)
})

test('a stream without delivery is polled, at an address of its own', async () => {
  const { stream, stream_id } = await withStream(undefined, { events_requested: undefined })
  assert.deepEqual(stream.delivery, {
    method: POLL,
    endpoint_url: `${issuer}/ssf/poll/${stream_id}`,
  })
  assert.deepEqual([stream.events_requested, stream.events_delivered], [[], []])
})

test('a receiver has one stream: 409 for another, until it is deleted', async () => {
  const { receiver, stream_id } = await withStream()
  const second = await receiver.create()
  assert.deepEqual([second.status, second.body.err], [409, 'stream_exists'])
  const url = `${config(receiver)}?stream_id=${stream_id}`
  assert.equal((await receiver.call('DELETE', url)).status, 204)
  assert.equal((await receiver.call('DELETE', url)).status, 404)
  assert.equal((await receiver.create()).status, 201)
})

test('of two that make a stream at once one does', async () => {
  const receiver = await openReceiver(house)
  const made = await Promise.all([receiver.create(), receiver.create(), receiver.create()])
  assert.deepEqual(made.map(({ status }) => status).sort(), [201, 409, 409])
})

test('PATCH changes what it names, PUT deletes what it does not', async () => {
  const { receiver, stream, stream_id } = await withStream(
    { method: PUSH, endpoint_url: AT },
    { description: 'Sessions' },
  )
  const patched = await receiver.call('PATCH', config(receiver), {
    stream_id,
    events_requested: [CREDENTIAL_CHANGE],
  })
  assert.deepEqual(patched.body, {
    ...stream,
    events_requested: [CREDENTIAL_CHANGE],
    events_delivered: [CREDENTIAL_CHANGE],
  })
  const { description: _, ...others } = patched.body
  const replaced = await receiver.call('PUT', config(receiver), others)
  assert.equal(replaced.status, 200, replaced.text)
  assert.deepEqual(replaced.body, others)
  const bare = await receiver.call('PUT', config(receiver), { stream_id })
  assert.deepEqual([bare.body.delivery.method, bare.body.events_requested], [POLL, []])
})

test("the transmitter's members may come back as they are, and not otherwise", async () => {
  const { receiver, stream, stream_id } = await withStream()
  assert.equal((await receiver.call('PATCH', config(receiver), stream)).status, 200)
  for (const wrong of [
    { iss: 'https://other.example' },
    { aud: 'https://other.example' },
    { aud: [stream.aud] },
    { events_supported: [SESSION_REVOKED] },
    { events_delivered: [] },
    { min_verification_interval: 1 },
    { inactivity_timeout: null },
    { delivery: { method: POLL, endpoint_url: 'https://other.example/poll' } },
  ]) {
    for (const method of ['PATCH', 'PUT']) {
      const refused = await receiver.call(method, config(receiver), { stream_id, ...wrong })
      assert.equal(refused.status, 400, JSON.stringify(wrong))
      assert.equal(refused.body.err, 'invalid_request')
    }
  }
})

test("what is the transmitter's to say is not said by who makes a stream either", async () => {
  const receiver = await openReceiver(house)
  for (const wrong of [
    { stream_id: 'str_of_mine' },
    { iss: 'https://other.example' },
    { aud: [receiver.audience] },
    { events_supported: [SESSION_REVOKED] },
    { events_delivered: [] },
    { min_verification_interval: 1 },
    { inactivity_timeout: null },
  ]) {
    const refused = await receiver.create(undefined, wrong)
    assert.deepEqual([refused.status, refused.body.err], [400, 'invalid_request'], refused.text)
    assert.match(refused.body.description, new RegExp(Object.keys(wrong)[0] as string))
  }
  assert.deepEqual((await receiver.call('GET', config(receiver))).body, [])
  const own = { iss: issuer, aud: receiver.audience, min_verification_interval: 60 }
  assert.equal((await receiver.create(undefined, own)).status, 201)
})

test('where events are pushed is judged when it is given, and said why it will not do (DR-30, DR-31)', async () => {
  const receiver = await openReceiver(house)
  for (const delivery of [
    { method: PUSH },
    { method: 'urn:ietf:rfc:9999', endpoint_url: AT },
    { method: PUSH, endpoint_url: 'nowhere' },
    { method: PUSH, endpoint_url: 'http://auth.paperclip.example/events' },
    { method: PUSH, endpoint_url: 'https://auth.paperclip.example:8443/events' },
    { method: PUSH, endpoint_url: 'https://user@auth.paperclip.example/events' },
    { method: PUSH, endpoint_url: 'https://169.254.169.254/latest' },
    { method: PUSH, endpoint_url: 'https://[::1]/events' },
    { method: PUSH, endpoint_url: 'https://localhost/events' },
    { method: PUSH, endpoint_url: `${issuer}/events` },
    { method: PUSH, endpoint_url: `${AT}#x` },
    { method: PUSH, endpoint_url: AT, authorization_header: 'Bearer a\r\nHost: b' },
    { method: PUSH, endpoint_url: AT, authorization_header: '' },
    { method: POLL, authorization_header: HEADER },
  ]) {
    const refused = await receiver.create(delivery)
    assert.equal(refused.status, 400, JSON.stringify(delivery))
    assert.match(refused.body.description, /^delivery/)
  }
})

test('the header of a receiver lies encrypted, is never shown, and goes to no other address', async () => {
  const { receiver, stream_id } = await withStream({
    method: PUSH,
    endpoint_url: AT,
    authorization_header: HEADER,
  })
  const sealed = async () => {
    const row = house.deps.db.selectFrom('streams').select('authorization_header')
    return (await row.where('id', '=', stream_id).executeTakeFirstOrThrow()).authorization_header
  }
  const first = await sealed()
  assert.ok(first && !first.includes('secret'))
  const change = (method: string, delivery: object) =>
    receiver.call(method, config(receiver), { stream_id, delivery })
  await change('PATCH', { method: PUSH, endpoint_url: AT })
  assert.equal(await sealed(), first, 'PATCH of the same address keeps it')
  await change('PATCH', { method: PUSH, endpoint_url: `${AT}/2` })
  assert.equal(await sealed(), null)
  await change('PATCH', { method: PUSH, endpoint_url: AT, authorization_header: HEADER })
  assert.ok(await sealed())
  await change('PUT', { method: PUSH, endpoint_url: AT })
  assert.equal(await sealed(), null, 'PUT deletes what it does not name')
  const { body } = await house.admin('GET', `/ssf-receivers/${receiver.client_id}`)
  const shown = [body, await receiver.call('GET', config(receiver)), house.logs]
  assert.ok(!JSON.stringify(shown).includes(HEADER))
})

test('a status is read and changed, with a reason; an unknown one is refused', async () => {
  const { receiver, stream_id } = await withStream()
  const read = () => receiver.call('GET', `${status(receiver)}?stream_id=${stream_id}`)
  assert.deepEqual((await read()).body, { stream_id, status: 'enabled' })
  for (const to of ['paused', 'disabled', 'enabled']) {
    const changed = await receiver.call('POST', status(receiver), {
      stream_id,
      status: to,
      reason: 'maintenance',
    })
    assert.deepEqual(changed.body, { stream_id, status: to, reason: 'maintenance' })
    assert.deepEqual((await read()).body, changed.body)
  }
  for (const wrong of [{ status: 'asleep' }, {}, { status: 'paused', reason: 7 }, ONE]) {
    const refused = await receiver.call('POST', status(receiver), { stream_id, ...wrong })
    assert.deepEqual([refused.status, refused.body.err], [400, 'invalid_request'])
  }
  const [paused] = await events(house, 'stream.paused')
  assert.equal(paused?.detail?.stream_id, stream_id)
})

test('a paused stream keeps its events and goes on, a disabled one drops them', async () => {
  const { receiver, stream_id } = await withStream()
  const to = (word: string) => receiver.call('POST', status(receiver), { stream_id, status: word })
  const verify = () =>
    receiver.call('POST', receiver.metadata.verification_endpoint as string, { stream_id })
  const waiting = async () => Object.keys((await receiver.poll(stream_id)).sets).length
  await to('paused')
  assert.equal((await verify()).status, 204)
  assert.equal(await waiting(), 0)
  await to('enabled')
  assert.equal(await waiting(), 1)
  await to('disabled')
  await to('enabled')
  assert.equal(await waiting(), 0)
  house.wait(60)
  await to('disabled')
  const refused = await verify()
  assert.deepEqual([refused.status, refused.body.err], [400, 'invalid_request'])
})

test('a verification comes with the state that was sent, and not too often (EV-31)', async () => {
  const { receiver, stream_id } = await withStream()
  const url = receiver.metadata.verification_endpoint as string
  const verify = (state?: string) => receiver.call('POST', url, { stream_id, state })
  assert.equal((await verify('VGhpcw==')).status, 204)
  const { sets } = await receiver.poll(stream_id)
  const event = await receiver.read(Object.values(sets)[0] as string)
  assert.deepEqual(event.events, { [VERIFICATION]: { state: 'VGhpcw==' } })
  assert.deepEqual(event.sub_id, { format: 'opaque', id: stream_id })
  house.wait(59)
  const early = await verify()
  assert.deepEqual([early.status, early.body.err], [429, 'too_many_requests'])
  assert.equal(early.headers['retry-after'], '1')
  house.wait(1)
  assert.equal((await verify()).status, 204)
  house.wait(60)
  const both = await Promise.all([verify(), verify()])
  assert.deepEqual(both.map(({ status }) => status).sort(), [204, 429])
})

test('a receiver finds no stream of another one, at any door (isolation)', async () => {
  const { stream_id, receiver: owner } = await withStream()
  const { receiver: other } = await withStream()
  const subject = { format: 'iss_sub', iss: issuer, sub: 'usr_x' }
  const { metadata } = other
  for (const id of [stream_id, 'str_unknown', '%00', `${stream_id}x`]) {
    const encoded = encodeURIComponent(id)
    for (const [method, url, body] of [
      ['GET', `${config(other)}?stream_id=${encoded}`],
      ['PATCH', config(other), { stream_id: id }],
      ['PUT', config(other), { stream_id: id }],
      ['DELETE', `${config(other)}?stream_id=${encoded}`],
      ['GET', `${status(other)}?stream_id=${encoded}`],
      ['POST', status(other), { stream_id: id, status: 'disabled' }],
      ['POST', metadata.add_subject_endpoint as string, { stream_id: id, subject }],
      ['POST', metadata.remove_subject_endpoint as string, { stream_id: id, subject }],
      ['POST', metadata.verification_endpoint as string, { stream_id: id }],
      ['POST', `${issuer}/ssf/poll/${encoded}`, {}],
    ] as const) {
      const refused = await other.call(method, url, body)
      assert.deepEqual([refused.status, refused.body?.err], [404, 'not_found'], `${method} ${url}`)
    }
  }
  const { body } = await owner.call('GET', `${status(owner)}?stream_id=${stream_id}`)
  assert.equal(body.status, 'enabled')
})

test('what cannot be read is told in words, and another method what there is', async () => {
  const { receiver } = await withStream()
  const authorization = `Bearer ${await receiver.token()}`
  const json = { authorization, 'content-type': 'application/json' }
  for (const [headers, payload] of [
    [json, '{'],
    [json, '[]'],
    [json, '{"stream_id": "\\u0000"}'],
    [json, '{"stream_id": 7}'],
    [json, ''],
    [{ ...json, 'content-type': 'text/plain' }, '{}'],
    [json, `{"stream_id": "${'x'.repeat(70_000)}"}`],
  ] as const) {
    const refused = await house.inject({ method: 'PATCH', url: '/ssf/stream', headers, payload })
    assert.equal(refused.status, 400, payload.slice(0, 40))
    assert.equal(refused.body.err, 'invalid_request')
    assert.equal(typeof refused.body.description, 'string')
    assert.equal(refused.headers['content-language'], 'en')
  }
  const missing = await receiver.call('DELETE', config(receiver))
  assert.equal(missing.status, 400)
  const other = await house.inject({
    method: 'POST',
    url: '/ssf/stream',
    headers: { authorization },
  })
  assert.equal(other.status, 409)
  const wrong = await house.inject({ method: 'DELETE', url: '/ssf/status', headers: json })
  assert.deepEqual([wrong.status, wrong.headers.allow], [405, 'GET, HEAD, POST'])
})

test('a receiver that has ended takes its stream along', async () => {
  const { receiver, stream_id } = await withStream()
  await receiver.call('POST', receiver.metadata.verification_endpoint as string, { stream_id })
  await house.admin('DELETE', `/ssf-receivers/${receiver.client_id}`)
  const { db } = house.deps
  const stream = db.selectFrom('streams').select(['ended_at']).where('id', '=', stream_id)
  assert.ok((await stream.executeTakeFirstOrThrow()).ended_at)
  const kept = db.selectFrom('stream_events').select('status').where('stream_id', '=', stream_id)
  assert.deepEqual(await kept.execute(), [{ status: 'dropped' }])
  const { body } = await house.admin('GET', `/ssf-receivers/${receiver.client_id}`)
  assert.equal(body.stream, null)
})
