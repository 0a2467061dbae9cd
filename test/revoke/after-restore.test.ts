// A backup that was restored knows nothing of what has ended since: all that it has as live ends (GR-06, GR-08).
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import { sql } from 'kysely'
import { recordEvent } from '../../src/audit/record.ts'
import { seal } from '../../src/audit/seal.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { newId } from '../../src/db/ids.ts'
import { openPool } from '../../src/db/pool.ts'
import { isPolicyStoppedUnder } from '../../src/delegations/policy-queries.ts'
import { queueEvents } from '../../src/events/queue.ts'
import { type KeyStore, openCustody } from '../../src/keys/open-custody.ts'
import { openKeyRing } from '../../src/keys/open-key-ring.ts'
import { findProof } from '../../src/revoke/queries.ts'
import { changeStatus } from '../../src/streams/change-status.ts'
import { listWaiting } from '../../src/streams/event-queries.ts'
import { endReceiverRow } from '../../src/streams/receiver-queries.ts'
import { EVENT } from '../../src/streams/set.ts'
import { endStreamOf, findStreamOf } from '../../src/streams/stream-queries.ts'
import { type Contestant, type Kind, makeContestants } from '../support/contestants.ts'
import { LISTENS, openRestored, type Restored } from './restored.ts'

const listening: Kind = { audience: LISTENS }

async function one(restored: Restored, kind: Kind = listening): Promise<Contestant> {
  const [of] = await makeContestants(restored.db, 1, kind)
  return of ?? assert.fail()
}

const rowsOf = ({ db }: Restored, table: 'delegations' | 'sessions' | 'event_deliveries') =>
  db.selectFrom(table).selectAll().execute()

/** What could still be used, by table. */
async function liveIn({ db }: Restored): Promise<Record<string, number>> {
  const { rows } = await sql<Record<string, number>>`
    select
      (select count(*) from sessions where ended_at is null)::integer as sessions,
      (select count(*) from authorization_codes where consumed_at is null)::integer as codes,
      (select count(*) from refresh_token_families where ended_at is null)::integer as families,
      (select count(*) from delegations where status = 'active')::integer as delegations,
      (select count(*) from interactions where status = 'open')::integer as questions,
      (select count(*) from idempotency_keys)::integer as answers,
      (select count(*) from entitlements where ended_at is null and consent = 'admin')::integer as policies`.execute(
    db,
  )
  return rows[0] ?? {}
}

const NONE = {
  sessions: 0,
  codes: 0,
  families: 0,
  delegations: 0,
  questions: 0,
  answers: 0,
  policies: 0,
}

async function ask({ db }: Restored, of: Contestant): Promise<void> {
  const at = new Date()
  await db
    .insertInto('interactions')
    .values({
      id: newId('int'),
      tenant_id: of.tenant_id,
      user_id: of.user_id,
      agent_id: of.agent_id,
      audience_id: of.audience_id,
      scopes: ['docs.read'],
      resources: [],
      question: randomBytes(32),
      created_at: at,
      expires_at: new Date(at.getTime() + 600_000),
    })
    .execute()
}

