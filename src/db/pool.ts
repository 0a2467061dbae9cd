import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import type { Tables } from './tables.ts'

export type Connection = string | pg.PoolConfig

export const poolConfig = (connection: Connection): pg.PoolConfig =>
  typeof connection === 'string' ? { connectionString: connection } : connection

/**
 * Milliseconds. A transaction that says nothing for so long is a replica that froze or was cut off: the
 * database ends it, so that its locks do not stand between an administrator and a kill switch.
 */
const PATIENCE = { connectionTimeoutMillis: 5_000, idle_in_transaction_session_timeout: 10_000 }

/**
 * The pool and the query builder on it. An idle connection that breaks is dropped and made anew at the
 * next use: the listener keeps that from ending the process.
 */
export function openPool(connection: Connection, onIdleError: (error: Error) => void, max = 10) {
  const pool = new pg.Pool({
    application_name: 'agent-idp',
    ...PATIENCE,
    max,
    ...poolConfig(connection),
  })
  listen(pool, onIdleError)
  return { pool, db: new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }) }
}

/** One connection for what requests wait for; a database that says nothing for so long is away. */
export const openAside = (connection: Connection, onIdleError: (error: Error) => void) =>
  openPool(
    { ...poolConfig(connection), connectionTimeoutMillis: 2_000, query_timeout: 2_000 },
    onIdleError,
    1,
  )

/**
 * Connections for the statements prepared by hand. Those join a handful of rows by their keys, and their
 * plans are kept: a plan made while a table was small must not become a scan when it has grown.
 */
export function openHotPool(
  connection: Connection,
  onIdleError: (error: Error) => void,
  max = 4,
): pg.Pool {
  const pool = new pg.Pool({
    application_name: 'agent-idp hot',
    ...PATIENCE,
    // Whoever waits longer for one row gives its connection back and asks the caller to come again.
    lock_timeout: 2_000,
    max,
    ...poolConfig(connection),
    onConnect: async (client) => {
      await client.query(KEYED_PLANS)
    },
  })
  listen(pool, onIdleError)
  return pool
}

/**
 * The pool listens to its idle connections only. One that breaks while a transaction holds it and nothing
 * runs on it would end the process, unless somebody listens; its next statement fails and tells.
 */
function listen(pool: pg.Pool, onIdleError: (error: Error) => void): void {
  pool.on('error', onIdleError)
  pool.on('connect', (client) => client.on('error', () => undefined))
}

const KEYED_PLANS = [
  // Rows are found by their keys, in the order the statement names the tables: also the order of locks.
  'set enable_hashjoin = off',
  'set enable_mergejoin = off',
  'set enable_seqscan = off',
  'set join_collapse_limit = 1',
  'set from_collapse_limit = 1',
  // Planning costs more than running them.
  'set plan_cache_mode = force_generic_plan',
  'set jit = off',
].join('; ')
