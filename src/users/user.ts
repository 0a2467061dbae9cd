import type { Row } from '../db/tables.ts'
import { ProblemError } from '../http/problem.ts'
import type { User } from './schema.ts'

/** A user as the API shows them. */
export const describeUser = (row: Row<'users'>): User => ({
  ...row,
  email_verified: row.email_verified_at !== null,
  phone_number_verified: row.phone_verified_at !== null,
})

/** What a second user of the tenant may not share with the first, by its unique index. */
export function alreadyExists(index: string | undefined): ProblemError | undefined {
  const taken =
    index === 'users_email' ? 'email' : index === 'users_external_id' ? 'external_id' : undefined
  if (taken === undefined) return undefined
  const detail = `Another user of this tenant has this ${taken}`
  return new ProblemError('already_exists', detail, { errors: [{ pointer: `/${taken}`, detail }] })
}
