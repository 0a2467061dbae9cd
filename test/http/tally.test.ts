// Requests counted by replicas that share a database: several tallies, each with the pool of its own that a replica has.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import type { Logger } from 'pino'
import { openPool } from '../../src/db/pool.ts'
import { startSharing } from '../../src/http/keep-sharing.ts'
import { keptBack } from '../../src/http/request-count.ts'
import { addCounts } from '../../src/http/share-counts.ts'
import { createTally, MOST_KEYS, type Tally } from '../../src/http/tally.ts'
import { createTestDatabase } from '../support/postgres.ts'

const MINUTE = 60_000
const BUDGET = { name: 'test', perMinute: 100 }
const KEPT = keptBack(BUDGET)

const database = await createTestDatabase()
const pools = [1, 2, 3].map(() => openPool(database.connection, () => undefined, 2))
after(async () => {
  for (const { db } of pools) await db.destroy()
  await database.drop()
})

/** All replicas see one clock; a test that wants a minute of its own moves it there. */
const clock = { at: Date.UTC(2026, 10, 21) }
const nextMinute = () => {
  clock.at = (Math.floor(clock.at / MINUTE) + 1) * MINUTE
}
const config = { rateLimits: true }
const replica = (at: number, now = () => new Date(clock.at)): Tally =>
  createTally({ pool: poolOf(at), config, now })
const poolOf = (at: number) => {
  const { pool } = pools[at] ?? assert.fail()
  return pool
}

/** @returns how many of so many requests were let through. */
function ask(tally: Tally, times: number, key = 'a', budget = BUDGET): number {
  let through = 0
  for (let count = 0; count < times; count++) if (!tally.take(budget, key)) through += 1
  return through
}

/** What the table holds of the tests' budget. */
const shared = async () => {
  const { rows } = await poolOf(0).query(
    `select key, points, expire::float8 from rate_limits where key like 'test:%' order by key`,
  )
  return rows as { key: string; points: number; expire: number }[]
}
const forget = () => poolOf(0).query('delete from rate_limits')

test('a replica lets exactly the budget through in each minute, and says when the next one begins', () => {
  const step = fc.record({ wait: fc.nat(30_000), key: fc.constantFrom('a', 'b') })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step), (perMinute, steps) => {
      nextMinute()
      const tally = replica(0)
      const budget = { name: 'test', perMinute }
      const through = new Map<string, number>()
      for (const { wait, key } of steps) {
        clock.at += wait
        const slot = `${key} ${Math.floor(clock.at / MINUTE)}`
        const before = through.get(slot) ?? 0
        const exceeded = tally.take(budget, key)
        assert.equal(exceeded === undefined, before < perMinute)
        if (exceeded) {
          const { retryAfter } = exceeded
          const from = clock.at
          assert.equal(
            Math.floor((from + retryAfter * 1000) / MINUTE),
            Math.floor(from / MINUTE) + 1,
          )
          assert.equal(
            Math.floor((from + (retryAfter - 1) * 1000) / MINUTE),
            Math.floor(from / MINUTE),
          )
        } else through.set(slot, before + 1)
      }
    }),
  )
})

test('the first refusal of a minute is told from the others', () => {
  nextMinute()
  const tally = replica(0)
  ask(tally, 100)
  assert.deepEqual(
    [1, 2].map(() => tally.take(BUDGET, 'a')?.first),
    [true, false],
  )
  nextMinute()
  ask(tally, 100)
  assert.equal(tally.take(BUDGET, 'a')?.first, true)
})

test('keys and budgets are counted apart', () => {
  nextMinute()
  const tally = replica(0)
  assert.equal(ask(tally, 200, 'a'), 100)
  assert.equal(ask(tally, 200, 'b'), 100)
  assert.equal(ask(tally, 200, 'a', { name: 'other', perMinute: 7 }), 7)
})

test('what is given back may be taken again, and never more than was taken', () => {
  nextMinute()
  const tally = replica(0)
  tally.giveBack(BUDGET, 'a')
  ask(tally, 100)
  tally.giveBack(BUDGET, 'a')
  assert.equal(ask(tally, 5), 1)
  nextMinute()
  tally.giveBack(BUDGET, 'a')
  assert.equal(ask(tally, 200), 100)
})

test('memory ends somewhere: keys beyond the most are let through, the others stay limited', () => {
  nextMinute()
  const tally = replica(0)
  ask(tally, 100, 'first')
  for (let count = 1; count < MOST_KEYS; count++) tally.take(BUDGET, `key ${count}`)
  assert.equal(ask(tally, 300, 'one more'), 300)
  assert.equal(ask(tally, 1, 'first'), 0)
})

test('what one replica has shared counts at the others', async () => {
  nextMinute()
  const [one, two] = [replica(0), replica(1)]
  assert.equal(ask(one, 60), 60)
  await one.share()
  assert.equal(ask(two, KEPT), KEPT)
  await two.share()
  assert.equal(ask(two, 100), 40 - KEPT)
  await two.share()
  // One knows of nothing new until it has something to tell.
  assert.equal(ask(one, KEPT), KEPT)
  await one.share()
  assert.equal(ask(one, 100), 0)
})

