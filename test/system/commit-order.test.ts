/**
 * The moment between a mint's last look and its commit is too short to be hit often. Here it is stretched: a
 * transaction of the test holds up the mint after its row locks, by the digest of its client assertion, and an
 * ending arrives at the other replica meanwhile. Which of the two is first is for the locks to say.
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import pg from 'pg'
import { openPool } from '../../src/db/pool.ts'
import { assertionOf, exchange } from '../support/contestant-requests.ts'
import { type Contestant, makeContestants } from '../support/contestants.ts'
import { ENDINGS } from '../support/endings.ts'
import type { Answer } from '../support/house.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { startReplicas } from '../support/server-process.ts'

const ROUNDS = 3

const database = await createTestDatabase()
const { pool, db } = openPool(database.connection, () => undefined)
const [one, two] = await startReplicas({ after }, { DATABASE_URL: database.url })
const holder = new pg.Client(database.connection)
await holder.connect()
after(async () => {
  await holder.end()
  await db.destroy()
  await database.drop()
})

for (const ending of ENDINGS) {
  test(`a mint under way is over before ${ending.name}, or is none`, async () => {
    for (const of of await makeContestants(db, ROUNDS, ending.made)) {
      const first = of.delegation_id === undefined
      const proof = assertionOf(of, one.config.issuer)
      await hold(first ? advisoryLock(of) : spentAlready(of, String(proof.client_assertion)))

      const minting = exchange(one, of, proof)
      await until(() => waiting(1))
      let answered = false
      const ends = ending.end(two, of).finally(() => {
        answered = true
      })
      await until(async () => answered || (await waiting(2)))
      await holder.query('rollback')

      const [minted, ended] = await Promise.all([minting, ends])
      assert.equal(ended.status, ending.status, ended.text)
      assert.ok(minted.status < 500, minted.text)
      const { table, id } = ending.row(of, ended)
      if (minted.status === 200) await assertEarlier(minted, table, id)
      for (const at of [one, two]) {
        const late = await exchange(at, of)
        assert.ok(ending.refusals.includes(late.body.error), late.text)
      }
      if (ending.delegationsEnd) await assertNoneActive(of)
    }
  })
}

test('two mints under way with one client assertion: one is recorded', async () => {
  for (const of of await makeContestants(db, ROUNDS)) {
    const proof = assertionOf(of, one.config.issuer)
    await hold(spentAlready(of, String(proof.client_assertion)))
    const both = [exchange(one, of, proof), exchange(two, of, proof)]
    await until(() => waiting(2))
    await holder.query('rollback')
    const statuses = (await Promise.all(both)).map(({ status }) => status)
    assert.deepEqual(statuses.toSorted(), [200, 401])
  }
})

test('two mints under way of one once delegation: one is recorded', async () => {
  for (const of of await makeContestants(db, ROUNDS, { delegation: 'once' })) {
    const proof = assertionOf(of, one.config.issuer)
    await hold(spentAlready(of, String(proof.client_assertion)))
    const held = exchange(one, of, proof)
    await until(() => waiting(1))
    const other = exchange(two, of)
    await until(() => waiting(2))
    await holder.query('rollback')
    const [first, second] = await Promise.all([held, other])
    assert.equal(first.status, 200, first.text)
    assert.equal(second.body.error, 'interaction_required', second.text)
  }
})

async function hold([statement, values]: [string, unknown[]]): Promise<void> {
  // A test that failed may have left its transaction open.
  await holder.query('rollback')
  await holder.query('begin')
  await holder.query(statement, values)
}

/** What a mint inserts, uncommitted: whoever inserts the same waits. */
function spentAlready({ agent_id }: Contestant, assertion: string): [string, unknown[]] {
  const { jti } = decodeJwt(assertion)
  return [
    `insert into spent_assertions (digest, tenant_id, expires_at) values ($1, 'none', now())`,
    [createHash('sha256').update(`${agent_id}\n${jti}`).digest()],
  ]
}

/** What the making of a delegation takes last, after the rows it rests on. */
function advisoryLock({ user_id, agent_id, audience_id }: Contestant): [string, unknown[]] {
  return [
    'select pg_advisory_xact_lock(hashtextextended($1, 0))',
    [`${user_id} ${agent_id} ${audience_id}`],
  ]
}

/** Whether so many of the servers' statements wait for a lock. */
async function waiting(count: number): Promise<boolean> {
  const { rows } = await pool.query<{ waiting: number }>(
    `select count(*)::int as waiting from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return (rows[0]?.waiting ?? 0) >= count
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const patience = AbortSignal.timeout(30_000)
  while (!(await condition())) {
    assert.ok(!patience.aborted, 'nothing waits')
    await pause(5)
  }
}

/** That an ID-JAG's issuance was committed before what ends its like. */
async function assertEarlier(minted: Answer, table: string, id: string): Promise<void> {
  const { jti } = decodeJwt(minted.body.access_token)
  const { rows } = await pool.query(
    `select pg_xact_commit_timestamp(issuances.xmin) < pg_xact_commit_timestamp(ended.xmin) as earlier
     from issuances, ${table} as ended where jti = $1 and ended.id = $2`,
    [jti, id],
  )
  assert.deepEqual(rows, [{ earlier: true }])
}

async function assertNoneActive({ agent_id }: Contestant): Promise<void> {
  const { rows } = await pool.query(
    `select id from delegations where status = 'active' and agent_id = $1`,
    [agent_id],
  )
  assert.deepEqual(rows, [], 'still active')
}
