/**
 * The moment between a mint's last look and its commit is too short to be hit often. Here it is stretched: a
 * transaction of the test holds up the mint after its row locks, and something else arrives at the other
 * replica meanwhile. Which of the two is first is for the locks to say.
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import type pg from 'pg'
import type { Amendment } from './amendments.ts'
import { assertionOf, exchange } from './contestant-requests.ts'
import { type Contestant, makeContestants } from './contestants.ts'
import type { Ending } from './endings.ts'
import type { Answer } from './house.ts'
import { assertEarlier } from './issued.ts'
import type { Arena } from './race.ts'

/** `holder`: the connection of the transaction that holds up the others. */
export type Stage = Arena & { holder: pg.PoolClient }

/** Where a mint waits when it has all its locks and is about to write its row. */
const RECORDING: [string, unknown[]] = ['select pg_advisory_xact_lock(1)', []]
const BARRIER = `
  create function wait_at_barrier() returns trigger language plpgsql as $$
    begin perform pg_advisory_xact_lock_shared(1); return new; end $$;
  create trigger barrier before insert on issuances for each row execute function wait_at_barrier()`

/** The caller releases the holder. */
export async function openStage(arena: Arena): Promise<Stage> {
  const holder = await arena.pool.connect()
  await holder.query(BARRIER)
  // The first request takes longer than a mint may be held up.
  await Promise.all(arena.replicas.map((at) => at.inject({ method: 'GET', url: '/readyz' })))
  return { ...arena, holder }
}

/** A mint that holds its locks is over before the ending is, or is none. */
export async function endWhileMinting(stage: Stage, ending: Ending, rounds = 1): Promise<void> {
  const { replicas, db, pool } = stage
  const [one, two] = replicas
  for (const of of await makeContestants(db, rounds, ending.made)) {
    const first = of.delegation_id === undefined
    await hold(stage, first ? making(of) : RECORDING)
    const minting = exchange(one, of)
    await until(() => waiting(stage, 1))
    const { answer } = await sendMeanwhile(stage, () => ending.end(two, of))

    const [minted, ended] = await Promise.all([minting, answer])
    assert.equal(ended.status, ending.status, ended.text)
    assert.ok(minted.status < 500, minted.text)
    const { table, id } = ending.row(of, ended)
    if (minted.status === 200) await assertEarlier(pool, { table }, [{ jti: jtiOf(minted), id }])
    for (const at of replicas) {
      const late = await exchange(at, of)
      assert.ok(ending.refusals.includes(late.body.error), late.text)
    }
    if (ending.delegationsEnd) await assertNoneActive(stage, of)
  }
}

/** A mint that holds its locks is over before the amendment is, and the next one says so. */
export async function amendWhileMinting(
  stage: Stage,
  { made, amend, status, row, stale }: Amendment,
  rounds = 1,
): Promise<void> {
  const { replicas, db, pool } = stage
  const [one, two] = replicas
  for (const of of await makeContestants(db, rounds, made)) {
    await hold(stage, RECORDING)
    const minting = exchange(one, of)
    await until(() => waiting(stage, 1))
    const { answer, waited } = await sendMeanwhile(stage, () => amend(two, of))
    assert.ok(waited, 'it did not wait for the mint')

    const [minted, amended] = await Promise.all([minting, answer])
    assert.equal(minted.status, 200, minted.text)
    assert.equal(amended.status, status, amended.text)
    const { table, id } = row(of)
    await assertEarlier(pool, { table }, [{ jti: jtiOf(minted), id }])
    const late = await Promise.all(replicas.map((at) => exchange(at, of)))
    const said = [minted, ...late].map(({ body }) => stale(decodeJwt(body.access_token), of))
    assert.deepEqual(said, [true, false, false])
  }
}

export async function mintTwiceWithOneAssertion(stage: Stage, rounds = 1): Promise<void> {
  const [one, two] = stage.replicas
  for (const of of await makeContestants(stage.db, rounds)) {
    const proof = assertionOf(of, one.config.issuer)
    await hold(stage, spentAlready(of, String(proof.client_assertion)))
    const both = [exchange(one, of, proof), exchange(two, of, proof)]
    await until(() => waiting(stage, 2))
    await stage.holder.query('rollback')
    const statuses = (await Promise.all(both)).map(({ status }) => status)
    assert.deepEqual(statuses.toSorted(), [200, 401])
  }
}

export async function mintTwiceByOnceDelegation(stage: Stage, rounds = 1): Promise<void> {
  const [one, two] = stage.replicas
  for (const of of await makeContestants(stage.db, rounds, { delegation: 'once' })) {
    await hold(stage, RECORDING)
    const held = exchange(one, of)
    await until(() => waiting(stage, 1))
    const { answer } = await sendMeanwhile(stage, () => exchange(two, of))
    const [first, second] = await Promise.all([held, answer])
    assert.equal(first.status, 200, first.text)
    assert.equal(second.body.error, 'interaction_required', second.text)
  }
}

async function hold({ holder }: Stage, [statement, values]: [string, unknown[]]): Promise<void> {
  // A test that failed may have left its transaction open.
  await holder.query('rollback')
  await holder.query('begin')
  await holder.query(statement, values)
}

/** Sends something while a mint is held up, and lets go once it waits for a lock too or is answered. */
async function sendMeanwhile(
  stage: Stage,
  send: () => Promise<Answer>,
): Promise<{ answer: Promise<Answer>; waited: boolean }> {
  let answered = false
  const answer = send().finally(() => {
    answered = true
  })
  await until(async () => answered || (await waiting(stage, 2)))
  const waited = !answered
  await stage.holder.query('rollback')
  return { answer, waited }
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
function making({ user_id, agent_id, audience_id }: Contestant): [string, unknown[]] {
  return [
    'select pg_advisory_xact_lock(hashtextextended($1, 0))',
    [`${user_id} ${agent_id} ${audience_id}`],
  ]
}

/** Whether so many of the servers' statements wait for a lock. */
async function waiting({ pool }: Stage, count: number): Promise<boolean> {
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

async function assertNoneActive({ pool }: Stage, { agent_id }: Contestant): Promise<void> {
  const { rows } = await pool.query(
    `select id from delegations where status = 'active' and agent_id = $1`,
    [agent_id],
  )
  assert.deepEqual(rows, [], 'still active')
}

const jtiOf = ({ body }: Answer) => decodeJwt(body.access_token).jti as string
