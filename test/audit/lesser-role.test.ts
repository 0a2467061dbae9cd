import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import { seal } from '../../src/audit/seal.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { asLesserRole } from '../support/lesser-role.ts'
import { openLog, writeEvent, writeIssuance } from './log.ts'

test('a role of its own writes, seals and verifies, and may change nothing nor switch the triggers off', async (t) => {
  const log = await openLog(t)
  const { now } = log.deps
  await asLesserRole(log.deps, async (lesser) => {
    await writeEvent(lesser, now())
    await writeIssuance(lesser, now())
    assert.equal((await seal({ ...log.deps, db: lesser })).length, 1)
    assert.equal((await verifyLog({ ...log.deps, db: lesser })).ok, true)
    for (const table of ['issuances', 'audit_events', 'seals']) {
      for (const statement of [
        `update ${table} set at = now()`,
        `delete from ${table}`,
        `truncate ${table}`,
        `alter table ${table} disable trigger user`,
        `drop table ${table}`,
        'set session_replication_role = replica',
      ]) {
        await assert.rejects(sql.raw(statement).execute(lesser), { code: '42501' }, statement)
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
      await assert.rejects(sql.raw(statement).execute(lesser), { code: '42501' }, statement)
    }
  })
})
