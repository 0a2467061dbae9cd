import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { createTestDatabase, type TestDatabase, testDatabase } from '../support/postgres.ts'
import { databaseUrl, startTestServer } from '../support/test-server.ts'

test('each test database is migrated and its own, also when several are asked for at once', async (t) => {
  const databases = await Promise.all([testDatabase(t), testDatabase(t), testDatabase(t)])
  for (const [index, database] of databases.entries()) {
    await query(database, `create table mine as select ${index} as value`)
  }
  for (const [index, database] of databases.entries()) {
    assert.deepEqual(await query(database, 'select value from mine'), [{ value: index }])
    assert.notEqual((await query(database, 'select name from kysely_migration')).length, 0)
  }
})

test('a dropped database is gone, whoever was still connected to it', async () => {
  const database = await createTestDatabase()
  const lingering = new pg.Client(database.url)
  const ended = new Promise((resolve) => lingering.on('error', resolve))
  await lingering.connect()

  await database.drop()
  await ended
  await assert.rejects(query(database, 'select 1'), /does not exist/)
  await database.drop()
})

test('a run drops what a killed run left on a given server, and spares a run beside it', async (t) => {
  const beside = await testDatabase(t)
  const given = process.env.TEST_DATABASE_URL
  t.after(() => {
    if (given === undefined) delete process.env.TEST_DATABASE_URL
    else process.env.TEST_DATABASE_URL = given
  })
  process.env.TEST_DATABASE_URL = beside.url
  const left = 'agent_idp_test_000000000000_template'
  await query(beside, `create database ${left}`)

  const server = await startTestServer()
  const names = async () =>
    (await query(beside, 'select datname from pg_database')).map(({ datname }) => datname)
  assert.ok(!(await names()).includes(left))
  assert.ok((await names()).includes(new URL(beside.url).pathname.slice(1)))
  assert.ok((await names()).includes(server.template))
  await query({ url: databaseUrl(beside.url, server.template) }, 'select from tenants')

  await server.stop()
  assert.ok(!(await names()).includes(server.template))
})

async function query({ url }: Pick<TestDatabase, 'url'>, sql: string) {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}
