import { byAdmin, recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, ProblemError } from '../http/problem.ts'
import { readFuture } from '../http/shapes.ts'
import { hashSecret, newSecret } from '../oauth/secret.ts'
import { describeAdminKey } from './admin-key.ts'
import { ENVIRONMENT, holdsScope } from './authenticate.ts'
import { holdLiveKey, insertAdminKey } from './queries.ts'
import type { AdminKey, NewAdminKey } from './schema.ts'

/**
 * Makes a key that grants only what its maker holds, and no longer; the key itself is in this answer alone.
 * @throws {ProblemError} `insufficient_scope`, `validation_failed`, `unauthenticated`
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
  const expires_at = readFuture('/expires_at', given.expires_at, now)
  const end = await endOfMaker(tx, admin, now)
  if (end !== null && expires_at > end) {
    throw invalid('/expires_at', 'must not be later than the key that makes it expires')
  }
  const key = `adk_${newSecret()}`
  const row = await insertAdminKey(tx, {
    id: newId('adm'),
    name: given.name,
    key_hash: hashSecret(key),
    scopes: given.scopes,
    created_at: now,
    created_by: admin.id,
    expires_at,
  })
  await recordEvent(tx, {
    type: 'admin_key.created',
    at: now,
    actor: byAdmin(admin),
    detail: { admin_key_id: row.id, scopes: row.scopes },
  })
  return { ...describeAdminKey(row, now), key }
}

/** Held from here on: whoever ends the maker meanwhile finds the new key too. */
async function endOfMaker(tx: Db, admin: Admin, now: Date): Promise<Date | null> {
  if (admin.id === ENVIRONMENT.id) return null
  const maker = await holdLiveKey(tx, admin.id, now)
  if (maker === undefined) throw new ProblemError('unauthenticated', 'This admin key has ended')
  return maker.expires_at
}
