import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { sql } from 'kysely'
import { seal } from '../../src/audit/seal.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { migrateToLatest } from '../../src/db/migrate.ts'
import { openPool } from '../../src/db/pool.ts'
import { openLog, writeEvent, writeIssuance } from './log.ts'

test('a role of its own writes, seals and verifies, and may change nothing nor switch the triggers off', async (t) => {
  const log = await openLog(t)
  const { db, pool, now } = log.deps
  const role = `lesser_${randomBytes(6).toString('hex')}`
  // The owner of an embedded database may make no roles; its superuser has the same password.
  const { rows } = await sql<{ may: boolean }>`
    select rolcreaterole or rolsuper as may from pg_roles where rolname = current_user`.execute(db)
  const maker = rows[0]?.may ? pool.options : asRole(pool.options, 'postgres')
  const { db: roles } = openPool({ ...maker, max: 1 }, () => undefined)
  t.after(() => roles.destroy())
  await sql.raw(`create role ${role} login password '${role}'`).execute(roles)
  await migrateToLatest(pool.options, role)
  const lesser = openPool({ ...asRole(pool.options, role, role), max: 2 }, () => undefined)
  t.after(async () => {
    await lesser.db.destroy()
  })

  await writeEvent(lesser.db, now())
  await writeIssuance(lesser.db, now())
  assert.equal((await seal({ ...log.deps, db: lesser.db })).length, 1)
  assert.equal((await verifyLog({ db: lesser.db })).ok, true)
  for (const table of ['issuances', 'audit_events', 'seals']) {
    for (const statement of [
      `update ${table} set at = now()`,
      `delete from ${table}`,
      `truncate ${table}`,
      `alter table ${table} disable trigger user`,
      `drop table ${table}`,
      'set session_replication_role = replica',
    ]) {
      await assert.rejects(sql.raw(statement).execute(lesser.db), { code: '42501' }, statement)
    }
  }
  // Which transaction wrote a row is for the database to say: a row that claims another hides from the seals.
  for (const [table, column] of [
    ['audit_events', 'xid'],
    ['audit_events', 'cluster'],
    ['issuances', 'xid'],
    ['issuances', 'cluster'],
  ]) {
    const statement = `insert into ${table} (${column}) values (1)`
    await assert.rejects(sql.raw(statement).execute(lesser.db), { code: '42501' }, statement)
  }
  await lesser.db.destroy()
  await sql.raw(`drop owned by ${role}`).execute(roles)
  await sql.raw(`drop role ${role}`).execute(roles)
  await roles.destroy()
})

function asRole(
  { connectionString }: { connectionString?: string | undefined },
  role: string,
  password?: string,
) {
  const url = new URL(connectionString ?? '')
  url.username = role
  if (password !== undefined) url.password = password
  return { connectionString: url.href }
}
