/** Two servers that tell of endings, a database that is watched, and relying apps by a script. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type pg from 'pg'
import { openPool } from '../../src/db/pool.ts'
import type { Tables } from '../../src/db/tables.ts'
import type { AppKind } from './app-script.ts'
import { giveUp, hasten, JUDGE } from './event-storm.ts'
import { watchEvents } from './event-watch.ts'
import { type Fleet, openFleet } from './fleet.ts'
import { createTestDatabase } from './postgres.ts'
import { type ScriptedApps, startScriptedApps } from './scripted-apps.ts'
import { TEST_ONLY_CERTIFICATE } from './tls.ts'

export type EventScene = {
  pool: pg.Pool
  db: Kysely<Tables>
  fleet: Fleet
  apps: ScriptedApps
  /** At the end; whatever a failed test leaves goes with the run. */
  drop(): Promise<void>
}

type Surroundings = { after(end: () => Promise<void>): void }

export async function openEventScene(
  t: Surroundings,
  plan: { seed: string; apps: readonly AppKind[] },
): Promise<EventScene> {
  const database = await createTestDatabase()
  const { pool, db } = openPool(
    { ...database.connection, application_name: JUDGE },
    () => undefined,
  )
  const apps = await startScriptedApps(t, plan)
  const folder = mkdtempSync(join(tmpdir(), 'agent-idp-trust-'))
  t.after(async () => rmSync(folder, { recursive: true, force: true }))
  const trusted = join(folder, 'certificates')
  writeFileSync(trusted, TEST_ONLY_CERTIFICATE)
  const fleet = await openFleet(t, 2, database.url, { NODE_EXTRA_CA_CERTS: trusted })
  await watchEvents(pool)
  return {
    pool,
    db,
    fleet,
    apps,
    async drop() {
      await db.destroy()
      await database.drop()
    },
  }
}

/** Until nothing waits: days pass, and what these endpoints never take is given up. */
export async function settle(
  pool: pg.Pool,
  hopeless: readonly string[] = [],
  told: () => string = () => '',
): Promise<void> {
  const patience = AbortSignal.timeout(240_000)
  while ((await hasten(pool)) > 0) {
    if (patience.aborted) throw new Error(`events wait for ever ${told()}`)
    await pause(200)
    await giveUp(pool, hopeless)
  }
}
