import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db, Row } from '../db/tables.ts'
import { violatedUnique } from '../db/unique.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, notFound, ProblemError } from '../http/problem.ts'
import { queueSignals } from '../streams/queue.ts'
import { deleteAccountsOf } from './account-queries.ts'
import { changeContact } from './contact.ts'
import { hashNewPassword } from './create.ts'
import { lockUser, putPassword, removePassword, updateUser } from './queries.ts'
import type { UserPatch } from './schema.ts'
import { alreadyExists } from './user.ts'

export type ChangedUser = {
  user: Row<'users'>
  before: Row<'users'>
  /** Set anew or taken away. */
  passwordChanged: boolean
}

/**
 * Applies a merge patch to a user, under the row lock that mints and consents wait for. What has to end with
 * a suspension, a deletion or a new password is the caller's part; receivers are told of the password and the
 * sessions here, for it is one cause.
 *
 *   active ⇄ suspended → deleted ← active
 *
 * @throws {ProblemError} `not_found`, `invalid_transition` (deleted is final), `already_exists`,
 *   `validation_failed`, `unavailable`
 */
export async function changeUser(
  tx: Db,
  deps: Deps,
  id: string,
  patch: UserPatch,
  admin: Admin,
): Promise<ChangedUser> {
  // Before the lock: hashing takes long enough to be in the way.
  const hash = patch.password ? await hashNewPassword(patch.password) : undefined
  const before = await lockUser(tx, id)
  if (before === undefined) throw notFound('user')
  if (patch.status === 'deleted') return deleteUser(tx, deps, before, patch, admin)
  if (before.status === 'deleted') {
    throw new ProblemError('invalid_transition', 'This user was deleted, which is final')
  }

  const now = deps.now()
  const next = patchedColumns(before, patch, admin.id, now)
  const changed = changedMembers(before, next)
  const change = await changePassword(tx, before, patch.password === null ? null : hash, now)
  const passwordChanged = change !== undefined
  if (change) {
    changed.push('password')
    // Who is suspended as well is signed out by that.
    const ends = patch.status !== 'suspended'
    await queueSignals(tx, deps, [credentialSignal(id, change), ...(ends ? [signedOut(id)] : [])])
  }
  const status = patch.status ?? before.status
  if (changed.length === 0 && status === before.status) {
    return { user: before, before, passwordChanged }
  }

  const user = await updateUser(tx, id, { ...next, status, updated_at: now }).catch((error) => {
    throw alreadyExists(violatedUnique(error)) ?? error
  })
  const event = { at: now, actor: byAdmin(admin), ...namesOf(user) } as const
  if (changed.length > 0)
    await recordEvent(tx, { ...event, type: 'user.updated', detail: { changed } })
  if (status !== before.status) {
    await recordEvent(tx, {
      ...event,
      type: status === 'active' ? 'user.resumed' : 'user.suspended',
    })
  }
  return { user, before, passwordChanged }
}

/** Leaves a tombstone: the id, and that it was. */
async function deleteUser(
  tx: Db,
  deps: Deps,
  before: Row<'users'>,
  { status: _, ...others }: UserPatch,
  admin: Admin,
): Promise<ChangedUser> {
  for (const [name, value] of Object.entries(others)) {
    if (value) throw invalid(`/${name}`, 'cannot be set on a user who is being deleted')
  }
  if (before.status === 'deleted') return { user: before, before, passwordChanged: false }
  const now = deps.now()
  const passwordChanged = await removePassword(tx, before.id)
  await deleteAccountsOf(tx, before.id)
  // Receivers may know the user by the address, which goes now; whoever ends the sessions speaks of nobody then.
  await queueSignals(tx, deps, [
    ...(passwordChanged ? [credentialSignal(before.id, 'delete')] : []),
    {
      event: 'session-revoked',
      of: { user_id: before.id },
      by: 'admin',
      reason: 'user_deleted',
    },
  ])
  const user = await updateUser(tx, before.id, {
    email: null,
    email_verified_at: null,
    email_verified_by: null,
    phone_number: null,
    phone_verified_at: null,
    phone_verified_by: null,
    name: null,
    external_id: null,
    status: 'deleted',
    updated_at: now,
    deleted_at: now,
  })
  await recordEvent(tx, {
    type: 'user.deleted',
    at: now,
    actor: byAdmin(admin),
    ...namesOf(user),
  })
  return { user, before, passwordChanged }
}

/** What became of the password; undefined where it stays. `password`: a hash, or null for none. */
async function changePassword(
  tx: Db,
  user: { id: string; tenant_id: string },
  password: string | null | undefined,
  now: Date,
): Promise<'create' | 'update' | 'delete' | undefined> {
  if (password === undefined) return undefined
  if (password === null) return (await removePassword(tx, user.id)) ? 'delete' : undefined
  return (await putPassword(tx, user, password, now)) ? 'create' : 'update'
}

const WHY = {
  create: 'password_set',
  update: 'password_changed',
  delete: 'password_removed',
} as const

const credentialSignal = (user_id: string, change: keyof typeof WHY) =>
  ({
    event: 'credential-change',
    of: { user_id },
    change,
    by: 'admin',
    reason: WHY[change],
  }) as const

/** A new password ends every session, and what a receiver gave on the word of one may have outlived it. */
const signedOut = (user_id: string) =>
  ({ event: 'session-revoked', of: { user_id }, by: 'admin', reason: 'password_changed' }) as const

const namesOf = (user: Row<'users'>) => ({ tenant_id: user.tenant_id, user_id: user.id })

function patchedColumns(before: Row<'users'>, patch: UserPatch, by: string, now: Date) {
  const email = changeContact(
    'email',
    {
      value: before.email,
      verified_at: before.email_verified_at,
      verified_by: before.email_verified_by,
    },
    { value: patch.email, verified: patch.email_verified },
    by,
    now,
  )
  const phone = changeContact(
    'phone_number',
    {
      value: before.phone_number,
      verified_at: before.phone_verified_at,
      verified_by: before.phone_verified_by,
    },
    { value: patch.phone_number, verified: patch.phone_number_verified },
    by,
    now,
  )
  return {
    email: email.value,
    email_verified_at: email.verified_at,
    email_verified_by: email.verified_by,
    phone_number: phone.value,
    phone_verified_at: phone.verified_at,
    phone_verified_by: phone.verified_by,
    name: patch.name === undefined ? before.name : patch.name,
    external_id: patch.external_id === undefined ? before.external_id : patch.external_id,
  }
}

/** Names alone: the audit log holds no personal data. */
function changedMembers(before: Row<'users'>, next: ReturnType<typeof patchedColumns>): string[] {
  const names = Object.keys(next) as (keyof typeof next)[]
  return names.filter((name) => next[name]?.valueOf() !== before[name]?.valueOf())
}
