/** What locks several rows of one table takes them by id: a mint for several agents, and a rule for a host of them. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { exchange } from '../support/contestant-requests.ts'
import { openContestantSite } from '../support/contestant-site.ts'
import { type Contestant, type Kind, makeContestants } from '../support/contestants.ts'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after }, { RATE_LIMITS: 'off' })
const { db, pool } = house.deps
const site = await openContestantSite({ after })

test('a mint with an actor and the end of the rule that lets both come do not wait in a circle', async () => {
  const [of, between] = await inOrder({ clients: site.clients, actor: true })
  const { body: rule, text } = await house.admin('POST', '/client-metadata-rules', {
    host: site.host,
    owner_id: of.owner_id,
    purpose: 'races',
    agent_expires_at: new Date(Date.now() + 3_600_000).toISOString(),
  })
  assert.ok(rule.id, text)
  // The documents have been read, and the rows follow them.
  assert.equal((await exchange(house, of)).status, 200)

  const holder = await pool.connect()
  await holder.query('begin')
  await holder.query('select from agents where id = $1 for update', [between.agent_id])
  // It has the actor's row, waits for the one between, and will want the client's.
  const ending = house.admin('DELETE', `/client-metadata-rules/${rule.id}`)
  await untilSomebodyWaits(1)
  const minting = exchange(house, of)
  await untilSomebodyWaits(2)
  await holder.query('rollback')
  holder.release()

  const [ended, minted] = await Promise.all([ending, minting])
  assert.equal(ended.status, 204, ended.text)
  // A rule of its own still lets each of the two come.
  assert.equal(minted.status, 200, minted.text)
})

/** A contestant whose actor comes before it in the order of ids, and one whose agent is between the two. */
async function inOrder(kind: Kind): Promise<[Contestant, Contestant]> {
  const made = await makeContestants(db, 40, kind)
  const { rows } = await sql<{ of: string; between: string }>`
    select c.agent_id as of, m.id as between
    from actor_permissions c join agents m on m.id > c.actor_id and m.id < c.agent_id limit 1`.execute(
    db,
  )
  const find = (id: string | undefined) =>
    made.find(({ agent_id, actor }) => agent_id === id || actor?.agent_id === id) ?? assert.fail()
  const [found] = rows
  return [find(found?.of), { ...find(found?.between), agent_id: found?.between ?? '' }]
}

/** Until so many statements of this database wait for a lock. */
async function untilSomebodyWaits(count: number): Promise<void> {
  for (;;) {
    const { rows } = await pool.query(
      `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (rows.length >= count) return
  }
}
