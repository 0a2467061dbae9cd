import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { sql } from 'kysely'
import { recordEvent } from '../../src/audit/record.ts'
import { seal } from '../../src/audit/seal.ts'
import { sealIfDue } from '../../src/audit/sealer.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { openPool } from '../../src/db/pool.ts'
import type { Deps } from '../../src/deps.ts'
import { type Log, listRows, listSealed, openLog, writeEvent, writeIssuance } from './log.ts'

/**
 * Plays another cluster: its own identifier, and transaction ids that run `ahead` of the real ones. Names
 * without a schema find these functions first; column defaults were bound to them when set.
 */
async function openCluster(
  t: TestContext,
  log: Log,
  cluster: number,
  ahead: number,
): Promise<Deps> {
  const schema = `cluster_${cluster}`
  const { db } = log.deps
  await sql.raw(`create schema ${schema}`).execute(db)
  await sql
    .raw(
      `create function ${schema}.pg_control_system(out pg_control_version integer, out system_identifier bigint) language sql as 'select 0, ${cluster}::bigint'`,
    )
    .execute(db)
  await sql
    .raw(`create function ${schema}.pg_current_snapshot() returns pg_snapshot language sql as $$
      select (pg_snapshot_xmin(now)::text::bigint + ${ahead} || ':' || pg_snapshot_xmax(now)::text::bigint + ${ahead} || ':'
        || array_to_string(array(select pg_snapshot_xip(now)::text::bigint + ${ahead}), ','))::pg_snapshot
      from pg_catalog.pg_current_snapshot() as now $$`)
    .execute(db)
  const there = openPool(
    { ...log.deps.pool.options, options: `-c search_path=${schema},pg_catalog,public` },
    () => undefined,
    4,
  )
  t.after(() => there.db.destroy())
  return { ...log.deps, db: there.db, pool: there.pool }
}

/** The log lives there from now on. */
async function moveTo(log: Log, cluster: number | undefined, ahead = 0): Promise<void> {
  const written = cluster ?? '(pg_control_system()).system_identifier'
  for (const table of ['issuances', 'audit_events']) {
    await sql
      .raw(`alter table ${table} alter column cluster set default ${written},
        alter column xid set default pg_current_xact_id()::text::bigint + ${ahead}`)
      .execute(log.deps.db)
  }
}

const write = async (deps: Deps, events = 3) => {
  for (let n = 0; n < events; n++) await writeEvent(deps.db, deps.now())
  await writeIssuance(deps.db, deps.now())
}

const judge = async (deps: Deps) => {
  const { ok, unsealed, broken } = await verifyLog(deps, undefined, { seals: 2, rows: 3 })
  return { ok, unsealed, broken }
}
const sound = { ok: true, unsealed: 0, broken: undefined }

test('a dump restored where transaction ids start over is sealed on, rows of before and after alike', async (t) => {
  const log = await openLog(t)
  const old = await openCluster(t, log, 111, 1_000_000)
  await moveTo(log, 111, 1_000_000)
  await write(old)
  await seal(old, 2)
  await write(old)
  await seal(old)
  await write(old)
  assert.deepEqual(await judge(old), { ...sound, unsealed: 4 })

  await moveTo(log, undefined)
  assert.deepEqual(await judge(log.deps), { ...sound, unsealed: 4 }, 'restored, not yet sealed')
  await write(log.deps)
  assert.deepEqual(await judge(log.deps), { ...sound, unsealed: 8 })
  const heads = await log.seal()

  assert.ok(heads.length > 0)
  assert.deepEqual(await listSealed(log.deps.db), await listRows(log.deps.db))
  assert.deepEqual(await judge(log.deps), sound)
  const events = await log.deps.db.selectFrom('audit_events').select('type').execute()
  assert.equal(events.filter(({ type }) => type === 'audit.moved').length, 1)

  for (let n = 0; n < 3; n++) {
    await write(log.deps)
    await log.seal(3)
    assert.deepEqual(await judge(log.deps), sound)
  }
  assert.deepEqual(await listSealed(log.deps.db), await listRows(log.deps.db))
})

test('new transactions that meet the ids of old ones are sealed all the same', async (t) => {
  const log = await openLog(t)
  const old = await openCluster(t, log, 111, 10)
  await moveTo(log, 111, 10)
  for (let n = 0; n < 4; n++) {
    await write(old)
    await seal(old)
  }
  await write(old)
  await moveTo(log, undefined)
  for (let n = 0; n < 8; n++) {
    await write(log.deps)
    await log.seal()
    assert.deepEqual(await judge(log.deps), sound)
  }
  const { rows } = await sql`select from audit_events a join audit_events b using (xid)
    where a.cluster = 111 and b.cluster <> 111`.execute(log.deps.db)
  assert.ok(rows.length > 0, 'ids did meet')
  assert.deepEqual(await listSealed(log.deps.db), await listRows(log.deps.db))
})

