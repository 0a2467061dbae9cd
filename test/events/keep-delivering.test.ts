// The worker: several at once, some that end in the middle, some that are told to stop.
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { type TestContext, test } from 'node:test'
import { decodeJwt } from 'jose'
import { sql } from 'kysely'
import { deliver } from '../../src/events/deliver.ts'
import { claimDue, listWaiting } from '../../src/events/delivery-queries.ts'
import { hurry } from '../../src/events/hurry.ts'
import { startDelivering } from '../../src/events/keep-delivering.ts'
import type { Rereading } from '../../src/events/rounds.ts'
import { createMetrics } from '../../src/http/metrics.ts'
import type { Worker } from '../../src/http/repeatedly.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { deliverDue } from '../support/deliver-due.ts'
import { HANG_UP, openDelivery, type Reply } from './apps.ts'

type Delivery = Awaited<ReturnType<typeof openDelivery>>

/** A database clock says what time it is: the worker minds. */
async function openWorkers(t: TestContext) {
  const delivery = await openDelivery(t)
  const deps = { ...delivery.deps, now: () => new Date() }
  const { pool } = deps
  const connection = { connectionString: pool.options.connectionString ?? '' }
  const workers: Worker[] = []
  t.after(async () => {
    await Promise.all(workers.map((worker) => worker.stop()))
  })
  return {
    ...delivery,
    deps,
    connection,
    /** `seldom` looks by itself so rarely that only being woken counts. */
    start({ seldom = false, ...reading }: { seldom?: boolean } & Rereading = {}) {
      // Each as in a process of its own.
      const metrics = createMetrics({ pool })
      const seldomly = seldom && { everyMs: 3_600_000 }
      const worker = startDelivering({ ...deps, metrics }, { connection, ...seldomly, ...reading })
      workers.push(worker)
      return worker
    },
    status: async (id: string) => (await delivery.row(id)).status,
  }
}

/** Takes every event, and keeps the answers back until the test lets them go. */
function holdBack() {
  const held: ServerResponse[] = []
  const reply: Reply = (response) => void held.push(response)
  return {
    reply,
    held,
    release: () => {
      for (const response of held.splice(0)) response.writeHead(202).end()
    },
  }
}

const jtisOf = (bodies: string[]) => bodies.map((body) => decodeJwt(body).jti)

/** Until it is so. The runner's own limit is the end of patience. */
async function until(so: () => Promise<boolean>): Promise<void> {
  while (!(await so())) await new Promise((next) => setImmediate(next))
}

