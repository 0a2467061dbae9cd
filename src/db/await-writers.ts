import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'kysely'
import type { Db } from './tables.ts'

/** Milliseconds between two looks. */
const EVERY = 20

/**
 * Waits until every transaction has ended that was writing when this was called. What reads afterwards sees
 * all that they wrote, and nobody writes any more on the strength of what was true before.
 * @param patience milliseconds
 * @returns false if one of them took longer.
 */
export async function awaitWriters(db: Db, patience: number): Promise<boolean> {
  const [now] = (
    await sql<{ newest: string }>`
      select pg_snapshot_xmax(pg_current_snapshot())::text as newest`.execute(db)
  ).rows
  const until = Date.now() + patience
  for (;;) {
    const [answer] = (
      await sql<{ over: boolean }>`
        select pg_snapshot_xmin(pg_current_snapshot()) >= ${now?.newest}::text::xid8 as over`.execute(
        db,
      )
    ).rows
    if (answer?.over) return true
    if (Date.now() >= until) return false
    await pause(EVERY)
  }
}