test('a log that moves away and comes back loses and doubles nothing', async (t) => {
  const log = await openLog(t)
  const away = await openCluster(t, log, 222, 5_000)
  await write(log.deps)
  await log.seal()
  await write(log.deps)

  await moveTo(log, 222, 5_000)
  await write(away)
  await seal(away, 2)
  assert.deepEqual(await judge(away), sound)
  await write(away)

  await moveTo(log, undefined)
  assert.deepEqual(await judge(log.deps), { ...sound, unsealed: 4 })
  await write(log.deps)
  await log.seal(3)
  assert.deepEqual(await judge(log.deps), sound)
  await write(log.deps)
  await log.seal()

  const third = await openCluster(t, log, 333, -700)
  await moveTo(log, 333, -700)
  await write(third)
  await seal(third)
  assert.deepEqual(await judge(third), sound)
  assert.deepEqual(await listSealed(log.deps.db), await listRows(log.deps.db))
})

test('a cluster in which nothing was sealed leaves its rows to the next', async (t) => {
  const log = await openLog(t)
  const [first, second] = [await openCluster(t, log, 111, 900), await openCluster(t, log, 222, 500)]
  await moveTo(log, 111, 900)
  await write(first)
  await moveTo(log, 222, 500)
  await write(second)
  await moveTo(log, undefined)
  await write(log.deps)
  await log.seal()
  assert.deepEqual(await judge(log.deps), sound)
  assert.deepEqual(await listSealed(log.deps.db), await listRows(log.deps.db))
})

test('an idle restored log is sealed once, with the event that tells of the move', async (t) => {
  const log = await openLog(t)
  const old = await openCluster(t, log, 111, 1_000_000)
  await moveTo(log, 111, 1_000_000)
  await write(old)
  await sealIfDue(old)
  await moveTo(log, undefined)
  await sealIfDue(log.deps)
  await sealIfDue(log.deps)
  const seals = await log.deps.db.selectFrom('seals').select(['position', 'row_count']).execute()
  assert.deepEqual(
    seals.map(({ row_count }) => row_count),
    [4, 1],
  )
  const { body } = await log.admin('GET', '/audit-events?type=audit.moved')
  assert.deepEqual(body.data[0].detail.from, '111')
})

test('whoever serves a backup without after-restore is warned, whoever ran it is not', async (t) => {
  for (const completed of [false, true]) {
    const log = await openLog(t)
    const old = await openCluster(t, log, 111, 1_000_000)
    await moveTo(log, 111, 1_000_000)
    await recordEvent(old.db, {
      type: 'restore.completed',
      at: old.now(),
      actor: { kind: 'system' },
    })
    await sealIfDue(old)
    await moveTo(log, undefined)
    const { db, now } = log.deps
    if (completed) {
      await recordEvent(db, { type: 'restore.completed', at: now(), actor: { kind: 'system' } })
    }
    for (let n = 0; n < 2; n++) await sealIfDue(log.deps)
    const warned = log.logs.filter((line) => line.includes('npm run after-restore'))
    assert.equal(warned.length, completed ? 0 : 1)
    for (const line of warned) assert.equal(JSON.parse(line).level, 40)
  }
})

test('after a move, rows slipped in under any cluster show', async (t) => {
  const log = await openLog(t)
  const old = await openCluster(t, log, 111, 1_000_000)
  await moveTo(log, 111, 1_000_000)
  await write(old)
  await seal(old)
  await write(old)
  await moveTo(log, undefined)
  await write(log.deps)
  await log.seal()
  const { rows } = await sql<{ cluster: string; xid: string }>`
    select cluster, xid from audit_events union select cluster, xid + 500000 from audit_events where cluster = 111
    union select 999, 5`.execute(log.deps.db)
  for (const { cluster, xid } of rows) {
    await log.tamper(`insert into audit_events (id, at, type, actor_kind, cluster, xid)
      values ('evt_slipped', now(), 'agent.approved', 'admin', ${cluster}, ${xid})`)
    const { ok, broken } = await judge(log.deps)
    assert.equal(ok, false, `${cluster} ${xid}`)
    assert.deepEqual(broken, { table: 'audit_events', id: 'evt_slipped', kind: 'inserted' })
    await log.tamper(`delete from audit_events where id = 'evt_slipped'`)
  }
  assert.equal((await judge(log.deps)).ok, true)
})

test('transaction ids that go back within one cluster stop the sealing', async (t) => {
  const log = await openLog(t)
  const cluster = await openCluster(t, log, 111, 1_000)
  await moveTo(log, 111, 1_000)
  await write(cluster)
  await seal(cluster)
  await sql
    .raw(`create or replace function cluster_111.pg_current_snapshot() returns pg_snapshot language sql as $$
      select pg_catalog.pg_current_snapshot() $$`)
    .execute(log.deps.db)
  await assert.rejects(seal(cluster), /went back/)
})
