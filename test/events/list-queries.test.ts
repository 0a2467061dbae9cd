// What a page of the list of events reads: about as much as it shows, however many there are (EV-13).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql, type Transaction } from 'kysely'
import type { Tables } from '../../src/db/tables.ts'
import { listDeliveries } from '../../src/events/list-queries.ts'
import { openHouse } from '../support/house.ts'
import { makeParties } from '../support/parties.ts'

const EVENTS = 6_000

test('a page of what was told of an agent reads no more for an agent of many users, nor of few', async (t) => {
  const house = await openHouse(t)
  const { db } = house.deps
  const [busy, quiet] = [await makeParties(house), await makeParties(house)]
  const { tenant_id, audience_id } = busy
  await sql`insert into users (id, created_at, updated_at)
    select 'usr_' || lpad(n::text, 22, '0'), now(), now() from generate_series(1, ${EVENTS}::int) n`.execute(
    db,
  )
  for (const [{ agent_id }, every] of [
    [busy, 2],
    [quiet, 1_000],
  ] as const) {
    await sql`insert into delegations (id, user_id, agent_id, audience_id, scopes, claims, mode, source, sub_asserted, created_at)
      select 'dlg_' || substr(md5(${agent_id}::text || n), 1, 22), 'usr_' || lpad(n::text, 22, '0'), ${agent_id}, ${audience_id}, '{}', '{}', 'always', 'user', 'usr_' || lpad(n::text, 22, '0'),
        now() - interval '1 day'
      from generate_series(1, ${EVENTS}::int) n where n % ${every}::int = 0`.execute(db)
  }
  await sql`insert into event_deliveries (id, tenant_id, audience_id, user_id, dialect, endpoint, aud, sub, event_type, jti,
      status, delivered_at, created_at, expires_at)
    select 'dlv_' || lpad(n::text, 22, '0'), ${tenant_id}, ${audience_id}, 'usr_' || lpad(n::text, 22, '0'), 'set', 'https://chat.example/', 'https://chat.example', 'usr_' || lpad(n::text, 22, '0'), 't',
      'jti_' || n, 'delivered', now(), now() + n * interval '1 second', now() + interval '1 day'
    from generate_series(1, ${EVENTS}::int) n`.execute(db)
  await sql`analyze delegations, event_deliveries`.execute(db)

  for (const [agent_id, shown, most] of [
    [busy.agent_id, 51, 1_000],
    [quiet.agent_id, 6, 100],
  ] as const) {
    await db.transaction().execute(async (tx) => {
      await sql`set local max_parallel_workers_per_gather = 0`.execute(tx)
      const before = await countRead(tx)
      const { length } = await listDeliveries(tx, { agent_id }, { limit: 50 })
      const read = (await countRead(tx)) - before
      assert.equal(length, shown)
      assert.ok(read > 0 && read < most, `${read} events read for a page`)
    })
  }
})

/** Rows of the table that this connection has looked at. */
async function countRead(tx: Transaction<Tables>): Promise<number> {
  const { rows } = await sql<{ read: number }>`
    select (seq_tup_read + coalesce(idx_tup_fetch, 0))::int as read
    from pg_stat_xact_user_tables where relname = 'event_deliveries'`.execute(tx)
  return rows[0]?.read ?? 0
}