test('everything that could be used ends, in every tenant, and each has a revocation that says so', async (t) => {
  const restored = await openRestored(t)
  const { db } = restored
  const here = await one(restored)
  const elsewhere = await one(restored, { ...listening, ownTenant: true, consent: 'admin' })
  await ask(restored, here)
  await db
    .insertInto('idempotency_keys')
    .values({
      admin_key_id: 'environment',
      key: 'k',
      body_digest: Buffer.alloc(32),
      created_at: new Date(),
    })
    .execute()
  const before = await liveIn(restored)
  for (const [what, count] of Object.entries(before)) assert.ok(count > 0, what)

  const { tenants } = await restored.run({ reason: 'The disk is gone' })
  assert.deepEqual(await liveIn(restored), NONE)
  assert.deepEqual(
    tenants.map(({ tenant_id }) => tenant_id),
    [here.tenant_id, elsewhere.tenant_id].sort(),
  )
  for (const { tenant_id, revocation_id, ...counts } of tenants) {
    assert.deepEqual(counts, {
      delegations_revoked: 1,
      refresh_tokens_revoked: 1,
      sessions_ended: 1,
      entitlements_ended: tenant_id === elsewhere.tenant_id ? 1 : 0,
      events_queued: 1,
      signals_queued: 0,
    })
    const revocation = await db
      .selectFrom('revocations')
      .select(['revoked_tenant_id', 'tenant_id', 'reason', 'delegations_revoked'])
      .select(['refresh_tokens_revoked', 'events_queued'])
      .where('id', '=', revocation_id)
      .executeTakeFirst()
    assert.deepEqual(revocation, {
      tenant_id,
      revoked_tenant_id: tenant_id,
      reason: 'The disk is gone',
      delegations_revoked: 1,
      refresh_tokens_revoked: 1,
      events_queued: 1,
    })
    const [told] = await db
      .selectFrom('audit_events')
      .select(['actor_kind', 'detail'])
      .where('type', '=', 'restore.completed')
      .where('tenant_id', '=', tenant_id)
      .execute()
    assert.deepEqual(told, {
      actor_kind: 'system',
      detail: { revocation_id, ...counts, policies_kept: false },
    })
  }
  const log = JSON.stringify(await db.selectFrom('audit_events').selectAll().execute())
  assert.doesNotMatch(log, /The disk is gone/)
  for (const delegation of await rowsOf(restored, 'delegations')) {
    const by = tenants.find(({ tenant_id }) => tenant_id === delegation.tenant_id)
    assert.deepEqual(
      [delegation.status, 'end_reason' in delegation && delegation.end_reason],
      ['revoked', by?.revocation_id],
    )
  }
})

test('each delegation counts as having minted, whatever became of it: each subject has one event (GR-08)', async (t) => {
  const restored = await openRestored(t)
  const { db } = restored
  const at = new Date(Date.now() - 60_000)
  const kinds = {
    live: {},
    once: { mode: 'once' },
    consumed: { mode: 'once', status: 'consumed', consumed_at: at },
    revoked: { status: 'revoked', revoked_at: at, end_reason: 'user' },
    expired: { status: 'expired', expires_at: at },
    over: { expires_at: at },
  } as const
  const subjects: string[] = []
  for (const granted of Object.values(kinds)) {
    const of = await one(restored, { ...listening, granted })
    subjects.push(`${of.audience_id} ${of.user_id}`)
  }
  await one(restored, {})
  const retired = await one(restored, { audience: { ...LISTENS, status: 'retired' } })
  subjects.push(`${retired.audience_id} ${retired.user_id}`)
  // Two delegations of one subject at one audience: one event.
  const twice = await one(restored)
  const [delegation] = await db
    .selectFrom('delegations')
    .selectAll()
    .where('id', '=', twice.delegation_id ?? '')
    .execute()
  await db
    .insertInto('delegations')
    .values({
      ...(delegation ?? assert.fail()),
      authorization_details: null,
      id: newId('dlg'),
      status: 'revoked',
      revoked_at: at,
    })
    .execute()
  subjects.push(`${twice.audience_id} ${twice.user_id}`)

  const { tenants } = await restored.run()
  const events = await db.selectFrom('event_deliveries').selectAll().execute()
  assert.deepEqual(
    events.map(({ audience_id, sub }) => `${audience_id} ${sub}`).sort(),
    subjects.sort(),
  )
  assert.equal(tenants[0]?.events_queued, subjects.length)
  const body = JSON.parse((await restored.open()).jwks().body)
  for (const { jws, status, cause, revocation_id, aud, sub } of events) {
    assert.deepEqual(
      { status, cause, revocation_id },
      { status: 'queued', cause: 'restored', revocation_id: tenants[0]?.revocation_id },
    )
    const { payload } = await jwtVerify(jws ?? '', createLocalJWKSet(body), {
      typ: 'secevent+jwt',
    })
    assert.deepEqual([payload.aud, payload.sub], [aud, sub])
  }
})

