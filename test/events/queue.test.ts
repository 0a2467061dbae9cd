// The outbox: an event is queued with what gives rise to it, and waits for nobody.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { sql } from 'kysely'
import { newId } from '../../src/db/ids.ts'
import { GIVE_UP_AFTER } from '../../src/events/delivery.ts'
import { listEventEnds } from '../../src/events/key-queries.ts'
import { queueEvents } from '../../src/events/queue.ts'
import { REVOKED } from '../../src/events/revocation-set.ts'
import { addSeconds, numericDate } from '../../src/oauth/numeric-date.ts'
import { openHouse } from '../support/house.ts'
import { makeParties } from '../support/parties.ts'
import { ENDPOINT, openOutbox, someEvents, someKid } from './outbox.ts'
import { receive } from './receiver.ts'

const VARIANT = 'https://schemas.workos.com/events/agent/identity/assertion/revoked'

test('an event is kept with all that delivering it takes, due at once and for 72 hours (EV-10, EV-11)', async (t) => {
  const { parties, queue, rows, keys, deps } = await openOutbox(t)
  const { audience_id, user_id, tenant_id } = await parties({
    subject_type: 'pairwise',
    sector: 'x',
  })
  const revocation_id = newId('rev')
  const queued = await queue([{ audience_id, user_id, sub: 'p_4kD9', revocation_id }])
  const now = deps.now()
  const [row] = await rows()
  assert.ok(row)
  const { id, jti, jws, cluster: _, covers, ...rest } = row
  assert.deepEqual(queued, [{ id, audience_id, sub: 'p_4kD9' }])
  assert.match(id, /^dlv_/)
  assert.equal(GIVE_UP_AFTER, 72 * 3600)
  assert.deepEqual(rest, {
    tenant_id,
    revocation_id,
    compromised_kid: null,
    cause: null,
    audience_id,
    user_id,
    agent_id: null,
    agent_client_id: null,
    dialect: 'set',
    endpoint: ENDPOINT,
    aud: `https://chat.example/${audience_id}`,
    sub: 'p_4kD9',
    event_type: REVOKED,
    earlier_jtis: [],
    kid: keys.kid(),
    status: 'queued',
    attempts: 0,
    outcome_unknown: false,
    remedies: [],
    next_attempt_at: now,
    last_attempt_at: null,
    last_answer: null,
    created_at: now,
    expires_at: addSeconds(now, 72 * 3600),
    delivered_at: null,
    failed_at: null,
    superseded_at: null,
    resent_at: null,
  })
  assert.match(covers, /^\d+:\d+:/)
  assert.deepEqual(decodeProtectedHeader(jws), {
    typ: 'secevent+jwt',
    alg: 'ES256',
    kid: keys.kid(),
  })
  assert.deepEqual(decodeJwt(jws), {
    iss: deps.config.issuer,
    sub: 'p_4kD9',
    aud: `https://chat.example/${audience_id}`,
    jti,
    iat: numericDate(now),
    events: { [REVOKED]: {} },
  })
})

for (const [dialect, event_type, alg] of [
  ['set', null, 'ES256'],
  ['set', VARIANT, 'RS256'],
  ['logout', null, 'ES256'],
] as const) {
  test(`the reference receiver acts on an event (EV-01 to EV-04, EV-20): ${dialect} ${alg} ${event_type ?? ''}`, async (t) => {
    const { parties, queue, rows, keys, deps } = await openOutbox(t)
    const { audience_id, user_id } = await parties({
      events_dialect: dialect,
      event_type,
      id_jag_signing_alg: alg,
    })
    await queue([{ audience_id, user_id, sub: user_id }])
    const [event] = await rows()
    assert.ok(event)
    assert.equal(event.dialect, dialect)
    const issuer = deps.config.issuer
    const app = {
      issuer,
      audience: event.aud,
      keys: keys.jwks(),
      knows: [event_type ?? REVOKED],
      seen: new Set<string>(),
    }
    const media = dialect === 'set' ? 'application/secevent+jwt' : 'application/logout+jwt'
    assert.deepEqual(await receive(media, event.jws, app), {
      status: 202,
      revoked: { iss: issuer, sub: user_id, aud: event.aud },
    })
    // The receiver tells what is not meant for it apart, so the answer above says something.
    const refusals = [
      [await receive(media, event.jws, app), 'invalid_request'],
      [await receive('application/jwt', event.jws, app), 'invalid_request'],
      [await receive(media, event.jws, { ...app, issuer: 'https://x.example' }), 'invalid_issuer'],
      [await receive(media, event.jws, { ...app, keys: [] }), 'invalid_key'],
      [await receive(media, event.jws, { ...app, audience: 'https://x' }), 'invalid_audience'],
    ] as const
    for (const [answer, err] of refusals) assert.deepEqual(answer, { status: 400, err })
  })
}

