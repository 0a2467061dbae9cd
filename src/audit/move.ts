import { sql } from 'kysely'
import type { Db } from '../db/tables.ts'
import { recordEvent } from './record.ts'
import type { Closed, Now } from './window.ts'

/**
 * True when the log was sealed in one cluster and lives in another (a backup was restored, or the server
 * upgraded), and no event told of it until now. The move shows in the log, and there is something to seal.
 */
export async function recordMove(db: Db, last: Closed, now: Now, at: Date): Promise<boolean> {
  if (last.cluster === now.cluster) return false
  const { rows } = await sql`
    select from audit_events where type = 'audit.moved' and cluster = ${now.cluster}::bigint
      and detail->>'after_position' = ${last.position}`.execute(db)
  if (rows.length > 0) return false
  await recordEvent(db, {
    type: 'audit.moved',
    at,
    actor: { kind: 'system' },
    detail: { from: last.cluster, to: now.cluster, after_position: last.position },
  })
  return true
}

/** Whether what a restored backup held as live was ended in this cluster: `npm run after-restore` was run. */
export async function wasEndedIn(db: Db, cluster: string): Promise<boolean> {
  const { rows } = await sql`
    select from audit_events where type = 'restore.completed' and cluster = ${cluster}::bigint
    limit 1`.execute(db)
  return rows.length > 0
}
