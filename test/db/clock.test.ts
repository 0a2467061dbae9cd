import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { clockSkew, createClockGate } from '../../src/db/clock.ts'
import { openPool } from '../../src/db/pool.ts'
import { createTestDatabase } from '../support/postgres.ts'

const database = await createTestDatabase()
const { db } = openPool(database.connection, () => undefined, 1)
after(async () => {
  await db.destroy()
  await database.drop()
})

/** Milliseconds by which this machine's clock is ahead. */
let ahead = 0
const now = () => new Date(Date.now() + ahead)
const HOUR = 3_600_000

test('nothing is done by a clock that is not that of the database, before it or behind', async () => {
  const requireTime = createClockGate({ db, now })
  for (ahead of [HOUR, -HOUR]) await assert.rejects(requireTime(), /clock of this machine/)
  ahead = 0
  await requireTime()
  ahead = HOUR
  await assert.rejects(requireTime(), /clock of this machine/)
})

test('a clock is told how far that of the database is ahead of it', async () => {
  for (ahead of [HOUR, -HOUR]) {
    const skew = await clockSkew({ db, now })
    assert.ok(Math.abs(skew + ahead) < HOUR / 2, `${skew}`)
  }
  ahead = 0
  assert.equal(await clockSkew({ db, now }), 0)
})

test('a clock that was right is believed for a while, one that was wrong is looked at again', async () => {
  const requireTime = createClockGate({ db, now }, HOUR)
  ahead = HOUR
  await assert.rejects(requireTime())
  ahead = 0
  await requireTime()
  ahead = HOUR
  await requireTime()
})
