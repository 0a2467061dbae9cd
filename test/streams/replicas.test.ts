// Two servers on one database.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { queueSignals } from '../../src/streams/queue.ts'
import { enrolUser } from '../support/enrol.ts'
import { openHouses } from '../support/house.ts'
import { pushDue } from '../support/push-due.ts'
import { openEndpoint, openReceiver, PUSH } from './receiver.ts'

const [one, other] = await openHouses({ after })

async function withUser(delivery?: object) {
  const receiver = await openReceiver(one)
  const { stream_id } = (await receiver.create(delivery)).body
  const { id: user_id } = await enrolUser(one)
  const subject = { format: 'iss_sub', iss: one.config.issuer, sub: user_id }
  await receiver.call('POST', receiver.metadata.add_subject_endpoint as string, {
    stream_id,
    subject,
  })
  const signal = { event: 'session-revoked', by: 'user', reason: 'signed_out' } as const
  return {
    receiver,
    stream_id: stream_id as string,
    happen: (times = 1) =>
      queueSignals(other.deps.db, other.deps, Array(times).fill({ ...signal, of: { user_id } })),
  }
}

test('who waits at one replica is woken by what happens at another', async () => {
  const { receiver, stream_id, happen } = await withUser()
  const waiting = receiver.poll(stream_id, {})
  await happen()
  assert.equal(Object.keys((await waiting).sets).length, 1)
})

test('replicas that push at a time send each event once, and each is whole', async () => {
  const endpoint = await openEndpoint({ after })
  const { receiver, happen } = await withUser({ method: PUSH, endpoint_url: endpoint.url })
  await happen(40)
  await Promise.all([one, other, one, other].map(({ deps }) => pushDue(deps)))
  const jtis = await Promise.all(
    endpoint.received.map(async ({ body }) => (await receiver.read(body)).jti),
  )
  assert.equal(jtis.length, 40)
  assert.equal(new Set(jtis).size, 40)
})
