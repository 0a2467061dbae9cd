/**
 * A database for a test file: a copy of the run's migrated template, dropped at the end. A file that is
 * run alone, without the global setup, starts a server of its own and stops it after its last test.
 */

import { randomBytes } from 'node:crypto'
import { after, type TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { databaseUrl, startTestServer, type TestServer } from './test-server.ts'

export type TestDatabase = {
  /** Fits `pg`, DATABASE_URL and libpq alike. */
  url: string
  connection: pg.PoolConfig
  /** Also ends the sessions that are still open. Once done, does nothing. */
  drop(): Promise<void>
}

type Place = Pick<TestServer, 'url' | 'template'>

const SOURCE_IN_USE = '55006'
const MAY_NOT_END = '42501'
const ATTEMPTS = 100

let own: Promise<TestServer> | undefined

// Registered while the file loads, it belongs to the file and not to the test that asks first.
after(async () => (await own)?.stop())

/** A database that is dropped when the test ends. */
export async function testDatabase(t: Pick<TestContext, 'after'>): Promise<TestDatabase> {
  const database = await createTestDatabase()
  t.after(() => database.drop())
  return database
}

/** A database that the caller drops, after closing what is connected to it. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const server = await findServer()
  // The names of a run's databases begin alike, by which leftovers are known.
  const name = server.template.replace(/template$/, randomBytes(6).toString('hex'))
  await onServer(server, (client) => copyTemplate(client, server.template, name))
  const url = databaseUrl(server.url, name)
  let dropped: Promise<void> | undefined
  return {
    url,
    connection: { connectionString: url },
    drop() {
      dropped ??= onServer(server, (client) =>
        patiently(client, `drop database if exists ${name} with (force)`, MAY_NOT_END),
      )
      return dropped
    },
  }
}

async function findServer(): Promise<Place> {
  if (process.env.TEST_SERVER) return JSON.parse(process.env.TEST_SERVER)
  own ??= startTestServer()
  return own
}

async function onServer(server: Place, act: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client(server.url)
  await client.connect()
  try {
    await act(client)
  } finally {
    await client.end()
  }
}

const copyTemplate = (client: pg.Client, template: string, name: string) =>
  patiently(client, `create database ${name} template ${template} strategy wal_log`, SOURCE_IN_USE)

/** Autovacuum looks into a database now and then: nobody may copy it then, and only a superuser drop it. */
async function patiently(client: pg.Client, statement: string, inTheWay: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await client.query(statement)
      return
    } catch (error) {
      if ((error as pg.DatabaseError).code !== inTheWay || attempt === ATTEMPTS) throw error
      await pause(50)
    }
  }
}
