/**
 * What locks several rows of one table takes them by id: a mint for several agents, and a rule for a host of
 * them. The order of the tables has a file of its own (lock-line.test.ts).
 */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import type pg from 'pg'
import { exchange, refresh } from '../support/contestant-requests.ts'
import { openContestantSite } from '../support/contestant-site.ts'
import { type Contestant, type Kind, makeContestants } from '../support/contestants.ts'
import { type Answer, openHouse } from '../support/house.ts'

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

  const [ending, minting] = await holding([between.agent_id], async () => {
    // It has the actor's row, waits for the one between, and will want the client's.
    const ending = house.admin('DELETE', `/client-metadata-rules/${rule.id}`)
    await untilSomebodyWaits(1)
    const minting = exchange(house, of)
    await untilSomebodyWaits(2)
    return [ending, minting] as const
  })
  const [ended, minted] = await Promise.all([ending, minting])
  assert.equal(ended.status, 204, ended.text)
  // A rule of its own still lets each of the two come.
  assert.equal(minted.status, 200, minted.text)
})

test('mints that wait for locks leave connections to those that need not', async () => {
  const plain = await makeContestants(db, 4)
  const rare = await makeContestants(db, 4, { actor: true })
  const [other] = (await makeContestants(db, 1)) as [Contestant]
  const all = [...plain, ...rare]
  let answered = 0
  const held = await holding(
    all.map(({ agent_id }) => agent_id),
    async () => {
      const asked = all.map((of) => exchange(house, of).finally(() => answered++))
      await untilSomebodyWaits(2)
      const { status, text } = await exchange(house, other)
      assert.equal(status, 200, text)
      assert.equal(answered, 0, 'it had to wait for those that wait')
      return asked
    },
  )
  // Whoever has waited too long is asked to come again.
  for (const { status, text } of await Promise.all(held)) {
    assert.ok([200, 503].includes(status), text)
  }
})

test('whoever took the owner that an agent no longer has by then is asked to come again', async () => {
  const asking: ((of: Contestant) => Promise<Answer>)[] = [
    (of) => refresh(house, of),
    ({ user_id, agent_id, audience_id }) =>
      house.admin('POST', '/delegations', {
        ...{ user_id, agent_id, audience_id },
        scopes: ['docs.read'],
        mode: 'always',
      }),
    (of) => house.admin('POST', `/agents/${of.agent_id}/approve`),
  ]
  const contestants = await makeContestants(db, asking.length)
  const [other] = (await makeContestants(db, 1)) as [Contestant]
  for (const [index, ask] of asking.entries()) {
    const of = contestants[index] as Contestant
    const { agent_id: id } = of
    if (index === 2) {
      await db.updateTable('agents').set({ status: 'requested' }).where('id', '=', id).execute()
    }
    const [asked] = await holding([id], async (holder) => {
      const asked = ask(of)
      await untilSomebodyWaits(1)
      await holder.query('update agents set owner_id = $1 where id = $2', [other.owner_id, id])
      await holder.query('commit')
      return [asked]
    })
    const { status, headers, text } = await asked
    assert.equal(status, 503, text)
    assert.equal(headers['retry-after'], '1')
    const again = await ask(of)
    assert.ok([200, 201].includes(again.status), again.text)
  }
})

/** Runs while a transaction of the test holds these agents. */
async function holding<T>(
  agents: string[],
  run: (holder: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const holder = await pool.connect()
  try {
    await holder.query('begin')
    await holder.query('select from agents where id = any($1) for update', [agents])
    return await run(holder)
  } finally {
    await holder.query('rollback')
    holder.release()
  }
}

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
  const patience = AbortSignal.timeout(30_000)
  for (;;) {
    assert.ok(!patience.aborted, 'nobody waits')
    const { rows } = await pool.query(
      `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (rows.length >= count) return
  }
}
