import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'kysely'
import type { Db } from './tables.ts'

/** Milliseconds between two looks. */
const EVERY = 20

/**
 * Waits until every transaction has ended that was writing here when this was called, or was about to. What
 * reads afterwards sees all that they wrote, and nobody writes any more on the strength of what was true before.
 *
 * Who writes, or takes rows, has locked their tables for that before its statement looks at anything, and
 * holds on to them until its transaction ends. Its transaction id tells less: it has none while it waits for
 * its first row, the newest ids are in no snapshot, and other databases of the same server have them too.
 * @param patience milliseconds
 * @returns false if one of them took longer, or nobody wants to wait any more.
 */
export async function awaitWriters(
  db: Db,
  patience: number,
  stopping?: AbortSignal,
): Promise<boolean> {
  const writers = await listWriters(db)
  const until = Date.now() + patience
  for (;;) {
    const left = await listWriters(db)
    if (!writers.some((writer) => left.includes(writer))) return true
    if (Date.now() >= until || stopping?.aborted) return false
    await pause(EVERY)
  }
}

/** The transactions that write to tables of ours, each by a name that it alone ever has. */
async function listWriters(db: Db): Promise<string[]> {
  const { rows } = await sql<{ writer: string }>`
    select distinct held.virtualtransaction as writer
    from pg_locks held join pg_class on pg_class.oid = held.relation
    where held.locktype = 'relation' and held.granted
      and held.mode in ('RowShareLock', 'RowExclusiveLock')
      and held.database = (select oid from pg_database where datname = current_database())
      and pg_class.relkind in ('r', 'p') and pg_class.relnamespace <> 'pg_catalog'::regnamespace`.execute(
    db,
  )
  return rows.map(({ writer }) => writer)
}
