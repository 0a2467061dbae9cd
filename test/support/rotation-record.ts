/** What the database knows about rotations, in the order and at the times of its commits. */

import assert from 'node:assert/strict'
import type pg from 'pg'

/** Changes of a key, by who had it changed. */
export async function countRotations(pool: pg.Pool): Promise<{ system: number; admin: number }> {
  const { rows } = await pool.query<{ system: number; admin: number }>(
    `select count(*) filter (where actor_kind = 'system')::int as system,
       count(*) filter (where actor_kind = 'admin')::int as admin
     from audit_events where type = 'key.rotated'`,
  )
  return rows[0] ?? { system: 0, admin: 0 }
}

/** How often every one of so many slots was rotated at the least. */
export async function countRounds(pool: pg.Pool, slots: number): Promise<number> {
  const { rows } = await pool.query<{ rotated: number }>(
    `select count(*)::int as rotated from audit_events where type = 'key.rotated'
     group by detail->>'purpose', detail->>'alg'`,
  )
  return rows.length < slots ? 0 : Math.min(...rows.map(({ rotated }) => rotated))
}

/** The `kid` of every key that belongs into the JWKS. */
export async function listPublished(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ kid: string }>(
    `select kid from signing_keys where purpose <> 'seal' and status in ('next', 'active', 'retired')`,
  )
  return rows.map(({ kid }) => kid).sort()
}

/** True while this replica changes keys, or tries to. */
export async function isRotating(pool: pg.Pool, replica: string): Promise<boolean> {
  const { rowCount } = await pool.query(
    `select from pg_locks join pg_stat_activity using (pid)
     where locktype = 'advisory' and granted and application_name = $1
       and objid in (select (hashtext(name)::bigint & 4294967295)::oid
         from unnest(array['agent-idp signing keys', 'agent-idp making keys']) name)
       and pg_stat_activity.datname = current_database()`,
    [replica],
  )
  return rowCount !== 0
}

const TURNS = `turns as (
  select detail->>'kid' as kid, detail->>'retired_kid' as retired_kid, detail->>'next_kid' as next_kid,
    pg_xact_commit_timestamp(xmin) as at
  from audit_events where type = 'key.rotated')`

/** Exactly one key signs in each slot, one will, and no key signed before it was published for so many seconds. */
export async function assertSchedule(pool: pg.Pool, slots: number, ceiling: number): Promise<void> {
  const { rows: held } = await pool.query(
    `select status, count(*)::int as keys, count(distinct (purpose, alg))::int as slots
     from signing_keys where status in ('active', 'next') group by status order by status`,
  )
  assert.deepEqual(held, [
    { status: 'active', keys: slots, slots },
    { status: 'next', keys: slots, slots },
  ])
  const { rows: early } = await pool.query(
    `with ${TURNS} select turns.kid, extract(epoch from turns.at - born.at)::float as published_for
     from turns join turns born on born.next_kid = turns.kid
     where turns.at - born.at < make_interval(secs => $1)`,
    [ceiling],
  )
  assert.deepEqual(early, [], 'keys that signed before they had been published for the ceiling')
}

/**
 * Every ID-JAG was recorded while its key was active. A commit is seen a little after the time it bears.
 * @returns the seconds by which the latest one was decided on after its key's end; below 0: before.
 */
export async function assertSignedByActive(pool: pg.Pool, tolerance: number): Promise<number> {
  const { rows: early } = await pool.query(
    `with ${TURNS} select jti from issuances join turns using (kid)
     where pg_xact_commit_timestamp(issuances.xmin) < turns.at`,
  )
  assert.deepEqual(early, [], 'ID-JAGs by a key that was not active yet')
  const { rows: late } = await pool.query<{ jti: string; late: number }>(
    `with ${TURNS} select jti, extract(epoch from issuances.at - turns.at)::float as late
     from issuances join turns on turns.retired_kid = issuances.kid order by late desc limit 20`,
  )
  assert.deepEqual(
    late.filter((one) => one.late > tolerance),
    [],
    'ID-JAGs by a key that was not active any more',
  )
  const { rows: strange } = await pool.query(
    `select kid from issuances where kid not in (select kid from signing_keys where purpose = 'id_jag')`,
  )
  assert.deepEqual(strange, [])
  return late[0]?.late ?? Number.NEGATIVE_INFINITY
}
