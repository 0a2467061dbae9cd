import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { createLanes } from '../../src/db/batch.ts'
import { isPassing } from '../../src/http/unavailable.ts'
import { openHouse } from '../support/house.ts'
import { tellStory } from '../support/story.ts'

const house = await openHouse({ after })

test('an exchange that waits too long for a row is told to come again, and nobody else waits with it', async () => {
  const [held, other] = [await tellStory(house), await tellStory(house)]
  for (const story of [held, other]) {
    await story.delegate()
    await story.signIn()
  }
  const client = await house.deps.pool.connect()
  try {
    await client.query('begin')
    await client.query('select 1 from users where id = $1 for update', [held.user.id])
    const waiting = [1, 2, 3, 4, 5, 6].map(() => held.exchange())
    const answered = await other.exchange()
    assert.equal(answered.status, 200, answered.text)
    const [first] = await Promise.all(waiting)
    assert.equal(first?.status, 503, first?.text)
    assert.equal(first?.body.error, 'temporarily_unavailable')
    assert.equal(first?.headers['retry-after'], '1')
  } finally {
    await client.query('rollback')
    client.release()
  }
  assert.equal((await held.exchange()).status, 200)
})

test('the database ends a transaction that has gone silent', async () => {
  const { rows } = await house.deps.pool.query(`show idle_in_transaction_session_timeout`)
  assert.equal(rows[0].idle_in_transaction_session_timeout, '10s')
  const hot = await house.deps.hot.query('show lock_timeout')
  assert.equal(hot.rows[0].lock_timeout, '2s')
})

test('lanes run so many at once, the others in the order they came, also after a failure', async () => {
  const begun: number[] = []
  const ends: (() => void)[] = []
  const lanes = createLanes(2, async (item: number) => {
    begun.push(item)
    await new Promise<void>((resolve) => ends.push(resolve))
    if (item === 1) throw new Error('failed')
    return item
  })
  const all = Promise.allSettled([1, 2, 3, 4].map(lanes))
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  await turn()
  assert.deepEqual(begun, [1, 2])
  for (let ended = 0; ended < 4; ended += 1) {
    ends[ended]?.()
    await turn()
  }
  const results = await all
  assert.deepEqual(begun, [1, 2, 3, 4])
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'fulfilled', 'fulfilled', 'fulfilled'],
  )
})

test('a connection that is cut between two statements of a transaction fails the next one and nothing else, and the caller may ask again', async () => {
  const { db, pool } = house.deps
  const begun = db.transaction().execute(async (tx) => {
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx)
    await pool.query('select pg_terminate_backend($1)', [rows[0]?.pid])
    // Long enough for the news to arrive: the connection is closed once its backend is gone.
    for (;;) {
      const { rowCount } = await pool.query('select 1 from pg_stat_activity where pid = $1', [
        rows[0]?.pid,
      ])
      if (rowCount === 0) break
    }
    await new Promise((resolve) => setImmediate(resolve))
    await sql`select 1`.execute(tx)
  })
  await assert.rejects(begun, isPassing)
  assert.equal((await pool.query('select 1 as one')).rows[0].one, 1)
})
