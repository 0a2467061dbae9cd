/**
 * What somebody holds while they wait. A transaction of the test holds one row of a contestant; whoever asks
 * then waits for it, and any other row of the contestant that cannot be taken meanwhile is held by them, be it
 * for the sake of a foreign key.
 */
import assert from 'node:assert/strict'
import type pg from 'pg'
import { hashSecret } from '../../src/oauth/secret.ts'
import type { Contestant } from './contestants.ts'
import type { Answer } from './house.ts'

/** Where a contestant has a row. Those of one rank are taken by id, or by nobody but `for share`. */
export type Place = { name: string; rank: number; where: string; key: (of: Contestant) => unknown }

/** The line of locks (revoke/end.ts). */
export const LINE: readonly Place[] = [
  place(1, 'tenant', 'tenants where id', (of) => of.tenant_id),
  place(2, 'user', 'users where id', (of) => of.user_id),
  place(2, 'owner', 'users where id', (of) => of.owner_id),
  place(3, 'agent', 'agents where id', (of) => of.agent_id),
  place(4, 'audience', 'audiences where id', (of) => of.audience_id),
  place(5, 'entitlement', 'entitlements where id', (of) => of.entitlement_id),
  place(6, 'delegation', 'delegations where id', (of) => of.delegation_id),
  place(7, 'credential', 'credentials where id', (of) => of.credential_id),
  place(8, 'session', 'sessions where id', (of) => of.session_id),
  place(9, 'code', 'authorization_codes where hash', (of) => hashSecret(of.code)),
  place(10, 'family', 'refresh_token_families where id', (of) => of.family_id),
]

function place(rank: number, name: string, where: string, key: Place['key']): Place {
  return { rank, name, where, key }
}

/**
 * Lets somebody ask while this row is held.
 * @returns what they hold beside; undefined when they do not wait for it
 */
export async function whileHeld(
  pool: pg.Pool,
  { place, of }: { place: Place; of: Contestant },
  ask: () => Promise<Answer>,
): Promise<Place[] | undefined> {
  const holder = await pool.connect()
  let asked: Promise<Answer> | undefined
  try {
    await holder.query('begin')
    const { rows } = await holder.query<{ pid: number }>(taking(place), [place.key(of)])
    const [held] = rows
    if (held === undefined) return undefined
    let answered = false
    asked = ask().finally(() => {
      answered = true
    })
    while (!answered) {
      if (await isWaitedFor(pool, held.pid)) return await heldBeside(pool, place, of)
    }
    return undefined
  } finally {
    await holder.query('rollback')
    holder.release()
    const answer = await asked
    assert.ok(answer === undefined || answer.status < 500, answer?.text)
  }
}

const taking = ({ where }: Place) => `select pg_backend_pid() as pid from ${where} = $1 for update`

async function isWaitedFor(pool: pg.Pool, pid: number): Promise<boolean> {
  const { rows } = await pool.query(
    `select from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock' and $1 = any(pg_blocking_pids(pid))`,
    [pid],
  )
  return rows.length > 0
}

async function heldBeside(pool: pg.Pool, waited: Place, of: Contestant): Promise<Place[]> {
  const held: Place[] = []
  for (const other of LINE) {
    if (other === waited) continue
    const key = [other.key(of)]
    const there = await pool.query(`select from ${other.where} = $1`, key)
    const free = await pool.query(`${taking(other)} skip locked`, key)
    if (there.rows.length > free.rows.length) held.push(other)
  }
  return held
}
