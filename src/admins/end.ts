import { byAdmin, recordEvents } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { notFound, ProblemError } from '../http/problem.ts'
import { holdsScope } from './authenticate.ts'
import { endAdminKeyRow, endKeysMadeBy, lockAdminKey } from './queries.ts'

/**
 * From this commit on the key opens nothing, nor does any that was made with it. Ending an ended one
 * changes nothing.
 * @throws {ProblemError} `not_found`, `insufficient_scope`
 */
export async function endAdminKey(tx: Db, deps: Deps, id: string, admin: Admin): Promise<void> {
  const row = await lockAdminKey(tx, id)
  if (row === undefined) throw notFound('admin key')
  const lacking = row.scopes.find((scope) => !holdsScope(admin, scope))
  if (lacking !== undefined) {
    throw new ProblemError(
      'insufficient_scope',
      `A key ends only keys whose scopes it holds; this one does not hold ${lacking}`,
    )
  }
  if (row.ended_at !== null) return
  const at = deps.now()
  const event = { type: 'admin_key.ended', at, actor: byAdmin(admin) }
  await endAdminKeyRow(tx, id, at)
  await recordEvents(tx, [{ ...event, detail: { admin_key_id: id } }])
  // A statement for each generation: it waits for keys that are making others, and the next one sees those.
  let made = await endKeysMadeBy(tx, [id], at)
  while (made.length > 0) {
    await recordEvents(
      tx,
      made.map((admin_key_id) => ({ ...event, detail: { admin_key_id, ended_with: id } })),
    )
    made = await endKeysMadeBy(tx, made, at)
  }
}
