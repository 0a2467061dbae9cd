// A key was compromised: what is still to be delivered is signed anew, once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeJwt } from 'jose'
import { sql } from 'kysely'
import { queueEvents } from '../../src/events/queue.ts'
import { REVOKED } from '../../src/events/revocation-set.ts'
import { signAnew } from '../../src/events/sign-anew.ts'
import { numericDate } from '../../src/oauth/numeric-date.ts'
import { type Outbox, openOutbox, someEvents, someKid } from './outbox.ts'
import { receive } from './receiver.ts'

/** Rows by their ids. */
const byId = async ({ rows }: Outbox) => new Map((await rows()).map((row) => [row.id, row]))

test('a queued event of a compromised key gets another jti, iat and signature, and stays what it is (DS-26)', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, queue, rows, keys, deps, db, wait } = outbox
  const { audience_id } = await parties()
  const { audience_id: older } = await parties({ events_dialect: 'logout' })
  await queue([...someEvents(audience_id, 1), ...someEvents(older, 1)])
  // It was sent, and no answer came.
  await db.updateTable('event_deliveries').set({ attempts: 3, outcome_unknown: true }).execute()
  const before = await byId(outbox)
  const compromised = await keys.compromise()
  wait(3600)
  assert.deepEqual(await signAnew(deps, compromised), { signed: 2, left: 0 })
  for (const { jti, kid, jws, earlier_jtis, outcome_unknown, ...rest } of await rows()) {
    const was = before.get(rest.id)
    assert.ok(was)
    const { jti: _, kid: __, jws: old, earlier_jtis: ___, outcome_unknown: ____, ...same } = was
    assert.deepEqual(rest, same)
    assert.deepEqual(earlier_jtis, [was.jti])
    assert.equal(outcome_unknown, false)
    assert.equal(kid, keys.kid())
    assert.notEqual(jti, was.jti)
    assert.deepEqual(decodeJwt(jws), { ...decodeJwt(old), jti, iat: numericDate(deps.now()) })
    const app = {
      issuer: deps.config.issuer,
      audience: rest.aud,
      keys: keys.jwks(),
      knows: [REVOKED],
      seen: new Set([was.jti]),
    }
    const typ = rest.dialect === 'set' ? 'secevent' : 'logout'
    assert.equal((await receive(`application/${typ}+jwt`, jws, app)).status, 202)
    assert.deepEqual(await receive(`application/${typ}+jwt`, old, app), {
      status: 400,
      err: 'invalid_key',
    })
  }
  assert.deepEqual(await signAnew(deps, compromised), { signed: 0, left: 0 })
  const again = await keys.compromise()
  await signAnew(deps, again)
  for (const { id, earlier_jtis } of await rows()) {
    assert.equal(earlier_jtis.length, 2)
    assert.equal(earlier_jtis[0], before.get(id)?.jti)
  }
})

test('what is delivered or given up stays as it was sent, and so does what another key signed', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, queue, keys, deps, db } = outbox
  const [one, two, three] = [await parties(), await parties(), await parties()]
  const { audience_id: byRsa } = await parties({ id_jag_signing_alg: 'RS256' })
  for (const { audience_id } of [one, two, three]) await queue(someEvents(audience_id, 1))
  await queue(someEvents(byRsa, 1))
  const at = deps.now()
  for (const [{ audience_id }, end] of [
    [one, { status: 'delivered', delivered_at: at, next_attempt_at: null }],
    [two, { status: 'failed', failed_at: at, next_attempt_at: null }],
    [three, { status: 'superseded', superseded_at: at, next_attempt_at: null }],
  ] as const) {
    await db
      .updateTable('event_deliveries')
      .set(end)
      .where('audience_id', '=', audience_id)
      .execute()
  }
  const before = await byId(outbox)
  assert.deepEqual(await signAnew(deps, await keys.compromise()), { signed: 0, left: 0 })
  assert.deepEqual(await byId(outbox), before)
  assert.deepEqual(await signAnew(deps, someKid()), { signed: 0, left: 0 })
})

test('an audience whose algorithm has changed is told by that one', async (t) => {
  const { parties, queue, rows, keys, deps, db } = await openOutbox(t)
  await queue(someEvents((await parties()).audience_id, 1))
  await db.updateTable('audiences').set({ id_jag_signing_alg: 'RS256' }).execute()
  await signAnew(deps, await keys.compromise())
  assert.equal((await rows())[0]?.kid, keys.kid('RS256'))
})

