/**
 * Whose account a subject of a trusted issuer is: linked by an administrator, or by the first exchange where
 * the registration says so (token/provision.ts).
 *
 *  1. A subject is one user's, and stays so until an administrator unlinks it: it outlives the registration,
 *     and the user, so that nobody comes into what was somebody else's.
 *  2. Unlinking gives the user's row another version, under its lock: an exchange that rested on the link
 *     compares that version when it records, and decides anew.
 *  3. The subject may tell who somebody is: the audit log has none of it.
 */
import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, notFound, ProblemError } from '../http/problem.ts'
import { lockUser, touchUser } from '../users/queries.ts'
import { holdNamed, refuseGone } from './named.ts'
import {
  type AccountRow,
  deleteAccount,
  findAccount,
  findIssuer,
  holdIssuer,
  insertAccount,
} from './upstream-account-queries.ts'
import type { NewUpstreamAccount } from './upstream-account-schema.ts'

/**
 * @throws {ProblemError} `not_found`, `invalid_transition` (the trust has ended), `validation_failed` naming
 *   the user, `already_exists`
 */
export async function linkAccount(
  tx: Db,
  deps: Deps,
  issuerId: string,
  { subject, user_id }: NewUpstreamAccount,
  admin: Admin,
): Promise<AccountRow> {
  const issuer = await requireIssuer(tx, issuerId)
  const { tenant_id } = issuer
  const held = await holdNamed(tx, [{ pointer: '/user_id', table: 'users', id: user_id }])
  refuseGone(held)
  if (held[0].tenant_id !== tenant_id) {
    throw invalid('/user_id', 'is of another tenant than the trusted issuer')
  }
  if ((await holdIssuer(tx, issuerId))?.ended_at !== null) {
    throw new ProblemError('invalid_transition', 'The trust in this issuer has ended')
  }
  const at = deps.now()
  const of = { tenant_id, issuer: issuer.issuer, subject }
  const account = await insertAccount(tx, { ...of, user_id, created_at: at, created_by: admin.id })
  if (account === undefined) {
    const detail = 'This subject is linked to a user already: unlink it first'
    throw new ProblemError('already_exists', detail, { errors: [{ pointer: '/subject', detail }] })
  }
  await recordAccountEvent(tx, { what: 'linked', at, tenant_id, user_id, issuerId, admin })
  return account
}

/** One that is gone already is no fault. @throws {ProblemError} `not_found` */
export async function unlinkAccount(
  tx: Db,
  deps: Deps,
  issuerId: string,
  subject: string,
  admin: Admin,
): Promise<void> {
  const { tenant_id, issuer } = await requireIssuer(tx, issuerId)
  const of = { tenant_id, issuer, subject }
  const account = await findAccount(tx, of)
  if (account === undefined) return
  const { user_id } = account
  await lockUser(tx, user_id)
  if (!(await deleteAccount(tx, { ...of, user_id }))) return
  await touchUser(tx, user_id)
  const at = deps.now()
  await recordAccountEvent(tx, { what: 'unlinked', at, tenant_id, user_id, issuerId, admin })
}

/** @throws {ProblemError} `not_found` */
export async function requireIssuer(db: Db, id: string) {
  const issuer = await findIssuer(db, id)
  if (issuer === undefined) throw notFound('trusted issuer')
  return issuer
}

type Happened = {
  what: 'linked' | 'unlinked'
  at: Date
  tenant_id: string
  user_id: string
  issuerId: string
  admin: Admin
}

const recordAccountEvent = (tx: Db, { what, issuerId, admin, ...of }: Happened) =>
  recordEvent(tx, {
    type: `upstream_account.${what}`,
    actor: byAdmin(admin),
    ...of,
    detail: { trusted_issuer_id: issuerId },
  })
