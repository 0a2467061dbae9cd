import { type Actor, recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Db, Row } from '../db/tables.ts'
import { changeContact, NO_CONTACT } from './contact.ts'
import { insertUserUnlessTaken } from './queries.ts'

type Added = {
  /** Addresses are verified ones. */
  given: {
    tenant_id: string
    external_id: string | undefined
    name: string | undefined
    email: string | undefined
    phone_number: string | undefined
  }
  /** Who vouches for the addresses. */
  verified_by: string
  at: Date
  by: Actor
  /** For the audit log. */
  detail: Record<string, string>
}

/**
 * A user whom no administrator adds, but a rule of one: without a password.
 * @returns undefined where another user of the tenant has the address or the external id
 */
export async function addUser(
  tx: Db,
  { given, verified_by, at, by, detail }: Added,
): Promise<Row<'users'> | undefined> {
  const { tenant_id, external_id, name } = given
  const verified = (member: 'email' | 'phone_number') => {
    const value = given[member]
    const change = { value, verified: value !== undefined }
    return changeContact(member, NO_CONTACT, change, verified_by, at)
  }
  const [email, phone] = [verified('email'), verified('phone_number')]
  const user = await insertUserUnlessTaken(tx, {
    id: newId('usr'),
    tenant_id,
    email: email.value,
    email_verified_at: email.verified_at,
    email_verified_by: email.verified_by,
    phone_number: phone.value,
    phone_verified_at: phone.verified_at,
    phone_verified_by: phone.verified_by,
    name,
    external_id,
    created_at: at,
    updated_at: at,
  })
  if (user === undefined) return undefined
  const event = { type: 'user.created', at, actor: by, tenant_id, user_id: user.id, detail }
  await recordEvent(tx, event)
  return user
}
