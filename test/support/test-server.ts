/**
 * The database server of one test run: the one TEST_DATABASE_URL names, or an embedded one in a folder
 * of its own that goes away with the run. It holds a migrated template that test databases are copied from.
 *
 * Database names begin with the id of their run, and a run keeps one session open under that name. So
 * what a killed run left behind can be told from what a run beside this one is using, and is dropped.
 */

import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startEmbedded } from '../../src/db/embedded.ts'
import { migrateToLatest } from '../../src/db/migrate.ts'

export type TestServer = {
  /** A role that may create databases. */
  url: string
  /** The database to copy from. Nobody stays connected to it. */
  template: string
  stop(): Promise<void>
}

const PREFIX = 'agent_idp_test_'

export async function startTestServer(): Promise<TestServer> {
  const given = process.env.TEST_DATABASE_URL
  const server = given ? { url: given, stop: async () => {} } : await startTemporary()
  const run = `${PREFIX}${randomBytes(6).toString('hex')}`
  const session = new pg.Client({ connectionString: server.url, application_name: run })
  // Whatever ends this session shows in the tests themselves.
  session.on('error', () => {})
  try {
    await session.connect()
    await dropLeftovers(session)
    const template = `${run}_template`
    await session.query(`create database ${template}`)
    await migrateToLatest({ databaseUrl: databaseUrl(server.url, template) })
    return {
      url: server.url,
      template,
      async stop() {
        if (given) await dropAll(session, `${run}%`)
        await session.end().catch(() => {})
        await server.stop()
      },
    }
  } catch (error) {
    await session.end().catch(() => {})
    await server.stop()
    throw error
  }
}

/** The same server, another database. */
export function databaseUrl(server: string, database: string): string {
  const url = new URL(server)
  url.pathname = `/${database}`
  return url.href
}

async function startTemporary() {
  const dataDir = await mkdtemp(join(tmpdir(), 'agent-idp-test-'))
  // Under root the server runs as another account, which shall find its cluster in here.
  await chmod(dataDir, 0o711)
  const log = { info() {}, warn() {} }
  // Test files run side by side, each with pools of its own.
  const server = await startEmbedded({
    dataDir,
    log,
    settings: { max_connections: '300', track_commit_timestamp: 'on' },
  })
  // A run that is interrupted ends without stop(): then the server is on its way out already.
  const discard = () => rmSync(dataDir, { recursive: true, force: true, maxRetries: 10 })
  process.on('exit', discard)
  const { host, port, user, password, database } = server.connection
  const place = new URLSearchParams({ host, port: String(port) })
  return {
    url: `postgres://${user}:${password}@localhost/${database}?${place}`,
    async stop() {
      await server.stop()
      process.off('exit', discard)
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

async function dropLeftovers(session: pg.Client): Promise<void> {
  const { rows } = await session.query<{ run: string }>(
    `select distinct run from pg_database, substring(datname from '^${PREFIX}[0-9a-f]{12}') as run
     where run is not null and pg_get_userbyid(datdba) = current_user and not exists (
       select from pg_stat_activity where application_name = run)`,
  )
  for (const { run } of rows) await dropAll(session, `${run}%`)
}

async function dropAll(session: pg.Client, like: string): Promise<void> {
  const { rows } = await session.query<{ datname: string }>(
    'select datname from pg_database where datname like $1',
    [like],
  )
  for (const { datname } of rows) {
    await session.query(`drop database if exists ${pg.escapeIdentifier(datname)} with (force)`)
  }
}
