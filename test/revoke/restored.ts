/** A database as a backup left it, with nobody connected but whoever ends what it holds. */

import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import { type Config, loadConfig } from '../../src/config.ts'
import { openPool } from '../../src/db/pool.ts'
import type { Deps } from '../../src/deps.ts'
import { type KeyStore, openCustody } from '../../src/keys/open-custody.ts'
import { openKeyRing } from '../../src/keys/open-key-ring.ts'
import { endRestored } from '../../src/revoke/after-restore.ts'
import { keyPairsFor } from '../support/key-pairs.ts'
import { testDatabase } from '../support/postgres.ts'

export const LISTENS = {
  events_endpoint: 'https://chat.example/events',
  events_dialect: 'set',
} as const

export async function openRestored(t: TestContext) {
  const database = await testDatabase(t)
  const config = loadConfig({
    DATABASE_URL: 'postgres://unused',
    ADMIN_API_KEY: 'test-admin-key-0123456789-0123456789',
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    SIGNING_ALGS: 'ES256,RS256',
  })
  const log = pino({ enabled: false })
  const now = () => new Date()
  // One connection: another one would be somebody else's.
  const { db } = openPool(database.connection, () => undefined, 1)
  const custody = await openCustody(config, keyPairsFor(database.url))
  t.after(async () => {
    await db.destroy()
    await database.drop()
  })
  const clockSkew = async () => 0
  const surroundings = { db, config, now, clockSkew, log, custody }
  /** The keys as a server would find them. */
  const open = (changes: Partial<Config> = {}) =>
    openKeyRing({ ...surroundings, config: { ...config, ...changes } }, false)
  const keys = await open()
  return {
    db,
    database,
    custody,
    open,
    deps: { ...surroundings, keys } as Deps,
    run(
      choice: { reason?: string; keepPolicies?: boolean } = {},
      changes: { config?: Partial<Config>; custody?: KeyStore } = {},
    ) {
      const settings = { ...config, ...changes.config }
      return endRestored(
        { ...surroundings, custody, ...changes, config: settings },
        { reason: 'The disk is gone', keepPolicies: false, ...choice },
        100,
      )
    },
  }
}

export type Restored = Awaited<ReturnType<typeof openRestored>>