test('an event that a delivery holds is left to be asked for again', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, queue, keys, deps, db } = outbox
  await queue(someEvents((await parties()).audience_id, 7))
  const before = await byId(outbox)
  const [first = ''] = before.keys()
  const compromised = await keys.compromise()
  await db.transaction().execute(async (delivery) => {
    // Whoever waited for it would wait for good: then this transaction is ended, and the test has failed.
    await sql`set local idle_in_transaction_session_timeout = '10s'`.execute(delivery)
    await sql`select from event_deliveries where id = ${first} for update`.execute(delivery)
    // Fewer at a time than there are, so that the one held does not end the search.
    assert.deepEqual(await signAnew(deps, compromised, 2), { signed: 6, left: 1 })
    assert.deepEqual((await byId(outbox)).get(first), before.get(first))
    assert.deepEqual(await signAnew(deps, compromised, 2), { signed: 0, left: 1 })
  })
  assert.deepEqual(await signAnew(deps, compromised, 2), { signed: 1, left: 0 })
})

test('an event whose transaction was open while its key ended is found by asking once more', async (t) => {
  const { parties, keys, deps, db } = await openOutbox(t)
  const { audience_id } = await parties()
  let compromised = ''
  await db.transaction().execute(async (tx) => {
    await queueEvents(tx, deps, someEvents(audience_id, 1))
    compromised = await keys.compromise()
    assert.deepEqual(await signAnew(deps, compromised), { signed: 0, left: 0 })
  })
  assert.deepEqual(await signAnew(deps, compromised), { signed: 1, left: 0 })
})

test('replicas that sign anew at once sign each event once', async (t) => {
  const { parties, queue, rows, keys, deps } = await openOutbox(t)
  await queue(someEvents((await parties()).audience_id, 200))
  const compromised = await keys.compromise()
  const before = keys.signatures()
  const answers = await Promise.all([1, 2, 3].map(() => signAnew(deps, compromised, 7)))
  const signed = answers.reduce((sum, answer) => sum + answer.signed, 0)
  const { signed: later, left } = await signAnew(deps, compromised)
  assert.equal(signed + later, 200)
  assert.equal(left, 0)
  assert.equal(keys.signatures() - before, 200)
  for (const { kid, jti, jws, earlier_jtis } of await rows()) {
    assert.deepEqual([kid, earlier_jtis.length], [keys.kid(), 1])
    assert.equal(decodeJwt(jws).jti, jti)
  }
})

test('nothing is signed by the compromised key again, where its end was not heard of yet', async (t) => {
  const outbox = await openOutbox(t)
  const { parties, queue, rows, keys, deps } = outbox
  await queue(someEvents((await parties()).audience_id, 3))
  const missed = await keys.compromise('ES256', { misses: true })
  assert.deepEqual(await signAnew(deps, missed), { signed: 3, left: 0 })
  for (const { kid, earlier_jtis } of await rows()) {
    assert.deepEqual([kid, earlier_jtis.length], [keys.kid(), 1])
  }
  const before = await byId(outbox)
  keys.deafen()
  const unheard = await keys.compromise('ES256', { misses: true })
  await assert.rejects(signAnew(deps, unheard), /kept changing/)
  assert.deepEqual(await byId(outbox), before)
})

test('where the key has not ended after all, each event is signed anew once, and all are left', async (t) => {
  const { parties, queue, rows, keys, deps } = await openOutbox(t)
  await queue(someEvents((await parties()).audience_id, 5))
  keys.lastFor(20)
  assert.deepEqual(await signAnew(deps, keys.kid(), 2), { signed: 5, left: 5 })
  for (const { earlier_jtis } of await rows()) assert.equal(earlier_jtis.length, 1)
})

test('a server that stops half way leaves each event signed whole, and the next goes on', async (t) => {
  const { parties, queue, rows, keys, deps } = await openOutbox(t)
  await queue(someEvents((await parties()).audience_id, 10))
  const compromised = await keys.compromise()
  keys.lastFor(6)
  await assert.rejects(signAnew(deps, compromised, 4), /stopped/)
  const kids = (await rows()).map(({ kid }) => kid)
  assert.equal(kids.filter((kid) => kid === compromised).length, 6)
  keys.lastFor(Number.POSITIVE_INFINITY)
  assert.deepEqual(await signAnew(deps, compromised, 4), { signed: 6, left: 0 })
  for (const { earlier_jtis, jti, jws } of await rows()) {
    assert.equal(earlier_jtis.length, 1)
    assert.equal(decodeJwt(jws).jti, jti)
  }
})
