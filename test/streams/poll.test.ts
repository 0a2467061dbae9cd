// Delivery by poll (RFC 8936).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeProtectedHeader } from 'jose'
import { createMetrics } from '../../src/http/metrics.ts'
import { openKeyRing } from '../../src/keys/open-key-ring.ts'
import { listStreamsWithEvents } from '../../src/streams/event-queries.ts'
import { queueSignals } from '../../src/streams/queue.ts'
import { keepUp } from '../../src/streams/upkeep.ts'
import { createWaiting } from '../../src/streams/waiting.ts'
import { watchStreams } from '../../src/streams/watch-streams.ts'
import { tidy } from '../../src/tidy.ts'
import { enrolUser } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'
import { openReceiver, PUSH, STREAM_UPDATED } from './receiver.ts'

const house = await openHouse({ after })
const { db } = house.deps
const { issuer } = house.config
const DAY = 24 * 3600

/** A receiver with a polled stream about one user. */
async function polled() {
  const receiver = await openReceiver(house)
  const { stream_id } = (await receiver.create()).body
  const { id: user_id } = await enrolUser(house)
  const subject = { format: 'iss_sub', iss: issuer, sub: user_id }
  const add = receiver.metadata.add_subject_endpoint as string
  assert.equal((await receiver.call('POST', add, { stream_id, subject })).status, 200)
  return {
    receiver,
    stream_id: stream_id as string,
    poll: (body: object = { returnImmediately: true }) => receiver.poll(stream_id, body),
    /** So many events, one after the other. */
    async happen(times = 1) {
      for (let time = 0; time < times; time += 1) {
        const signal = { event: 'session-revoked', by: 'system', reason: 'signed_out' } as const
        await queueSignals(db, house.deps, [{ ...signal, of: { user_id } }])
        house.wait(1)
      }
    },
    rows: () =>
      db
        .selectFrom('stream_events')
        .select(['jti', 'status', 'last_answer'])
        .where('stream_id', '=', stream_id)
        .orderBy('created_at')
        .execute(),
  }
}

const jtis = ({ sets }: { sets: Record<string, string> }) => Object.keys(sets)

test('events come until they are acknowledged, the same bytes each time (EV-34, EV-12)', async () => {
  const { poll, happen, rows } = await polled()
  await happen(3)
  const first = await poll()
  assert.equal(jtis(first).length, 3)
  assert.equal(first.moreAvailable, false)
  assert.deepEqual(await poll(), first)
  const [one = '', two = '', three = ''] = jtis(first)
  const second = await poll({ returnImmediately: true, ack: [one, three] })
  assert.deepEqual(jtis(second), [two])
  assert.deepEqual(jtis(await poll({ returnImmediately: true, ack: [two, one, 'unknown'] })), [])
  assert.deepEqual(
    (await rows()).map(({ status }) => status),
    ['delivered', 'delivered', 'delivered'],
  )
})

test('as many come as are asked for, the oldest first, and whether there are more (EV-34)', async () => {
  const { poll, happen, rows, receiver } = await polled()
  await happen(3)
  const all = (await rows()).map(({ jti }) => jti)
  const some = await poll({ returnImmediately: true, maxEvents: 2 })
  assert.deepEqual(jtis(some), all.slice(0, 2))
  assert.equal(some.moreAvailable, true)
  for (const [jti, set] of Object.entries(some.sets)) {
    assert.equal((await receiver.read(set)).jti, jti)
  }
  const none = await poll({ maxEvents: 0, ack: all.slice(0, 2) })
  assert.deepEqual(none, { sets: {}, moreAvailable: true })
  assert.deepEqual(jtis(await poll()), all.slice(2))
})

test('an event that its receiver refuses is written down and does not come again (EV-34)', async () => {
  const { poll, happen, rows } = await polled()
  await happen(2)
  const [one = ''] = jtis(await poll())
  const setErrs = { [one]: { err: 'invalid_audience', description: 'Not for us' }, unknown: {} }
  assert.equal(jtis(await poll({ returnImmediately: true, setErrs })).length, 1)
  const [row] = await rows()
  assert.equal(row?.status, 'failed')
  assert.deepEqual(row?.last_answer, { err: 'invalid_audience', description: 'Not for us' })
  assert.ok(house.logs.some((line) => line.includes('refused an event')))
})

test('an event whose key its receiver does not know comes again after ten minutes, for a day (EV-34, DS-26)', async () => {
  const { poll, happen, rows, stream_id } = await polled()
  await happen()
  const [jti = ''] = jtis(await poll())
  const setErrs = { [jti]: { err: 'invalid_key', description: 'no such kid' } }
  assert.deepEqual(jtis(await poll({ returnImmediately: true, setErrs })), [])
  const [held] = await rows()
  assert.deepEqual(
    [held?.status, held?.last_answer],
    ['queued', { err: 'invalid_key', description: 'no such kid' }],
  )
  // Nor is whoever waits woken by it, again and again.
  const waits = (now: Date) => listStreamsWithEvents(db, [stream_id], now)
  assert.deepEqual(await waits(house.clock.now), [])
  house.wait(599)
  assert.deepEqual(jtis(await poll()), [])
  house.wait(1)
  assert.deepEqual(await waits(house.clock.now), [stream_id])
  assert.deepEqual(jtis(await poll()), [jti])

  house.wait(DAY - 601)
  assert.deepEqual(jtis(await poll({ returnImmediately: true, setErrs })), [])
  assert.equal((await rows())[0]?.status, 'queued')
  house.wait(601)
  assert.deepEqual(jtis(await poll()), [jti])
  await poll({ maxEvents: 0, setErrs })
  assert.equal((await rows())[0]?.status, 'failed')
})