test('every signing key is another one, the old ones are out of the key set, and old seals verify', async (t) => {
  const restored = await openRestored(t)
  const { db, deps } = restored
  await recordEvent(db, { type: 'test.happened', at: new Date(), actor: { kind: 'system' } })
  const [head] = await seal(deps)
  const old = await db.selectFrom('signing_keys').select(['kid', 'status']).execute()
  const { keys_dropped } = await restored.run()
  assert.equal(keys_dropped, old.length)

  const rows = await db.selectFrom('signing_keys').selectAll().execute()
  const fresh = rows.filter(({ kid }) => !old.some((one) => one.kid === kid))
  assert.deepEqual(
    fresh.map(({ purpose, alg, status }) => `${purpose} ${alg} ${status}`).sort(),
    ['id_jag ES256', 'id_jag RS256', 'id_token ES256', 'id_token RS256', 'seal ES256'].flatMap(
      (slot) => [`${slot} active`, `${slot} next`],
    ),
  )
  for (const row of rows.filter((row) => !fresh.includes(row))) {
    assert.equal(row.status, 'compromised')
    assert.equal(row.compromise_reason, 'restored from a backup')
    assert.notEqual(row.cleared_at, null, 'it is left to be cleared, and events go out twice')
  }
  const keys = await restored.open()
  const published = JSON.parse(keys.jwks().body).keys.map(({ kid }: { kid: string }) => kid)
  assert.deepEqual(
    published.sort(),
    fresh
      .filter(({ purpose }) => purpose !== 'seal')
      .map(({ kid }) => kid)
      .sort(),
  )
  for (const { kid } of old) {
    for (const purpose of ['id_token', 'id_jag', 'seal'] as const)
      assert.equal(keys.verificationKey(purpose, kid), undefined)
  }
  const dropped = await db
    .selectFrom('audit_events')
    .select('detail')
    .where('type', '=', 'key.compromised')
    .execute()
  assert.deepEqual(
    dropped.map(({ detail }) => `${detail?.kid} ${detail?.was}`).sort(),
    old.map(({ kid, status }) => `${kid} ${status}`).sort(),
  )

  const [next] = await seal({ ...deps, keys })
  assert.equal(next?.position, 2)
  const known = { position: 1, hash: head?.hash ?? assert.fail() }
  assert.deepEqual(await verifyLog({ db, keys }, known), {
    ok: true,
    sealed_through: next,
    unsealed: 0,
  })
})

test('keys whose private parts nobody can open any more are replaced all the same', async (t) => {
  const restored = await openRestored(t)
  const of = await one(restored)
  const keyEncryptionKeys = [randomBytes(32)]
  await assert.rejects(restored.open({ keyEncryptionKeys }), { name: 'KeyEncryptionError' })
  const custody = await openCustody({ keyEncryptionKeys, keyCustody: 'local' })
  const { tenants } = await restored.run({}, { config: { keyEncryptionKeys }, custody })
  assert.equal(tenants[0]?.delegations_revoked, 1)
  const [event] = await restored.db.selectFrom('event_deliveries').select(['sub', 'jws']).execute()
  assert.equal(event?.sub, of.user_id)
  const fresh = openKeyRing(
    { ...restored.deps, custody, config: { ...restored.deps.config, keyEncryptionKeys } },
    false,
  )
  const body = JSON.parse((await fresh).jwks().body)
  await jwtVerify(event?.jws ?? '', createLocalJWKSet(body))
})

