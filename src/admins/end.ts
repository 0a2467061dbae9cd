import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { notFound } from '../http/problem.ts'
import { endAdminKeyRow, lockAdminKey } from './queries.ts'

/**
 * From this commit on the key opens nothing. Ending an ended one changes nothing.
 * @throws {ProblemError} `not_found`
 */
export async function endAdminKey(tx: Db, deps: Deps, id: string, admin: Admin): Promise<void> {
  const row = await lockAdminKey(tx, id)
  if (row === undefined) throw notFound('admin key')
  if (row.ended_at !== null) return
  const now = deps.now()
  await endAdminKeyRow(tx, id, now)
  await recordEvent(tx, {
    type: 'admin_key.ended',
    at: now,
    actor: byAdmin(admin),
    detail: { admin_key_id: id },
  })
}
