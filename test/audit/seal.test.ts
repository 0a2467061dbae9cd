import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { compactVerify, importJWK } from 'jose'
import { sql } from 'kysely'
import pg from 'pg'
import { seal } from '../../src/audit/seal.ts'
import { sealIfDue, startSealer } from '../../src/audit/sealer.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { openPool } from '../../src/db/pool.ts'
import { type Log, listRows, listSealed, openLog, writeEvent, writeIssuance } from './log.ts'

test('a seal closes issuances and events alike, each row once, and the next begins behind it', async (t) => {
  const log = await openLog(t)
  await log.happen(2)
  await log.issue()
  const [first] = await log.seal()
  await log.happen()
  const [second] = await log.seal()

  assert.deepEqual([first?.position, second?.position], [1, 2])
  assert.deepEqual(await listSealed(log.deps.db), await listRows(log.deps.db))
  const verdict = await log.verify()
  assert.deepEqual(verdict, { ok: true, sealed_through: second, unsealed: 0 })
})

test('where nothing happened there is no seal', async (t) => {
  const log = await openLog(t)
  assert.deepEqual(await log.seal(), [])
  assert.deepEqual(await log.verify(), { ok: true, sealed_through: null, unsealed: 0 })
  await log.happen()
  await log.seal()
  assert.deepEqual(await log.seal(), [])
})

test('what commits after the seal although it began before falls into the next one', async (t) => {
  const log = await openLog(t)
  const { db, now } = log.deps
  const late = await connect(t, log)
  await late.query('begin')
  const written = await late.query(
    `insert into audit_events (id, at, type, actor_kind) values ('evt_late', $1, 'agent.retired', 'system') returning xid`,
    [now()],
  )
  await log.happen(3)
  await log.seal()
  assert.equal((await listSealed(db)).includes('audit_events evt_late'), false)
  await log.happen(3)
  await log.seal()
  await late.query('commit')
  assert.equal((await log.verify()).unsealed, 1)

  const [head] = await log.seal()
  assert.equal(head?.position, 3)
  assert.deepEqual(await listSealed(db), await listRows(db))
  assert.deepEqual(await log.verify(), { ok: true, sealed_through: head, unsealed: 0 })
  const earlier = await db
    .selectFrom('audit_events')
    .where(sql<boolean>`xid > ${written.rows[0].xid}`)
    .select((eb) => eb.fn.countAll<string>().as('count'))
    .executeTakeFirstOrThrow()
  assert.equal(earlier.count, '6', 'rows of later transactions were sealed before it')
})

test('rows of a rolled back transaction and of savepoints are told apart', async (t) => {
  const log = await openLog(t)
  const { db, now } = log.deps
  const client = await connect(t, log)
  const insert = (id: string) =>
    client.query(
      `insert into audit_events (id, at, type, actor_kind) values ($1, $2, 'agent.retired', 'system')`,
      [id, now()],
    )
  for (const step of ['begin', 'evt_a', 'savepoint s', 'evt_b', 'rollback to s', 'savepoint s2']) {
    await (step.startsWith('evt_') ? insert(step) : client.query(step))
  }
  await insert('evt_c')
  await log.happen()
  await log.seal()
  await client.query('commit')
  await log.seal()
  assert.deepEqual(await listSealed(db), await listRows(db))
  assert.equal((await log.verify()).ok, true)
})

test('more rows than fit one seal become several over one snapshot', async (t) => {
  const log = await openLog(t)
  await log.happen(3)
  await log.seal()
  await log.happen(7)
  const heads = await log.seal(2)
  await log.happen(1)
  await log.seal()

  assert.equal(heads.length, 4)
  const snapshots = await log.deps.db
    .selectFrom('seals')
    .select('snapshot')
    .where('position', '>', '1')
    .where('position', '<', '6')
    .distinct()
    .execute()
  assert.equal(snapshots.length, 1)
  assert.deepEqual(await listSealed(log.deps.db), await listRows(log.deps.db))
  assert.equal((await log.verify()).ok, true)
})