test('replicas together let no more through than the docs say, however requests and sharing fall', async () => {
  const step = fc.record({
    at: fc.nat(2),
    requests: fc.integer({ min: 0, max: 40 }),
    shares: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      nextMinute()
      const replicas = [0, 1, 2].map((at) => ({ tally: replica(at), since: 0, most: 0 }))
      let through = 0
      let asked = 0
      for (const { at, requests, shares } of steps) {
        const one = replicas[at] ?? assert.fail()
        const taken = ask(one.tally, requests)
        asked += requests
        through += taken
        one.since += taken
        one.most = Math.max(one.most, one.since)
        if (!shares) continue
        await one.tally.share()
        one.since = 0
      }
      const period = Math.max(...replicas.map(({ most }) => most))
      assert.ok(through <= BUDGET.perMinute + 2 * (KEPT + period), `${through} got through`)
      assert.ok(through >= Math.min(asked, BUDGET.perMinute), `only ${through} got through`)
    }),
    { numRuns: 60 },
  )
})

test('keys that are used little are never written down, the others as digests that end', async () => {
  nextMinute()
  await forget()
  const tally = replica(0)
  ask(tally, KEPT - 1, '192.0.2.1')
  await tally.share()
  assert.deepEqual(await shared(), [])
  ask(tally, 1, '192.0.2.1')
  await tally.share()
  await tally.share()
  const [row, ...others] = await shared()
  assert.deepEqual(others, [])
  assert.match(row?.key ?? '', /^test:\d+:[\w-]{43}$/)
  assert.equal(row?.points, KEPT)
  assert.ok(
    (row?.expire ?? 0) > clock.at + MINUTE,
    'a replica whose clock is behind still finds it',
  )
})

test('what is refused writes nothing', async () => {
  nextMinute()
  await forget()
  const tally = replica(0)
  ask(tally, 1000)
  await tally.share()
  ask(tally, 1000)
  await tally.share()
  assert.deepEqual(
    (await shared()).map(({ points }) => points),
    [100],
  )
})

test('many keys travel in one statement, and replicas that share the same at once do not block each other', async () => {
  nextMinute()
  await forget()
  const replicas = [replica(0), replica(1), replica(2)]
  const keys = Array.from({ length: 500 }, (_, at) => `key ${at}`)
  for (const [turn, tally] of replicas.entries()) {
    // Each meets the keys in an order of its own.
    const stride = [1, 3, 7][turn] ?? assert.fail()
    for (const at of keys.keys()) ask(tally, KEPT, keys[(at * stride) % keys.length])
  }
  await Promise.all(replicas.map((tally) => tally.share()))
  const points = (await shared()).map((row) => row.points)
  assert.equal(points.length, keys.length)
  assert.deepEqual(new Set(points), new Set([3 * KEPT]))
})

test('all replicas take the rows in one order, and find their own totals again', async () => {
  const asked: string[][] = []
  const query = async ({ values: [keys, points] }: { values: [string[], number[]] }) => {
    asked.push(keys)
    return { rows: keys.map((key, at) => ({ key, points: points[at] })).reverse() }
  }
  const pool = { query } as unknown as Parameters<typeof addCounts>[0]
  const counts = [3, 1, 2].map((points) => ({
    count: { budget: BUDGET, key: `key ${points}` },
    points,
  }))
  assert.deepEqual(await addCounts(pool, 1, counts), [3, 1, 2])
  assert.deepEqual(await addCounts(pool, 1, counts.toReversed()), [2, 1, 3])
  const [one, other] = asked
  assert.deepEqual(one, other)
})

test('what was given back is not shared', async () => {
  nextMinute()
  await forget()
  const tally = replica(0)
  ask(tally, KEPT)
  tally.giveBack(BUDGET, 'a')
  await tally.share()
  assert.deepEqual(await shared(), [])
  ask(tally, 1)
  await tally.share()
  assert.equal((await shared())[0]?.points, KEPT)
})

test('without the database a replica goes by its own count, and shares it later', async () => {
  nextMinute()
  await forget()
  let away = true
  const { pool } = pools[0] ?? assert.fail()
  const query = (asked: never) =>
    away ? Promise.reject(new Error('the database is away')) : pool.query(asked)
  const tally = createTally({
    pool: { query } as unknown as typeof pool,
    config,
    now: () => new Date(clock.at),
  })
  ask(tally, 70)
  await assert.rejects(tally.share(), /away/)
  assert.equal(ask(tally, 100), 30)
  await assert.rejects(tally.share(), /away/)
  away = false
  await tally.share()
  assert.equal((await shared())[0]?.points, 100)
})

test('a minute that has passed is no longer shared', async () => {
  nextMinute()
  await forget()
  const tally = replica(0)
  ask(tally, 70)
  nextMinute()
  await tally.share()
  assert.deepEqual(await shared(), [])
})

test('RATE_LIMITS=off counts nothing', async () => {
  const tally = createTally({
    pool: poolOf(0),
    config: { rateLimits: false },
    now: () => new Date(clock.at),
  })
  assert.equal(ask(tally, 1000), 1000)
  await tally.share()
})

test('the worker shares until it is stopped, and says once when it cannot', async () => {
  const lines: string[] = []
  const tell = (_: unknown, text?: string) => void lines.push(text ?? String(_))
  const log = { warn: tell, info: tell } as unknown as Logger
  const outcomes = ['fails', 'fails', 'works', 'works']
  await new Promise<void>((resolve) => {
    const share = async () => {
      const outcome = outcomes.shift()
      if (outcome === undefined) resolve(worker.stop())
      if (outcome === 'fails') throw new Error('the database is away')
    }
    const worker = startSharing({ tally: { ...replica(0), share }, log }, { intervalMs: 0 })
  })
  assert.deepEqual(lines, [
    'rate limits are counted by each replica alone',
    'rate limits are counted over all replicas again',
  ])
})