test('a real key for ID-JAGs signs events, and its public half is published with theirs (EV-01)', async (t) => {
  const house = await openHouse(t)
  const { deps } = house
  const { audience_id, user_id } = await makeParties(house, {
    audience: { events_endpoint: ENDPOINT, events_dialect: 'set' },
  })
  const event = { audience_id, user_id, sub: user_id }
  await deps.db.transaction().execute((tx) => queueEvents(tx, deps, [event]))
  const { kid, jws } = await deps.db
    .selectFrom('event_deliveries')
    .select((eb) => [eb.ref('kid').$notNull().as('kid'), eb.ref('jws').$notNull().as('jws')])
    .executeTakeFirstOrThrow()
  assert.equal(decodeProtectedHeader(jws).kid, kid)
  assert.equal(deps.keys.verificationKey('id_jag', kid)?.alg, 'ES256')
})

test('whoever has nowhere to be told is not told, others beside them are', async (t) => {
  const { parties, queue, rows } = await openOutbox(t)
  const silent = await parties({ events_endpoint: null, events_dialect: 'none' })
  const unwilling = await parties({ events_dialect: 'none' })
  const listening = await parties()
  const retired = await parties({ status: 'retired' })
  const events = [silent, unwilling, listening, retired].map(({ audience_id, user_id }) => ({
    audience_id,
    user_id,
    sub: user_id,
  }))
  const queued = await queue([...events, ...someEvents(newId('aud'), 1)])
  const told = [listening, retired].map(({ audience_id }) => audience_id).sort()
  assert.deepEqual(queued.map(({ audience_id }) => audience_id).sort(), told)
  assert.deepEqual(
    (await rows()).map(({ audience_id }) => audience_id),
    told,
  )
  assert.deepEqual(await queue([]), [])
})

test('an audience is told of a subject once, however many agents lose what they had (GR-08)', async (t) => {
  const { parties, queue } = await openOutbox(t)
  const [one, other] = [await parties(), await parties()]
  const { user_id } = one
  const sub = user_id
  const queued = await queue([
    { audience_id: one.audience_id, user_id, sub },
    { audience_id: other.audience_id, user_id, sub },
    { audience_id: one.audience_id, user_id, sub },
    { audience_id: one.audience_id, user_id: other.user_id, sub: other.user_id },
  ])
  assert.equal(queued.length, 3)
})

test('what gives rise to events takes them along, come or go (EV-10)', async (t) => {
  const { parties, rows, db, deps } = await openOutbox(t)
  const { audience_id } = await parties()
  const undone = db.transaction().execute(async (tx) => {
    assert.equal((await queueEvents(tx, deps, someEvents(audience_id, 3))).length, 3)
    throw new Error('undone')
  })
  await assert.rejects(undone, /undone/)
  assert.deepEqual(await rows(), [])
})

test('hundreds at once are each signed for themselves', async (t) => {
  const { parties, queue, rows } = await openOutbox(t)
  const { audience_id } = await parties()
  assert.equal((await queue(someEvents(audience_id, 230))).length, 230)
  const kept = await rows()
  assert.equal(new Set(kept.map(({ jti }) => jti)).size, 230)
  for (const { jti, sub, jws } of kept) {
    const claims = decodeJwt(jws)
    assert.deepEqual([claims.jti, claims.sub], [jti, sub])
  }
})

test('queueing waits for nobody who ends the audience, its tenant or its user', async (t) => {
  const { parties, db, deps } = await openOutbox(t)
  const { audience_id, user_id, tenant_id } = await parties()
  await db.transaction().execute(async (ending) => {
    for (const [table, id] of [
      ['tenants', tenant_id],
      ['users', user_id],
      ['audiences', audience_id],
    ] as const) {
      await sql`select from ${sql.table(table)} where id = ${id} for update`.execute(ending)
    }
    await db.transaction().execute(async (tx) => {
      await sql`set local lock_timeout = '2s'`.execute(tx)
      const queued = await queueEvents(tx, deps, [{ audience_id, user_id, sub: user_id }])
      assert.equal(queued.length, 1)
    })
  })
})