test('what waited to be delivered is told by the new events, which prove the revocations of before', async (t) => {
  const restored = await openRestored(t)
  const { db, deps } = restored
  const of = await one(restored)
  const { audience_id, user_id } = of
  const queue = (events: Parameters<typeof queueEvents>[2]) =>
    db.transaction().execute((tx) => queueEvents(tx, deps, events))
  const [asked, joined] = [newId('rev'), newId('rev')]
  const [old] = await queue([{ audience_id, user_id, sub: user_id, revocation_id: asked }])
  await db
    .insertInto('revocation_events')
    .values({ revocation_id: joined, delivery_id: old?.id ?? assert.fail() })
    .execute()
  // About somebody of whom no delegation speaks: nothing else says it.
  const [alone] = await queue([{ audience_id, user_id, sub: 'p_elsewhere' }])
  const signedBefore = await db
    .selectFrom('event_deliveries')
    .select(['jti', 'kid'])
    .where('id', '=', alone?.id ?? assert.fail())
    .executeTakeFirstOrThrow()

  const { events_superseded } = await restored.run()
  assert.equal(events_superseded, 1)
  const rows = await db.selectFrom('event_deliveries').selectAll().execute()
  const by = new Map(rows.map((row) => [row.id, row]))
  assert.equal(by.get(old?.id ?? '')?.status, 'superseded')
  const latest = rows.find(({ id, sub }) => id !== old?.id && sub === user_id)
  assert.equal(latest?.status, 'queued')
  const proof = await db.selectFrom('revocation_events').selectAll().execute()
  assert.deepEqual(
    proof
      .filter(({ delivery_id }) => delivery_id === latest?.id)
      .map((row) => row.revocation_id)
      .sort(),
    [asked, joined].sort(),
  )
  const delivered_at = new Date()
  await db
    .updateTable('event_deliveries')
    .set({ status: 'delivered', delivered_at, next_attempt_at: null })
    .where('id', '=', latest?.id ?? '')
    .execute()
  for (const id of [asked, joined]) {
    const proof = { delivered: 1, pending: 0, failed: 0, last_acknowledged_at: delivered_at }
    assert.deepEqual(await findProof(db, id), proof)
  }
  const anew = by.get(alone?.id ?? '')
  assert.equal(anew?.status, 'queued')
  assert.deepEqual(anew?.earlier_jtis, [signedBefore.jti])
  const body = JSON.parse((await restored.open()).jwks().body)
  await jwtVerify(anew?.jws ?? '', createLocalJWKSet(body))
  assert.equal(decodeJwt(anew?.jws ?? '').sub, 'p_elsewhere')
  assert.notEqual(anew?.kid, signedBefore.kid)
})

test('entitlements that ask no user end, unless they are to be kept; the others stay', async (t) => {
  for (const keepPolicies of [false, true]) {
    const restored = await openRestored(t)
    const policy = await one(restored, {
      ...listening,
      consent: 'admin',
      granted: { source: 'policy' },
    })
    const asking = await one(restored)
    const { tenants } = await restored.run({ keepPolicies })
    const live = await restored.db
      .selectFrom('entitlements')
      .select('id')
      .where('ended_at', 'is', null)
      .execute()
    assert.deepEqual(
      live.map(({ id }) => id).sort(),
      [asking.entitlement_id, ...(keepPolicies ? [policy.entitlement_id] : [])].sort(),
    )
    assert.equal(tenants[0]?.entitlements_ended, keepPolicies ? 0 : 1)
    const stopped = isPolicyStoppedUnder(restored.db, policy, policy.entitlement_id)
    assert.equal(await stopped, true, 'the next mint makes it again')
    assert.equal((await liveIn(restored)).delegations, 0)
    const ended = await restored.db
      .selectFrom('audit_events')
      .select('detail')
      .where('type', '=', 'entitlement.ended')
      .execute()
    assert.equal(ended.length, keepPolicies ? 0 : 1)
  }
})

