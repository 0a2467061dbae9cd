/** What the database says of ID-JAGs that races brought, and in which order it committed. */

import assert from 'node:assert/strict'
import type pg from 'pg'

/** That each of these agents has a row for each ID-JAG that was received, and none besides. */
export async function assertIssued(
  pool: pg.Pool,
  received: ReadonlyMap<string, readonly string[]>,
): Promise<void> {
  const { rows } = await pool.query<{ agent_id: string; jti: string }>(
    'select agent_id, jti from issuances where agent_id = any($1)',
    [[...received.keys()]],
  )
  const recorded = Map.groupBy(rows, ({ agent_id }) => agent_id)
  for (const [agent_id, jtis] of received) {
    const found = recorded.get(agent_id)?.map(({ jti }) => jti) ?? []
    assert.deepEqual(found.toSorted(), jtis.toSorted())
  }
}

/** An ID-JAG, and the row whose last change decides about its like. */
export type Decided = { jti: string; id: string | Buffer }

/**
 * Of these ID-JAGs, those that were recorded after the row was changed, by the order of commits. Undefined
 * where the database does not keep that.
 */
export async function listLater(
  pool: pg.Pool,
  { table, column = 'id' }: { table: string; column?: string },
  decided: readonly Decided[],
): Promise<string[] | undefined> {
  const { rows: settings } = await pool.query('show track_commit_timestamp')
  if (settings[0].track_commit_timestamp !== 'on') return undefined
  const type = decided[0]?.id instanceof Buffer ? 'bytea' : 'text'
  const { rows } = await pool.query<{ jti: string }>(
    `select issuances.jti from unnest($1::text[], $2::${type}[]) as decided(jti, id)
     join issuances on issuances.jti = decided.jti
     join ${table} as changed on changed.${column} = decided.id
     where pg_xact_commit_timestamp(issuances.xmin) > pg_xact_commit_timestamp(changed.xmin)`,
    [decided.map(({ jti }) => jti), decided.map(({ id }) => id)],
  )
  return rows.map(({ jti }) => jti)
}

/** That none of them was recorded after what should have prevented it. */
export async function assertEarlier(...of: Parameters<typeof listLater>): Promise<void> {
  assert.deepEqual((await listLater(...of)) ?? [], [], 'minted after the end was committed')
}
