import { byAdmin, recordEvent } from '../audit/record.ts'
import { DEFAULT_TENANT, newId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import { violatedUnique } from '../db/unique.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, ProblemError } from '../http/problem.ts'
import { changeContact, NO_CONTACT } from './contact.ts'
import { hashPassword, TooBusy } from './password.ts'
import { insertUser, putPassword, tenantExists } from './queries.ts'
import type { NewUser, User } from './schema.ts'
import { alreadyExists, describeUser } from './user.ts'

/** @throws {ProblemError} `already_exists`, `validation_failed`, `unavailable` */
export async function createUser(tx: Db, deps: Deps, given: NewUser, admin: Admin): Promise<User> {
  const now = deps.now()
  const email = changeContact(
    'email',
    NO_CONTACT,
    { value: given.email, verified: given.email_verified },
    admin.id,
    now,
  )
  const phone = changeContact(
    'phone_number',
    NO_CONTACT,
    { value: given.phone_number, verified: given.phone_number_verified },
    admin.id,
    now,
  )
  const tenantId = given.tenant_id ?? DEFAULT_TENANT
  if (!(await tenantExists(tx, tenantId))) throw invalid('/tenant_id', 'names no tenant')
  const hash = given.password === undefined ? undefined : await hashNewPassword(given.password)

  const user = await insertUser(tx, {
    id: newId('usr'),
    tenant_id: tenantId,
    email: email.value,
    email_verified_at: email.verified_at,
    email_verified_by: email.verified_by,
    phone_number: phone.value,
    phone_verified_at: phone.verified_at,
    phone_verified_by: phone.verified_by,
    name: given.name,
    external_id: given.external_id,
    created_at: now,
    updated_at: now,
  }).catch((error) => {
    throw alreadyExists(violatedUnique(error)) ?? error
  })
  if (hash !== undefined) await putPassword(tx, user, hash, now)
  await recordEvent(tx, {
    type: 'user.created',
    at: now,
    actor: byAdmin(admin),
    tenant_id: user.tenant_id,
    user_id: user.id,
  })
  return describeUser(user)
}

/** @throws {ProblemError} `unavailable` while too many passwords are being hashed */
export async function hashNewPassword(password: string): Promise<string> {
  try {
    return await hashPassword(password)
  } catch (error) {
    if (!(error instanceof TooBusy)) throw error
    throw new ProblemError('unavailable', 'Too many passwords are being set; try again in a moment')
  }
}
