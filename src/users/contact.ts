import { invalid } from '../http/problem.ts'

/** One way to reach a user, and who vouched for it when. */
export type Contact = { value: string | null; verified_at: Date | null; verified_by: string | null }

export const NO_CONTACT: Contact = { value: null, verified_at: null, verified_by: null }

/**
 * The contact after a merge patch. What is verified is this very value: another one starts unverified,
 * unless whoever changes it vouches for it too. Vouching again keeps the first date.
 * @throws {ProblemError} `validation_failed` for vouching for nothing
 */
export function changeContact(
  member: 'email' | 'phone_number',
  before: Contact,
  given: { value?: string | null | undefined; verified?: boolean | null | undefined },
  by: string,
  now: Date,
): Contact {
  const value = given.value === undefined ? before.value : given.value
  const alreadyVerified = value === before.value && before.verified_at !== null
  const { verified = alreadyVerified } = given
  if (!verified) return { ...NO_CONTACT, value }
  if (value === null) {
    throw invalid(`/${member}_verified`, `cannot be true without ${member}`)
  }
  return alreadyVerified ? before : { value, verified_at: now, verified_by: by }
}

type Contacts = { email: string | null; phone_number: string | null }

/** The claims whose contact was replaced or taken away. Another spelling of one address is the same. */
export function replacedContacts(before: Contacts, after: Contacts): ('email' | 'phone')[] {
  const differ = (one: string | null, other: string | null) =>
    one !== null && one.toLowerCase() !== other?.toLowerCase()
  return [
    ...(differ(before.email, after.email) ? (['email'] as const) : []),
    ...(differ(before.phone_number, after.phone_number) ? (['phone'] as const) : []),
  ]
}