test('replicas that seal at once while others write make one chain, with every row in it once', async (t) => {
  const log = await openLog(t)
  const { deps } = log
  const other = openPool(deps.pool.options, () => undefined, 8)
  t.after(() => other.db.destroy())
  const replicas = [deps, { ...deps, db: other.db }]

  let writing = true
  const writers = [1, 2, 3, 4].map(async (writer) => {
    for (let n = 0; n < 25; n++) {
      const db = writer % 2 === 0 ? deps.db : other.db
      await db.transaction().execute(async (tx) => {
        await writeIssuance(tx, deps.now())
        if (n % 5 === 0) await sql`select count(*) from issuances`.execute(tx)
        await writeEvent(tx, deps.now())
      })
    }
  })
  const sealers = replicas.flatMap((replica) =>
    [1, 2].map(async () => {
      while (writing) await seal(replica, 10)
    }),
  )
  await Promise.all(writers)
  writing = false
  await Promise.all(sealers)
  await log.seal()

  const sealed = await listSealed(deps.db)
  assert.equal(sealed.length, 200)
  assert.deepEqual(sealed, await listRows(deps.db))
  assert.deepEqual(await log.verify().then(({ ok, unsealed }) => ({ ok, unsealed })), {
    ok: true,
    unsealed: 0,
  })
  assert.equal((await verifyLog(deps)).ok, true)
})

test('a replica that finds the lock taken leaves it be', async (t) => {
  const log = await openLog(t)
  await log.happen()
  const [heads] = await log.deps.db.transaction().execute(async (tx) => {
    await sql`select pg_advisory_xact_lock(1936023916)`.execute(tx)
    return [await log.seal()]
  })
  assert.deepEqual(heads, [])
  assert.equal((await log.seal()).length, 1)
})

test('without a seal key nothing is written, and sealing goes on once there is one', async (t) => {
  const log = await openLog(t)
  await log.happen()
  const refuse = async () => {
    throw new Error('no key')
  }
  await assert.rejects(seal({ ...log.deps, keys: { ...log.deps.keys, sign: refuse } }), /no key/)
  assert.equal((await log.verify()).unsealed, 1)
  assert.equal((await log.seal()).length, 1)
})

test('while the keys keep changing nothing is written; a key that changed once seals (DS-26)', async (t) => {
  const log = await openLog(t)
  await log.happen()
  const { keys } = log.deps
  const sealBy = (stillSign: typeof keys.stillSign) =>
    seal({ ...log.deps, keys: { ...keys, stillSign } })
  await assert.rejects(
    sealBy(async () => false),
    /kept changing/,
  )
  assert.equal((await log.verify()).unsealed, 1)
  let asked = 0
  const heads = await sealBy(async (db, kids) => ++asked > 1 && keys.stillSign(db, kids))
  assert.deepEqual([heads.length, asked], [1, 2])
  assert.equal((await log.verify()).ok, true)
})

test('the settings of a session change no leaf', async (t) => {
  const log = await openLog(t)
  await log.happen(3)
  await log.issue()
  await log.seal()
  const odd = openPool(
    {
      ...log.deps.pool.options,
      options: '-c timezone=Pacific/Chatham -c bytea_output=escape',
    },
    () => undefined,
    2,
  )
  t.after(() => odd.db.destroy())
  assert.equal((await verifyLog({ ...log.deps, db: odd.db })).ok, true)
  await log.happen()
  await seal({ ...log.deps, db: odd.db })
  assert.equal((await log.verify()).ok, true)
})

test('a nullable column added later leaves the old seals whole', async (t) => {
  const log = await openLog(t)
  await log.happen(2)
  await log.issue()
  await log.seal()
  await sql`alter table issuances add column trace_id text`.execute(log.deps.db)
  await sql`alter table audit_events add column trace_id text`.execute(log.deps.db)
  assert.equal((await log.verify()).ok, true)
  await log.tamper(`update audit_events set trace_id = 'x'`)
  assert.equal((await log.verify()).broken?.kind, 'changed')
})