test('a custody that says nothing keeps no ending waiting: its events are signed when they are sent', async (t) => {
  const { parties, db, deps, rows } = await openOutbox(t)
  const { audience_id } = await parties()
  let fail = () => {}
  const silence = new Promise<never>((_resolve, reject) => {
    fail = () => reject(new Error('too late'))
  })
  let asked = 0
  const sign: typeof deps.keys.sign = () => {
    asked += 1
    return silence
  }
  const custody = { ...deps, keys: { ...deps.keys, sign } }
  const queued = await db.transaction().execute(async (tx) => {
    await sql`set local idle_in_transaction_session_timeout = '5s'`.execute(tx)
    return queueEvents(tx, custody, someEvents(audience_id, 230))
  })
  assert.equal(queued.length, 230)
  assert.equal(asked, 100, 'what did not answer once is not asked again')
  // Whatever comes of it now: nobody waits for it any more.
  fail()
  const kept = await rows()
  assert.deepEqual(new Set(kept.map(({ jws }) => jws)), new Set([null]))
  assert.equal(new Set(kept.map(({ jti }) => jti)).size, 230)
})

test('a database that cannot say which keys sign undoes the ending, and nothing is queued', async (t) => {
  const { parties, db, deps, rows } = await openOutbox(t)
  const { audience_id } = await parties()
  const stillSign: typeof deps.keys.stillSign = async (asked) => {
    await sql`select no_such_column`.execute(asked)
    return true
  }
  const broken = { ...deps, keys: { ...deps.keys, stillSign } }
  const queued = db
    .transaction()
    .execute((tx) => queueEvents(tx, broken, someEvents(audience_id, 1)))
  await assert.rejects(queued, { code: '42703' })
  assert.deepEqual(await rows(), [])
})

test('a key signs events until the last of them is delivered or given up (DS-22)', async (t) => {
  const { parties, queue, keys, db, deps, wait } = await openOutbox(t)
  const { audience_id } = await parties()
  const { audience_id: byRsa } = await parties({ id_jag_signing_alg: 'RS256' })
  const kids = [keys.kid(), keys.kid('RS256'), someKid()]
  const end = (ids: string[], ended: object) =>
    db
      .updateTable('event_deliveries')
      .set({ ...ended, next_attempt_at: null })
      .where('id', 'in', ids)
      .execute()
  assert.deepEqual(await listEventEnds(db, kids), new Map())
  const [one, two, three] = (await queue(someEvents(audience_id, 3))).map(({ id }) => id)
  await queue(someEvents(byRsa, 1))
  await end([one ?? ''], { status: 'delivered', delivered_at: deps.now() })
  wait(60)
  await end([two ?? ''], { status: 'failed', failed_at: deps.now() })
  const failed = deps.now()
  const waiting = [keys.kid('RS256'), 'queued'] as const
  assert.deepEqual(
    await listEventEnds(db, kids),
    new Map<string, Date | 'queued'>([[keys.kid(), 'queued'], waiting]),
  )
  await end([three ?? ''], { status: 'superseded', superseded_at: addSeconds(failed, -30) })
  assert.deepEqual(
    await listEventEnds(db, kids),
    new Map<string, Date | 'queued'>([[keys.kid(), failed], waiting]),
  )
})

const IMPOSSIBLE = [
  ['is delivered at no time', { status: 'delivered', next_attempt_at: null }],
  ['failed and is due', { status: 'failed', failed_at: new Date(0) }],
  ['is queued and never due', { next_attempt_at: null }],
  ['was superseded and delivered', { delivered_at: new Date(0), superseded_at: new Date(0) }],
  ['ends before it begins', { expires_at: new Date(0) }],
  ['has another state', { status: 'lost' as 'failed' }],
  ['has a remedy that nobody knows', { remedies: ['prayer' as 'metadata'] }],
  ['has an answer without end', { last_answer: JSON.stringify({ description: 'x'.repeat(5000) }) }],
] as const

test('the database refuses an event that contradicts itself', async (t) => {
  const { parties, queue, db } = await openOutbox(t)
  await queue(someEvents((await parties()).audience_id, 1))
  for (const [what, change] of IMPOSSIBLE) {
    const changed = db.updateTable('event_deliveries').set({ ...change } as object)
    await assert.rejects(changed.execute(), { code: '23514' }, what)
  }
})
