import { byAdmin, recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { ProblemError } from '../http/problem.ts'
import { readFuture } from '../http/shapes.ts'
import { hashSecret, newSecret } from '../oauth/secret.ts'
import { describeAdminKey } from './admin-key.ts'
import { holdsScope } from './authenticate.ts'
import { insertAdminKey } from './queries.ts'
import type { AdminKey, NewAdminKey } from './schema.ts'

/**
 * Makes a key that grants only what its maker holds; the key itself is in this answer alone.
 * @throws {ProblemError} `insufficient_scope`, `validation_failed`
 */
export async function createAdminKey(
  tx: Db,
  deps: Deps,
  given: NewAdminKey,
  admin: Admin,
): Promise<AdminKey> {
  const now = deps.now()
  const lacking = given.scopes.find((scope) => !holdsScope(admin, scope))
  if (lacking !== undefined) {
    throw new ProblemError(
      'insufficient_scope',
      `A key grants only scopes that its maker holds; this one does not hold ${lacking}`,
    )
  }
  const key = `adk_${newSecret()}`
  const row = await insertAdminKey(tx, {
    id: newId('adm'),
    name: given.name,
    key_hash: hashSecret(key),
    scopes: given.scopes,
    created_at: now,
    created_by: admin.id,
    expires_at: readFuture('/expires_at', given.expires_at, now),
  })
  await recordEvent(tx, {
    type: 'admin_key.created',
    at: now,
    actor: byAdmin(admin),
    detail: { admin_key_id: row.id, scopes: row.scopes },
  })
  return { ...describeAdminKey(row, now), key }
}
