// Over real HTTP, with the workers as a server has them: what issue 5 wants shown of Shared Signals.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { startPushing } from '../../src/streams/keep-pushing.ts'
import { browser, signIn } from '../support/browser.ts'
import { enrolUser } from '../support/enrol.ts'
import { openHttpHouse } from '../support/http-house.ts'
import { openEndpoint, openReceiver, PUSH, SESSION_REVOKED, VERIFICATION } from './receiver.ts'

test('a receiver makes a stream, verifies it, and gets session-revoked by push and by poll (EV-30…EV-35, TV-103)', async (t) => {
  const house = await openHttpHouse(t)
  const pushing = startPushing(house.deps)
  after(() => pushing.stop())
  const user = await enrolUser(house)
  const there = browser(house)
  await signIn(there, user)
  const subject = { format: 'iss_sub', iss: house.config.issuer, sub: user.id }

  const receivers = [await openReceiver(house), await openReceiver(house)] as const
  const [pushed, polled] = receivers
  const endpoint = await openEndpoint(t)
  const arrived = async (number: number) => {
    await endpoint.arrived(number)
    return pushed.read(endpoint.received[number - 1]?.body ?? '')
  }
  const streams: string[] = []
  for (const [receiver, delivery] of [
    [pushed, { method: PUSH, endpoint_url: endpoint.url }],
    [polled, undefined],
  ] as const) {
    const made = await receiver.create(delivery)
    assert.equal(made.status, 201, made.text)
    const { stream_id } = made.body
    streams.push(stream_id)
    const { add_subject_endpoint, verification_endpoint } = receiver.metadata
    const add = await receiver.call('POST', add_subject_endpoint as string, { stream_id, subject })
    assert.equal(add.status, 200, add.text)
    const verify = { stream_id, state: `state of ${stream_id}` }
    const asked = await receiver.call('POST', verification_endpoint as string, verify)
    assert.equal(asked.status, 204, asked.text)
  }
  const [pushStream, pollStream = ''] = streams
  const verified = await arrived(1)
  assert.deepEqual(verified.events, { [VERIFICATION]: { state: `state of ${pushStream}` } })
  const first = await polled.poll(pollStream)
  const [ack = ''] = Object.keys(first.sets)
  const seen = await polled.read(first.sets[ack] ?? '')
  assert.deepEqual(seen.events, { [VERIFICATION]: { state: `state of ${pollStream}` } })

  const waiting = polled.poll(pollStream, { ack: [ack] })
  const page = await there.get('/oauth2/logout')
  await there.post('/sign-out', { csrf: /name="csrf" value="([^"]*)"/.exec(page.text)?.[1] })
  const { sets } = await waiting
  const events = [await arrived(2), await polled.read(Object.values(sets)[0] ?? '')]
  for (const event of events) {
    assert.deepEqual(event.sub_id, subject)
    assert.equal(event.events[SESSION_REVOKED].initiating_entity, 'user')
  }
  assert.equal(events[0]?.txn, events[1]?.txn, 'one thing happened')
  assert.notEqual(events[0]?.jti, events[1]?.jti)
})