/** A stream about this user, on which an event waits that names them by their address. */
async function listen(
  { db }: Restored,
  { tenant_id, user_id }: Contestant,
  { status = 'enabled' }: { status?: 'enabled' | 'paused' | 'disabled' } = {},
) {
  const [receiver_id, stream_id] = [newId('rcv'), newId('str')]
  const at = new Date(Date.now() - 60_000)
  await db
    .insertInto('ssf_receivers')
    .values({
      id: receiver_id,
      tenant_id,
      name: 'Desk',
      audience: 'https://desk.example',
      scopes: ['ssf.read', 'ssf.manage'],
      secret_hash: randomBytes(32),
      created_at: at,
      created_by: 'environment',
    })
    .execute()
  await db
    .insertInto('streams')
    .values({
      id: stream_id,
      tenant_id,
      receiver_id,
      method: 'push',
      endpoint_url: 'https://desk.example/signals',
      events_requested: [EVENT.sessionRevoked],
      status,
      active_at: at,
      created_at: at,
      updated_at: at,
    })
    .execute()
  await db
    .insertInto('stream_subjects')
    .values({ stream_id, tenant_id, user_id, complex: false, by_email: false, created_at: at })
    .execute()
  const waiting = { stream_id, tenant_id, user_id, email: 'ada@example.com' }
  const what = { event_type: EVENT.sessionRevoked, event: '{}', txn: 'before' }
  const when = { created_at: at, next_attempt_at: at }
  await db
    .insertInto('stream_events')
    .values({ jti: `old-${stream_id}`, ...waiting, ...what, ...when })
    .execute()
  return { stream_id, receiver_id, tenant_id }
}

const eventsOn = ({ db }: Restored, stream_id: string) =>
  db
    .selectFrom('stream_events')
    .select(['event_type', 'user_id', 'session_id', 'status', 'email'])
    .where('stream_id', '=', stream_id)
    .orderBy('created_at')
    .orderBy('event_type')
    .execute()

const ABOUT_NOBODY = { user_id: null, session_id: null, email: null }

test('streams hold that every session has ended, and send it when their receiver enables them (EV-32)', async (t) => {
  const restored = await openRestored(t)
  const { db, deps } = restored
  const of = await one(restored, {})
  const { user_id } = of
  for (const status of ['enabled', 'paused', 'disabled'] as const) {
    const { stream_id, receiver_id, tenant_id } = await listen(restored, of, { status })
    const { tenants, streams, signals_dropped } = await restored.run()
    const shown = { stream_id, receiver_id, tenant_id, name: 'Desk', method: 'push' }
    assert.deepEqual(
      streams.find((stream) => stream.stream_id === stream_id),
      { ...shown, status },
    )
    assert.ok(signals_dropped >= 1)
    assert.equal(tenants[0]?.signals_queued, streams.length)
    const stream = await findStreamOf(db, receiver_id)
    assert.equal(stream?.status, 'paused')
    assert.match(stream?.status_reason ?? '', /backup was restored/)
    const revoked = { event_type: EVENT.sessionRevoked, session_id: null, email: null, user_id }
    const updated = { event_type: EVENT.streamUpdated, ...ABOUT_NOBODY }
    assert.deepEqual(await eventsOn(restored, stream_id), [
      { ...revoked, status: 'dropped' },
      { ...revoked, status: 'queued' },
      { ...updated, status: 'queued' },
    ])
    const sent = async () => {
      const waiting = await listWaiting(db, stream_id, { now: new Date(), limit: 10 })
      return waiting.map(({ event_type }) => event_type).sort()
    }
    assert.deepEqual(await sent(), [EVENT.streamUpdated])
    const caller = { id: receiver_id, tenant_id, audience: 'https://desk.example' }
    await db
      .transaction()
      .execute((tx) => changeStatus(tx, deps, caller, { stream_id, status: 'enabled' }))
    assert.deepEqual(await sent(), [EVENT.sessionRevoked, EVENT.streamUpdated])
    const logged = await db
      .selectFrom('audit_events')
      .select(['actor_kind', 'actor_id', 'detail'])
      .where('type', '=', 'stream.paused')
      .execute()
    const by = { actor_kind: 'system', actor_id: null }
    const told = logged.filter((event) => event.detail?.stream_id === stream_id)
    assert.deepEqual(told, [{ ...by, detail: { receiver_id, stream_id } }])
    await endStreamOf(db, receiver_id, new Date())
  }
})