test('an event is not by a key that was dropped while this replica did not look (DS-26)', async () => {
  const { poll, happen, receiver } = await polled()
  await happen(2)
  const { keys } = house.deps
  const stale = await openKeyRing(house.deps, false)
  const [dropped] = (
    await db
      .selectFrom('signing_keys')
      .select('kid')
      .where('purpose', '=', 'id_jag')
      .where('alg', '=', 'RS256')
      .where('status', '=', 'active')
      .execute()
  ).map(({ kid }) => kid)
  const gone = await house.admin('POST', `/keys/${dropped}/compromise`, {})
  assert.equal(gone.status, 200, gone.text)
  house.deps.keys = stale
  try {
    const { sets } = await poll()
    for (const set of Object.values(sets)) {
      assert.notEqual(decodeProtectedHeader(set).kid, dropped)
      await receiver.read(set)
    }
    assert.equal(Object.keys(sets).length, 2)
  } finally {
    house.deps.keys = keys
    stale.close()
  }
})

test('words of a refusal that are too long are cut to what can be kept', async () => {
  const { poll, happen, rows } = await polled()
  await happen()
  const [jti = ''] = jtis(await poll())
  const [err, description] = [`${'a'.repeat(63)}😀`, `${'b'.repeat(399)}😀`]
  await poll({ maxEvents: 0, setErrs: { [jti]: { err, description } } })
  const [row] = await rows()
  assert.deepEqual(row?.last_answer, {
    err: `${'a'.repeat(63)}\ufffd`,
    description: `${'b'.repeat(399)}\ufffd`,
  })
})

test('a receiver waits for an event and gets it as it happens (EV-34)', async () => {
  const { poll, happen } = await polled()
  const waiting = poll({})
  await happen()
  assert.equal(jtis(await waiting).length, 1)
})

test('waiting ends with the time, with the caller and with the server', async () => {
  const { stream_id } = await polled()
  const gone = new AbortController()
  const short = createWaiting(house.deps, { longest: 1 })
  await short.forEvent(stream_id, gone.signal)
  const long = createWaiting(house.deps)
  const left = long.forEvent(stream_id, gone.signal)
  gone.abort()
  await left
  const closed = long.forEvent(stream_id, new AbortController().signal)
  long.close()
  await closed
  await long.forEvent(stream_id, new AbortController().signal)
})

test('of one stream a few wait at a time; the others are answered at once', async () => {
  const { stream_id } = await polled()
  const waiting = createWaiting(house.deps)
  const { signal } = new AbortController()
  const four = [1, 2, 3, 4].map(() => waiting.forEvent(stream_id, signal))
  await waiting.forEvent(stream_id, signal)
  waiting.close()
  await Promise.all(four)
})

test('two that poll at a time lose nothing, and each event ends once', async () => {
  const { poll, happen, rows } = await polled()
  await happen(20)
  const seen: string[] = []
  const work = async () => {
    for (let ack: string[] = []; ; ) {
      const answer = await poll({ returnImmediately: true, maxEvents: 3, ack })
      ack = jtis(answer)
      if (ack.length === 0) return
      seen.push(...ack)
    }
  }
  await Promise.all([work(), work()])
  const all = await rows()
  assert.ok(all.every(({ status }) => status === 'delivered'))
  assert.deepEqual([...new Set(seen)].sort(), all.map(({ jti }) => jti).sort())
})

test('several that acknowledge the same events in any order wait for one another in none', async () => {
  const { poll, happen, rows } = await polled()
  await happen(30)
  const all = jtis(await poll())
  const orders = [all, all.toReversed(), all.toSorted(), [...all.slice(15), ...all.slice(0, 15)]]
  await Promise.all(orders.map((ack) => poll({ maxEvents: 0, ack })))
  assert.ok((await rows()).every(({ status }) => status === 'delivered'))
})

test('whoever acknowledges an event of another stream has acknowledged nothing (isolation)', async () => {
  const one = await polled()
  const other = await polled()
  await one.happen()
  const [jti = ''] = jtis(await one.poll())
  await other.poll({ returnImmediately: true, ack: [jti], setErrs: { [jti]: { err: 'x' } } })
  assert.deepEqual(jtis(await one.poll()), [jti])
})

