import type { Kysely } from 'kysely'
import type pg from 'pg'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import type { Tables } from './db/tables.ts'
import type { Metrics } from './http/metrics.ts'
import type { Outbound } from './http/outbound.ts'
import type { Tally } from './http/tally.ts'
import type { KeyRing } from './keys/key-ring.ts'
import type { KeyStore } from './keys/open-custody.ts'

/** What start.ts builds once and every verb receives first. */
export type Deps = {
  config: Config
  db: Kysely<Tables>
  /** The pool that `db` uses. */
  pool: pg.Pool
  /** Connections for the statements of the token exchange, prepared by hand. */
  hot: pg.Pool
  keys: KeyRing
  /** Where the private keys are; the ring alone signs with them. */
  custody: KeyStore
  /** The one guarded way out. */
  outbound: Outbound
  now: () => Date
  /** Milliseconds by which the database's clock is ahead of `now`; 0 when they agree. */
  clockSkew: () => Promise<number>
  log: Logger
  metrics: Metrics
  /** Requests of a minute, by client, user and address. */
  tally: Tally
}