test('a stream that has ended, or whose receiver has, hears nothing of a restore', async (t) => {
  const restored = await openRestored(t)
  const of = await one(restored, {})
  const [ended, left] = [await listen(restored, of), await listen(restored, of)]
  await endStreamOf(restored.db, ended.receiver_id, new Date())
  await endReceiverRow(restored.db, left.receiver_id, new Date())
  const { streams, signals_dropped } = await restored.run()
  assert.deepEqual([streams, signals_dropped], [[], 2])
  for (const { stream_id } of [ended, left]) {
    const events = await eventsOn(restored, stream_id)
    assert.deepEqual(
      events.map(({ status, email }) => ({ status, email })),
      [{ status: 'dropped', email: null }],
    )
  }
})

test('while a server is connected it refuses, and changes nothing', async (t) => {
  const restored = await openRestored(t)
  await one(restored)
  const before = await liveIn(restored)
  const server = openPool(restored.database.connection, () => undefined, 1)
  await server.pool.query('select 1')
  await assert.rejects(restored.run(), {
    name: 'InUseError',
    message: /^Others are connected.*: agent-idp \(process \d+\)\. Stop every server/,
  })
  assert.deepEqual(await liveIn(restored), before)
  await server.pool.end()
  await restored.run()
  assert.deepEqual(await liveIn(restored), NONE)
})

test('what fails on its way changes nothing and leaves no key behind; the next run ends everything', async (t) => {
  const restored = await openRestored(t)
  await one(restored)
  const before = await liveIn(restored)
  const kids = async () =>
    (
      await restored.db
        .selectFrom('signing_keys')
        .select(['kid', 'status'])
        .orderBy('kid')
        .execute()
    ).map(({ kid, status }) => `${kid} ${status}`)
  const keysBefore = await kids()
  const made: string[] = []
  const destroyed: string[] = []
  const custody: KeyStore = {
    ...restored.custody,
    async generate(slot) {
      const key = await restored.custody.generate(slot)
      made.push(key.reference)
      return key
    },
    async open(key) {
      throw new Error(`no signature by ${key.kid}`)
    },
    async destroy(key) {
      destroyed.push(key.reference)
    },
  }
  await assert.rejects(restored.run({}, { custody }), /no signature by/)
  assert.deepEqual(await liveIn(restored), before)
  assert.deepEqual(await kids(), keysBefore)
  assert.deepEqual(destroyed.sort(), made.sort())
  assert.ok(made.length > 0)
  await restored.run()
  assert.deepEqual(await liveIn(restored), NONE)
})

test('run again it ends whatever there is by then, and never less', async (t) => {
  const restored = await openRestored(t)
  await one(restored)
  const first = await restored.run()
  const late = await one(restored)
  const second = await restored.run()
  assert.deepEqual(await liveIn(restored), NONE)
  assert.notEqual(second.tenants[0]?.revocation_id, first.tenants[0]?.revocation_id)
  assert.equal(second.tenants[0]?.delegations_revoked, 1)
  assert.equal(second.tenants[0]?.events_queued, 2)
  const queued = await restored.db
    .selectFrom('event_deliveries')
    .select(['revocation_id', 'sub'])
    .where('status', '=', 'queued')
    .execute()
  assert.equal(queued.length, 2)
  assert.ok(queued.some(({ sub }) => sub === late.user_id))
  for (const { revocation_id } of queued) {
    assert.equal(revocation_id, second.tenants[0]?.revocation_id)
  }
})