test('the worker seals what is due, logs its heads and stops when told', async (t) => {
  const log = await openLog(t)
  await log.happen(2)
  const sealer = startSealer(log.deps, { intervalMs: 5 })
  while ((await log.verify()).sealed_through === null) await new Promise(setImmediate)
  await sealer.stop()
  const { sealed_through: head } = await log.verify()
  const lines = log.logs.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'audit.sealed')
  assert.deepEqual(
    lines.map(({ position, hash }) => ({ position, hash })),
    [{ position: 1, hash: head?.hash }],
  )
  await log.happen()
  assert.equal((await log.verify()).unsealed, 1, 'a stopped sealer seals no more')
})

test('a worker that fails says so once, and again when it works', async (t) => {
  const log = await openLog(t)
  await log.happen()
  let tries = 0
  const keys = {
    ...log.deps.keys,
    sign: async () => {
      tries++
      throw new Error('no key yet')
    },
  }
  const sealer = startSealer({ ...log.deps, keys }, { intervalMs: 1 })
  while (tries < 3) await new Promise(setImmediate)
  keys.sign = log.deps.keys.sign as never
  while ((await log.verify()).sealed_through === null) await new Promise(setImmediate)
  await new Promise(setImmediate)
  await sealer.stop()
  const said = log.logs.map((line) => JSON.parse(line).msg as string)
  assert.equal(said.filter((msg) => msg === 'audit.seal_failed').length, 1)
})

test('the lag is a metric', async (t) => {
  const log = await openLog(t)
  await log.happen(3)
  log.wait(7)
  await sealIfDue(log.deps)
  const { body } = await log.deps.metrics.expose()
  assert.match(body, /^audit_unsealed_rows 3$/m)
  assert.match(body, /^audit_unsealed_oldest_seconds 7$/m)
  await sealIfDue(log.deps)
  const { body: after } = await log.deps.metrics.expose()
  assert.match(after, /^audit_unsealed_rows 0$/m)
  assert.match(after, /^audit_unsealed_oldest_seconds 0$/m)
})

test('an idle second writes nothing', async (t) => {
  const log = await openLog(t)
  await log.happen()
  await sealIfDue(log.deps)
  const written = () =>
    sql<{ next: string }>`select pg_snapshot_xmax(pg_current_snapshot())::text as next`
      .execute(log.deps.db)
      .then(({ rows }) => rows[0]?.next)
  // Others on the same cluster write now and then, but not all the time; what always takes an id is always seen.
  for (let attempt = 0; attempt < 200; attempt++) {
    const before = await written()
    await sealIfDue(log.deps)
    if ((await written()) === before) return
  }
  assert.fail('a transaction id was taken each time')
})

test('the signature is one that a stock JOSE library verifies with the published seal key', async (t) => {
  const log = await openLog(t)
  await log.happen(2)
  await log.seal()
  const { body } = await log.admin('GET', '/seals')
  const [head] = body.data
  const key = await log.deps.db
    .selectFrom('signing_keys')
    .select(['public_jwk', 'purpose'])
    .where('kid', '=', head.kid)
    .executeTakeFirstOrThrow()
  assert.equal(key.purpose, 'seal')
  const { payload, protectedHeader } = await compactVerify(
    head.signature,
    await importJWK(key.public_jwk, 'ES256'),
  )
  assert.equal(protectedHeader.typ, 'audit-seal+jwt')
  const { hash: _hash, kid: _kid, signature: _signature, ...signed } = head
  assert.deepEqual(JSON.parse(Buffer.from(payload).toString()), signed)
})

/** A session of its own, outside of any pool. */
async function connect(t: TestContext, log: Log): Promise<pg.Client> {
  const client = new pg.Client(log.deps.pool.options)
  client.on('error', () => {})
  await client.connect()
  t.after(() => client.end())
  return client
}
