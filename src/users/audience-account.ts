/**
 * Which account at a relying app is a user's (IJ-36): entered by an administrator, never guessed from an
 * address, and one user's alone.
 *
 * Every change gives the user's row another version, under its lock: an exchange that read the account of
 * before compares that version when it records, and decides anew. So no ID-JAG is recorded after the change
 * that names the old one.
 */
import { byAdmin, recordEvent } from '../audit/record.ts'
import { holdTenantOf } from '../db/hold-tenant.ts'
import type { Db, Row } from '../db/tables.ts'
import { violatedUnique } from '../db/unique.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, notFound, ProblemError } from '../http/problem.ts'
import {
  type AccountRow,
  deleteAccount,
  findAccount,
  insertAccount,
  shareAudience,
  type UserAtAudience,
  updateAccount,
} from './account-queries.ts'
import type { GivenAudienceAccount } from './account-schema.ts'
import { lockUser, updateUser } from './queries.ts'

/**
 * @throws {ProblemError} `not_found`, `validation_failed`, `already_exists` (another user's account),
 *   `invalid_transition` (a deleted user, a retired audience)
 */
export async function putAudienceAccount(
  tx: Db,
  deps: Deps,
  of: UserAtAudience,
  { aud_sub, aud_tenant = null }: GivenAudienceAccount,
  admin: Admin,
): Promise<{ account: AccountRow; created: boolean }> {
  const { user, audience } = await lockBoth(tx, of)
  if (user.status === 'deleted') {
    throw new ProblemError('invalid_transition', 'This user was deleted, which is final')
  }
  if (audience.status === 'retired') {
    throw new ProblemError('invalid_transition', 'This audience is retired, which is final')
  }
  const before = await findAccount(tx, of)
  const next = { aud_sub, aud_tenant }
  const names = ['aud_sub', 'aud_tenant'] as const
  const changed = names.filter((name) => next[name] !== before?.[name])
  if (before !== undefined && changed.length === 0) return { account: before, created: false }

  const now = deps.now()
  const { tenant_id } = user
  const account = await (before === undefined
    ? insertAccount(tx, { ...of, tenant_id, ...next, created_at: now, updated_at: now })
    : updateAccount(tx, of, { ...next, updated_at: now })
  ).catch((error) => {
    if (violatedUnique(error) !== 'audience_accounts_account') throw error
    const detail = 'Another user has this account there'
    throw new ProblemError('already_exists', detail, { errors: [{ pointer: '/aud_sub', detail }] })
  })
  await record(tx, user, of, before === undefined ? 'created' : 'updated', now, admin, { changed })
  return { account, created: before === undefined }
}

/** One that is gone already is no fault. @throws {ProblemError} `not_found`, `validation_failed` */
export async function removeAudienceAccount(
  tx: Db,
  deps: Deps,
  of: UserAtAudience,
  admin: Admin,
): Promise<void> {
  const { user } = await lockBoth(tx, of)
  if (await deleteAccount(tx, of)) await record(tx, user, of, 'deleted', deps.now(), admin)
}

/** Tenant, user, audience: the order of locks. */
async function lockBoth(tx: Db, { user_id, audience_id }: UserAtAudience) {
  await holdTenantOf(tx, 'users', user_id)
  const user = await lockUser(tx, user_id)
  if (user === undefined) throw notFound('user')
  const audience = await shareAudience(tx, audience_id)
  if (audience === undefined) throw notFound('audience')
  if (user.tenant_id !== audience.tenant_id) {
    throw invalid('', 'The user and the audience must be of one tenant')
  }
  return { user, audience }
}

/** The user's new version, and the event. The account itself may be personal data: the log has none of it. */
async function record(
  tx: Db,
  { tenant_id }: Row<'users'>,
  of: UserAtAudience,
  what: 'created' | 'updated' | 'deleted',
  now: Date,
  admin: Admin,
  { changed }: { changed?: string[] } = {},
): Promise<void> {
  await updateUser(tx, of.user_id, { updated_at: now })
  await recordEvent(tx, {
    type: `audience_account.${what}`,
    at: now,
    actor: byAdmin(admin),
    tenant_id,
    ...of,
    ...(what === 'updated' && { detail: { changed } }),
  })
}