test('a token to read with is enough to poll and to acknowledge, and for nothing that changes the stream', async () => {
  const { receiver, stream_id, happen, rows } = await polled()
  await happen(2)
  const token = await receiver.token('ssf.read')
  const url = `${issuer}/ssf/poll/${stream_id}`
  const fetched = await receiver.call('POST', url, { returnImmediately: true }, token)
  const [one = '', two = ''] = jtis(fetched.body)
  const ended = { maxEvents: 0, ack: [one], setErrs: { [two]: { err: 'invalid_audience' } } }
  assert.equal((await receiver.call('POST', url, ended, token)).status, 200)
  assert.deepEqual(
    (await rows()).map(({ status }) => status),
    ['delivered', 'failed'],
  )
  const status = receiver.metadata.status_endpoint as string
  const paused = await receiver.call('POST', status, { stream_id, status: 'paused' }, token)
  assert.deepEqual([paused.status, paused.body.err], [403, 'insufficient_scope'])
})

test('a stream that is pushed is not polled, and a body of another shape is refused', async () => {
  const { receiver, stream_id } = await polled()
  const url = `${issuer}/ssf/poll/${stream_id}`
  for (const body of [
    { maxEvents: -1 },
    { maxEvents: '3' },
    { returnImmediately: 'yes' },
    { ack: 'x' },
    { ack: [7] },
    { setErrs: { x: 'no' } },
  ]) {
    const refused = await receiver.call('POST', url, body)
    assert.deepEqual([refused.status, refused.body.err], [400, 'invalid_request'])
  }
  const delivery = { method: PUSH, endpoint_url: 'http://127.0.0.1:1/events' }
  const at = receiver.metadata.configuration_endpoint as string
  await receiver.call('PATCH', at, { stream_id, delivery })
  const refused = await receiver.call('POST', url, {})
  assert.equal(refused.status, 400)
  assert.match(refused.body.description, /pushed/)
})

test('a stream that nobody polls for a week is disabled; the word of it waits (EV-31)', async () => {
  const { receiver, poll, happen, stream_id } = await polled()
  await happen()
  await keepUp(house.deps)
  assert.equal(jtis(await poll()).length, 1)
  house.wait(7 * DAY + 60)
  await keepUp(house.deps)
  const { sets } = await poll()
  const told = await Promise.all(Object.values(sets).map((set) => receiver.read(set)))
  assert.deepEqual(
    told.map(({ events }) => events),
    [{ [STREAM_UPDATED]: { status: 'disabled', reason: 'Nobody has fetched events for a week' } }],
  )
  await happen()
  assert.deepEqual(jtis(await poll({ returnImmediately: true, ack: jtis({ sets }) })), [])
  const url = receiver.metadata.status_endpoint as string
  await receiver.call('POST', url, { stream_id, status: 'enabled' })
  await happen()
  assert.equal(jtis(await poll()).length, 1)
})

test('events wait for a week, and no more than so many of them: the oldest go', async () => {
  const { poll, happen, rows } = await polled()
  await happen(5)
  const all = (await rows()).map(({ jti }) => jti)
  await keepUp(house.deps, 3)
  assert.deepEqual(jtis(await poll()), all.slice(2))
  house.wait(6 * DAY)
  await poll()
  house.wait(DAY)
  await keepUp(house.deps)
  assert.deepEqual(jtis(await poll()), [])
  assert.ok((await rows()).every(({ status }) => status === 'failed'))
})

test('what was acknowledged is forgotten a week later, and what waits is not', async () => {
  const { poll, happen, rows } = await polled()
  await happen(2)
  const [one = ''] = jtis(await poll())
  await poll({ maxEvents: 0, ack: [one] })
  house.wait(7 * DAY)
  await tidy(house.deps)
  assert.equal((await rows()).length, 2)
  house.wait(1)
  await tidy(house.deps)
  assert.deepEqual(
    (await rows()).map(({ status }) => status),
    ['queued'],
  )
})

test('metrics say how many streams there are, and what waits on them', async () => {
  const { poll, happen } = await polled()
  await happen()
  await poll({ maxEvents: 0, ack: jtis(await poll()) })
  const { happen: another } = await polled()
  await another()
  house.wait(100)
  const metrics = createMetrics({ pool: house.deps.pool })
  watchStreams(metrics.registry, house.deps)
  const { body } = await metrics.expose()
  const value = (name: string) =>
    Number(new RegExp(`^${name}\\{method="poll",status="enabled"\\} (.*)$`, 'm').exec(body)?.[1])
  assert.ok(value('ssf_streams') > 2)
  assert.ok(value('ssf_events_waiting') >= 1)
  assert.ok(value('ssf_oldest_event_seconds') >= 100)
})

test('nothing is left of a stream that has ended but that it was', async () => {
  const { receiver, stream_id, happen, rows } = await polled()
  await happen()
  await receiver.call(
    'DELETE',
    `${receiver.metadata.configuration_endpoint}?stream_id=${stream_id}`,
  )
  await db
    .updateTable('stream_events')
    .set({ status: 'queued', ended_at: null })
    .where('stream_id', '=', stream_id)
    .execute()
  await tidy(house.deps)
  assert.deepEqual(await rows(), [])
  const subjects = db.selectFrom('stream_subjects').select('user_id')
  assert.deepEqual(await subjects.where('stream_id', '=', stream_id).execute(), [])
})