const delivered = async ({ db }: Delivery, count: number) => {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from event_deliveries where status = 'delivered'`.execute(db)
  return rows[0]?.count === count
}

test('an event sets out as soon as its transaction commits, without anybody looking for it (EV-10)', async (t) => {
  const { app, tell, start, status } = await openWorkers(t)
  const { audience_id, got } = await app([202])
  start({ seldom: true })
  // The first may be found by the look at the start; whoever hears once hears always.
  const first = await tell(audience_id)
  await got(1)
  await until(async () => (await status(first)) === 'delivered')
  const second = await tell(audience_id)
  await got(2)
  await until(async () => (await status(second)) === 'delivered')
})

test('a listening connection that is cut is made again, and what came meanwhile is found', async (t) => {
  const { app, tell, start, db } = await openWorkers(t)
  const { audience_id, got } = await app([202])
  start({ seldom: true })
  await tell(audience_id)
  await got(1)
  const listeners = () =>
    sql<{ pid: number }>`
      select pid from pg_stat_activity
      where datname = current_database() and application_name = 'agent-idp listening'
        and query like 'listen%' and state = 'idle'`
      .execute(db)
      .then(({ rows }) => rows.map(({ pid }) => pid))
  const before = await listeners()
  assert.equal(before.length, 1)
  await sql`select pg_terminate_backend(${before[0]})`.execute(db)
  await tell(audience_id)
  await got(2)
  await until(async () => (await listeners()).some((pid) => pid !== before[0]))
  await tell(audience_id)
  await got(3)
})

test('workers that race over the same events send each once (EV-10)', async (t) => {
  const workers = await openWorkers(t)
  const { app, tell, start } = workers
  const { audience_id, bodies } = await app([202])
  await tell(audience_id, 200)
  for (let replica = 0; replica < 3; replica++) start()
  await until(() => delivered(workers, 200))
  const jtis = jtisOf(bodies())
  assert.equal(jtis.length, 200)
  assert.equal(new Set(jtis).size, 200)
})

test('an app that does not answer, and one with thousands of events, leave the others their turn', async (t) => {
  const workers = await openWorkers(t)
  const { app, tell, start, status } = workers
  const { reply, release } = holdBack()
  const silent = await app([reply])
  const gone = await app([HANG_UP])
  await tell(silent.audience_id, 100)
  await tell(gone.audience_id, 100)
  const worker = start()
  await silent.got(2)
  for (let turn = 0; turn < 5; turn++) {
    const well = await app([202])
    const id = await tell(well.audience_id)
    await until(async () => (await status(id)) === 'delivered')
  }
  // It never answered, so it never got more than it began with.
  assert.equal(silent.received.length, 2)
  silent.says(202)
  release()
  await worker.stop()
})

/** Documents of an app that come when the test lets them. */
function slowDocuments() {
  let release = () => {}
  const come = new Promise<void>((resolve) => {
    release = resolve
  })
  let asked = 0
  const reread = () => {
    asked += 1
    return come
  }
  return { reread, release: () => release(), asked: () => asked }
}

test('an app that is slow with its documents takes no place meanwhile, and is asked for them once', async (t) => {
  const { app, tell, row, deps, wait } = await openDelivery(t)
  const { reread, release, asked } = slowDocuments()
  const lost = await app([404])
  const events = [await tell(lost.audience_id), await tell(lost.audience_id)]
  wait(1)
  const well = await app([202])
  const id = await tell(well.audience_id)
  const delivering = deliverDue(deps, { most: 1, reread })
  await until(async () => (await row(id)).status === 'delivered')
  assert.equal(asked(), 1)
  lost.says(202)
  release()
  await delivering
  for (const event of events) {
    const { status, attempts } = await row(event)
    assert.deepEqual([status, attempts], ['delivered', 2])
  }
})

test('a stop waits for documents that are being read, and what asked for them is due', async (t) => {
  const { app, tell, start, row } = await openWorkers(t)
  const { reread, release, asked } = slowDocuments()
  const lost = await app([404])
  const id = await tell(lost.audience_id)
  const worker = start({ reread })
  await until(async () => asked() === 1)
  let stopped = false
  const stopping = worker.stop().then(() => {
    stopped = true
  })
  await new Promise((next) => setImmediate(next))
  assert.equal(stopped, false)
  release()
  await stopping
  const { status, attempts, next_attempt_at, created_at } = await row(id)
  assert.deepEqual([status, attempts, next_attempt_at], ['queued', 1, created_at])
})

test('a stop waits for the attempts under way, writes what came of them and begins no other', async (t) => {
  const { app, tell, start, db } = await openWorkers(t)
  const { reply, held, release } = holdBack()
  const { audience_id, got, received } = await app([reply])
  await tell(audience_id, 5)
  const worker = start()
  await got(2)
  let stopped = false
  const stopping = worker.stop().then(() => {
    stopped = true
  })
  await tell(audience_id)
  assert.equal(stopped, false)
  assert.equal(held.length, 2)
  release()
  await stopping
  const rows = await db.selectFrom('event_deliveries').select(['status', 'attempts']).execute()
  assert.deepEqual(rows.filter(({ status }) => status === 'delivered').length, 2)
  assert.deepEqual(rows.filter(({ attempts }) => attempts === 0).length, 4)
  assert.equal(received.length, 2)
})

test('a server whose clock is wrong delivers nothing, for it would give up too early', async (t) => {
  const { app, tell, deps, connection, house, status } = await openWorkers(t)
  const { audience_id, received } = await app([202])
  const id = await tell(audience_id)
  const late = { ...deps, now: () => addSeconds(new Date(), 90 * 3600) }
  const worker = startDelivering(late, { connection, everyMs: 5 })
  await until(async () => house.logs.some((line) => line.includes('event.delivery_stopped')))
  await worker.stop()
  assert.deepEqual([await status(id), received.length], ['queued', 0])
})

const claimOne = async ({ db, deps }: Delivery, audience_id: string) => {
  const now = deps.now()
  const waiting = await listWaiting(db, now)
  const wanted = waiting
    .filter((party) => party.audience_id === audience_id)
    .map((party) => ({ ...party, most: 1 }))
  const [claimed] = await claimDue(db, { wanted, now, until: addSeconds(now, 15) })
  assert.ok(claimed)
  return claimed
}

/** Ends the transactions that hold something while they wait. */
const cutOff = ({ db }: Delivery) =>
  sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and state = 'idle in transaction'`.execute(db)

test('a crash before the event was sent costs it a while, and nothing else (EV-10)', async (t) => {
  const delivery = await openDelivery(t)
  const { app, tell, row, deps, wait } = delivery
  const { audience_id, bodies } = await app([202])
  const id = await tell(audience_id)
  await claimOne(delivery, audience_id)
  // Here the process ended.
  assert.equal((await row(id)).outcome_unknown, true)
  await deliverDue(deps)
  assert.equal(bodies().length, 0)
  wait(15)
  await deliverDue(deps)
  const { status, attempts, jws } = await row(id)
  assert.deepEqual([status, attempts, bodies()], ['delivered', 2, [jws]])
})

test('a crash after the event was sent has it sent again, for nobody knows (EV-10, EV-12)', async (t) => {
  const delivery = await openDelivery(t)
  const { app, tell, row, deps, db, wait } = delivery
  const { reply, release } = holdBack()
  const { audience_id, bodies, got, says } = await app([reply])
  const id = await tell(audience_id)
  const { jti } = await row(id)
  const attempt = deliver(deps, await claimOne(delivery, audience_id))
  await got(1)
  // Whoever held the event is cut off, and by the time it is back somebody else has begun.
  await cutOff(delivery)
  await sql`
    update event_deliveries set attempts = attempts + 1, next_attempt_at = ${addSeconds(deps.now(), 15)}`.execute(
    db,
  )
  release()
  assert.equal(await attempt, undefined)
  assert.equal((await row(id)).status, 'queued')
  says('invalid_request', 202)
  wait(15)
  await deliverDue(deps)
  wait(10)
  await deliverDue(deps)
  const after = await row(id)
  assert.equal(after.status, 'delivered')
  assert.deepEqual(after.earlier_jtis, [jti])
  assert.deepEqual(jtisOf(bodies()), [jti, jti, after.jti])
})

test('what was signed only to be sent may have been sent too, when a crash comes then (EV-12)', async (t) => {
  const delivery = await openDelivery(t)
  const { app, tell, row, deps, db, wait } = delivery
  const { reply, release } = holdBack()
  const { audience_id, bodies, got, says } = await app([reply])
  const id = await tell(audience_id)
  await sql`update event_deliveries set kid = null, jws = null`.execute(db)
  const attempt = deliver(deps, await claimOne(delivery, audience_id))
  await got(1)
  const { jti } = await row(id)
  await cutOff(delivery)
  await sql`
    update event_deliveries set attempts = attempts + 1, next_attempt_at = ${addSeconds(deps.now(), 15)}`.execute(
    db,
  )
  release()
  assert.equal(await attempt, undefined)
  says('invalid_request', 202)
  wait(15)
  await deliverDue(deps)
  wait(10)
  await deliverDue(deps)
  const after = await row(id)
  assert.equal(after.status, 'delivered')
  assert.deepEqual(after.earlier_jtis, [jti])
  assert.deepEqual(jtisOf(bodies()), [jti, jti, after.jti])
})

test('an answer whose transaction was lost is written by another one', async (t) => {
  const delivery = await openDelivery(t)
  const { app, tell, row, deps } = delivery
  const { reply, release } = holdBack()
  const { audience_id, bodies, got } = await app([reply])
  const id = await tell(audience_id)
  const attempt = deliver(deps, await claimOne(delivery, audience_id))
  await got(1)
  await cutOff(delivery)
  release()
  await attempt
  const { status, jws } = await row(id)
  assert.deepEqual([status, bodies()], ['delivered', [jws]])
})

test('what was sent again and taken counts as delivered, also where its user consented meanwhile', async (t) => {
  const delivery = await openDelivery(t)
  const { app, tell, row, deps, db, wait, delegate } = delivery
  const { reply, release } = holdBack()
  const { audience_id, got, ...parties } = await app([reply])
  const id = await tell(audience_id)
  await db
    .updateTable('event_deliveries')
    .set({ resent_at: deps.now(), user_id: parties.user_id, sub: parties.user_id })
    .execute()
  const attempt = deliver(deps, await claimOne(delivery, audience_id))
  await got(1)
  wait(1)
  await delegate({ ...parties, audience_id }, parties.user_id)
  await cutOff(delivery)
  release()
  await attempt
  assert.equal((await row(id)).status, 'delivered')
})

test('of an event that somebody else holds, or has gone on with, nothing is sent', async (t) => {
  const delivery = await openDelivery(t)
  const { app, tell, deps, db } = delivery
  const { audience_id, bodies } = await app([202])
  const id = await tell(audience_id)
  const claimed = await claimOne(delivery, audience_id)
  await db.transaction().execute(async (tx) => {
    await sql`select from event_deliveries where id = ${id} for update`.execute(tx)
    assert.equal(await deliver(deps, claimed), undefined)
  })
  assert.equal(await deliver(deps, { ...claimed, attempts: claimed.attempts + 1 }), undefined)
  assert.deepEqual(bodies(), [])
})

test('an event whose key was compromised meanwhile is signed anew before it is sent (DS-26)', async (t) => {
  const { app, tell, row, deps, keys, db } = await openDelivery(t)
  const { audience_id, bodies } = await app([202])
  const id = await tell(audience_id)
  const { jti, kid } = await row(id)
  await keys.compromise()
  // What the database says of the key, where this server's own keys are others.
  await sql`
    insert into signing_keys (kid, purpose, alg, public_jwk, private_key, proof, status,
      published_at, created_at, compromised_at)
    select ${kid}, purpose, alg, public_jwk, private_key, proof, 'compromised', published_at, created_at, now()
    from signing_keys where purpose = 'id_jag' and alg = 'ES256' limit 1`.execute(db)
  await deliverDue(deps)
  const event = await row(id)
  assert.deepEqual([event.status, event.earlier_jtis, event.kid], ['delivered', [jti], keys.kid()])
  assert.deepEqual(jtisOf(bodies()), [event.jti])
})

test('an event that no key could sign when it was queued is signed when it is sent', async (t) => {
  const { app, tell, row, deps, keys, wait } = await openDelivery(t)
  const { audience_id, bodies } = await app([202])
  keys.lastFor(0)
  const id = await tell(audience_id)
  assert.equal((await row(id)).jws, null)
  await assert.rejects(deliverDue(deps), /stopped here/)
  assert.equal((await row(id)).status, 'queued')
  keys.lastFor(10)
  wait(15)
  await deliverDue(deps)
  const { status, jws, earlier_jtis } = await row(id)
  assert.deepEqual([status, earlier_jtis, bodies()], ['delivered', [], [jws]])
})

test('an event that no key could sign for 72 hours has failed, and was never sent (EV-11, EV-13)', async (t) => {
  const { app, tell, row, deps, keys, wait, auditTypes } = await openDelivery(t)
  const { audience_id, received } = await app([202])
  keys.lastFor(0)
  const id = await tell(audience_id)
  await assert.rejects(deliverDue(deps), /stopped here/)
  const waiting = await row(id)
  assert.deepEqual([waiting.status, waiting.outcome_unknown], ['queued', false])
  wait(72 * 3600)
  await deliverDue(deps)
  const { status, last_answer, outcome_unknown } = await row(id)
  assert.deepEqual([status, outcome_unknown], ['failed', false])
  assert.deepEqual(last_answer, { failure: 'not_signed' })
  assert.deepEqual(await auditTypes(), ['event.failed'])
  assert.equal(received.length, 0)
})

test('who consents again has what waits for that pair tried at once, and nothing else (EV-14)', async (t) => {
  const { app, tell, row, deps, db } = await openDelivery(t)
  const { audience_id, bodies } = await app([503])
  const [one, other] = [await tell(audience_id), await tell(audience_id)]
  await deliverDue(deps)
  assert.equal(bodies().length, 2)
  const { sub } = await row(one)
  assert.equal(await hurry(db, { audience_id, sub }), 1)
  assert.equal(await hurry(db, { audience_id, sub }), 0)
  await deliverDue(deps)
  assert.deepEqual([(await row(one)).attempts, (await row(other)).attempts], [2, 1])
  await db.transaction().execute(async (tx) => {
    await sql`select from event_deliveries where id = ${one} for update`.execute(tx)
    assert.equal(await hurry(db, { audience_id, sub }), 0, 'it waits for nobody')
  })
})
