import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import pg from 'pg'
import { pino } from 'pino'
import { type Config, loadConfig } from '../../src/config.ts'
import { openPool, poolConfig } from '../../src/db/pool.ts'
import type { Deps } from '../../src/deps.ts'
import { compromise } from '../../src/keys/compromise.ts'
import { CustodyError } from '../../src/keys/custody.ts'
import { keepSchedule } from '../../src/keys/keep-schedule.ts'
import { type KeyStore, openCustody } from '../../src/keys/open-custody.ts'
import { openKeyRing } from '../../src/keys/open-key-ring.ts'
import { rewrapKeys } from '../../src/keys/rewrap.ts'
import { type RotationRequest, rotateKeys } from '../../src/keys/rotate.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { keyPairsFor } from '../support/key-pairs.ts'
import { testDatabase } from '../support/postgres.ts'
import { databaseUrl } from '../support/test-server.ts'

/** A custody that makes keys of no slot of which this says so, when it is asked. */
export const unableTo =
  (fails: (slot: Parameters<KeyStore['generate']>[0]) => boolean) =>
  (custody: KeyStore): KeyStore => ({
    ...custody,
    async generate(slot) {
      if (fails(slot)) throw new CustodyError('the custody makes no keys')
      return custody.generate(slot)
    },
  })

/** A database and any number of replicas' key rings on it, under one clock. */
export async function openRings(t: TestContext, environment: NodeJS.ProcessEnv = {}) {
  const database = await testDatabase(t)
  const config = loadConfig({
    DATABASE_URL: 'postgres://unused',
    ADMIN_API_KEY: 'test-admin-key-0123456789-0123456789',
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    ...environment,
  })
  const logs: string[] = []
  /** The clock of the test is right, whatever that of the database says. */
  const clockSkew = async () => 0
  const log = pino({}, { write: (line: string) => void logs.push(line) })
  const clock = { now: new Date('2026-11-21T12:00:00Z') }
  // Enough for all that a test does at once: nobody is told that there was none in time.
  const patient = { ...poolConfig(database.connection), connectionTimeoutMillis: 60_000 }
  const { db } = openPool(patient, () => undefined, 16)
  const undo: (() => unknown)[] = []
  t.after(async () => {
    for (const step of undo) await step()
    await db.destroy()
    await database.drop()
  })

  /**
   * @param asks false: the ring looks only when told to
   * @param kept what stands before the custody, such as one that fails
   */
  const open = async (
    changes: Partial<Config> = {},
    asks = true,
    kept = (custody: KeyStore): KeyStore => custody,
  ) => {
    const now = () => new Date(clock.now)
    const settings = { ...config, ...changes }
    const custody = kept(await openCustody(settings, keyPairsFor(database.url)))
    const surroundings = { db, now, clockSkew, log, config: settings, custody }
    const keys = await openKeyRing(surroundings, asks)
    undo.push(() => keys.close())
    const deps = { ...surroundings, keys } as Deps
    const rotate = (which: RotationRequest = {}) =>
      rotateKeys(deps, which, { actor: { kind: 'system' } })
    const keep = () => keepSchedule(deps)
    const drop = (kid: string, reason = 'a test') =>
      compromise(deps, kid, { actor: { kind: 'system' }, reason })
    const rewrap = () => rewrapKeys(deps, { actor: { kind: 'system' } })
    return { ...keys, deps, rotate, keep, drop, rewrap }
  }
  const wait = (seconds: number) => {
    clock.now = addSeconds(clock.now, seconds)
  }
  const server = new pg.Pool({ connectionString: databaseUrl(database.url, 'postgres'), max: 1 })
  undo.push(() => server.end())
  const name = new URL(database.url).pathname.slice(1)
  /** The database ends every session and takes no new one, until it is `back`. */
  const away = async () => {
    await server.query(`alter database ${name} allow_connections false`)
    await server.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1',
      [name],
    )
  }
  const back = () => server.query(`alter database ${name} allow_connections true`)
  return { db, config, clock, logs, open, wait, away, back }
}
