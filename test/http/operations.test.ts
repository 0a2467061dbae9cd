import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import Fastify from 'fastify'
import { sql } from 'kysely'
import { metricsRoutes, operationsRoutes } from '../../src/http/operations.ts'
import { openHouse } from '../support/house.ts'

type Options = Parameters<typeof operationsRoutes>[1]

/** The two routes on stubs: a database whose clock says what it is told to. */
async function open(options: Partial<Options> & { behind?: number; missing?: number }) {
  const app = Fastify()
  const at = new Date(Date.now() - (options.behind ?? 0))
  await app.register(operationsRoutes, {
    pool: { query: (async () => ({ rows: [{ at, missing: options.missing ?? 0 }] })) as never },
    keys: { ready: () => true },
    now: () => new Date(at.getTime() + (options.behind ?? 0)),
    ...options,
  })
  return {
    get: async (url: string) => {
      const answer = await app.inject(url)
      return { status: answer.statusCode, body: answer.json(), headers: answer.headers }
    },
  }
}

test('a whole server lives and is ready, and says so to everyone', async (t) => {
  const house = await openHouse(t)
  house.clock.now = new Date()
  for (const url of ['/livez', '/readyz']) {
    const { status, body, headers } = await house.inject({ url })
    assert.equal(status, 200)
    assert.deepEqual(body, { ok: true })
    assert.equal(headers['cache-control'], 'no-store')
  }
})

test('a server whose database is gone lives, and is not ready', async (t) => {
  const house = await openHouse(t)
  house.clock.now = new Date()
  const query = mock.method(house.deps.pool, 'query', async () => {
    throw new Error('connection refused')
  })
  const { status, body } = await house.inject({ url: '/readyz' })
  assert.equal(status, 503)
  assert.deepEqual(body, { ok: false, failed: ['database'] })
  assert.equal((await house.inject({ url: '/livez' })).status, 200)
  query.mock.restore()
  assert.equal((await house.inject({ url: '/readyz' })).status, 200)
})

test('a database that does not answer is not waited for longer than two seconds', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const asked = Promise.withResolvers<void>()
  const query = () => {
    asked.resolve()
    return new Promise(() => {})
  }
  const app = await open({ pool: { query: query as never } })
  const answer = app.get('/readyz')
  await asked.promise
  t.mock.timers.tick(2_000)
  assert.deepEqual((await answer).body, { ok: false, failed: ['database'] })
})

test('a clock more than two seconds from the database is not ready, either way', async () => {
  for (const behind of [2_001, -2_001, 3_600_000]) {
    const { status, body } = await (await open({ behind })).get('/readyz')
    assert.equal(status, 503)
    assert.deepEqual(body.failed, ['clock'], `${behind}`)
  }
  for (const behind of [0, 2_000, -2_000]) {
    assert.equal((await (await open({ behind })).get('/readyz')).status, 200)
  }
})

test('a server without keys, or behind in its migrations, is not ready', async () => {
  const keyless = await (await open({ keys: { ready: () => false } })).get('/readyz')
  assert.deepEqual(keyless.body, { ok: false, failed: ['keys'] })
  const both = await (await open({ keys: { ready: () => false }, missing: 1 })).get('/readyz')
  assert.deepEqual(both.body, { ok: false, failed: ['keys', 'migrations'] })
})

test('a migration that was not run shows; one of a newer release does not matter', async (t) => {
  const house = await openHouse(t)
  house.clock.now = new Date()
  const { db } = house.deps
  await sql`insert into kysely_migration (name, timestamp) values ('9999-newer', '')`.execute(db)
  assert.equal((await house.inject({ url: '/readyz' })).status, 200)
  await sql`delete from kysely_migration where name like '%-audit'`.execute(db)
  const { body } = await house.inject({ url: '/readyz' })
  assert.deepEqual(body.failed, ['migrations'])
})

test('however many ask at once, the database is asked once', async () => {
  let asked = 0
  const answer = Promise.withResolvers<object>()
  const query = () => {
    asked++
    return answer.promise
  }
  const app = await open({ pool: { query: query as never } })
  const answers = Array.from({ length: 20 }, () => app.get('/readyz'))
  while (asked === 0) await new Promise(setImmediate)
  answer.resolve({ rows: [{ at: new Date(), missing: 0 }] })
  for (const { status } of await Promise.all(answers)) assert.equal(status, 200)
  assert.equal(asked, 1)
})

test('the metrics leave as the text that a scraper reads', async () => {
  const app = Fastify()
  const expose = async () => ({ contentType: 'text/plain; version=0.0.4', body: 'a 1\n' })
  await app.register(metricsRoutes, { metrics: { expose } as never })
  const answer = await app.inject('/metrics')
  assert.equal(answer.headers['content-type'], 'text/plain; version=0.0.4')
  assert.equal(answer.body, 'a 1\n')
})

test('metrics are for an admin key with metrics:read', async (t) => {
  const house = await openHouse(t)
  const read = (key?: string) =>
    house.inject({ url: '/metrics', headers: key ? { authorization: `Bearer ${key}` } : {} })
  assert.equal((await read()).status, 401)
  assert.equal((await read(house.config.adminApiKey)).status, 200)
  const expires_at = new Date(house.deps.now().getTime() + 3600_000).toISOString()
  const make = async (scopes: string[]) =>
    (await house.admin('POST', '/admin-keys', { name: 'Monitoring', scopes, expires_at })).body.key
  assert.equal((await read(await make(['metrics:read']))).status, 200)
  assert.equal((await read(await make(['audit:read']))).status, 403)
})
