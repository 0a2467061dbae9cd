import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'kysely'
import type { Db } from './tables.ts'

/** Somebody else of ours works on this database, in words for the operator. */
export class InUseError extends Error {
  override name = 'InUseError'
}

/** Milliseconds between two looks. */
const EVERY = 100

/**
 * Nobody else of ours is connected to this database: by `application_name`, which every pool of the server sets,
 * or by the role, for a URL may name the application otherwise.
 * @param patience milliseconds that they get to be gone
 * @throws {InUseError} naming who is there
 */
export async function standAlone(db: Db, patience: number): Promise<void> {
  const until = Date.now() + patience
  for (;;) {
    const others = await listOthers(db)
    if (others.length === 0) return
    if (Date.now() >= until) {
      const names = others.map(({ pid, name }) => `${name || 'somebody'} (process ${pid})`)
      throw new InUseError(
        `Others are connected to this database as the server would be: ${names.join(', ')}. Stop every server, and close what else uses its role`,
      )
    }
    await pause(EVERY)
  }
}

async function listOthers(db: Db): Promise<{ pid: number; name: string | null }[]> {
  // A transaction would be told the same again.
  await sql`select pg_stat_clear_snapshot()`.execute(db)
  const { rows } = await sql<{ pid: number; name: string | null }>`
    select pid, application_name as name from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
      -- Of another role's connection a lesser role is told neither kind nor more.
      and coalesce(backend_type, 'client backend') = 'client backend'
      and (usename = current_user or application_name like 'agent-idp%')
    order by pid`.execute(db)
  return rows
}
