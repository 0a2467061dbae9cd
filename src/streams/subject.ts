/**
 * Subject identifiers (RFC 9493, SSF §3): how receivers name users and sessions to us, and we to them. A user
 * is `iss_sub` with our issuer, or an address; a complex subject has such a `user`, and may have a `session`,
 * the `sid` of our ID tokens, and the `tenant`.
 */
import { isObject } from '../oauth/is-object.ts'

/** Whom a receiver asks about. What of it there is, is for the database to say. */
export type NamedSubject = {
  user: { id: string } | { email: string }
  complex: boolean
  session_id: string
  tenant_id: string | undefined
}

type Given = Record<string, unknown>

/**
 * Reads what a receiver sent, if it has the shape of a subject identifier. Undefined for a subject that cannot be
 * anybody here, be it of another issuer, in another format or with another member: whoever asks is not told the
 * difference (SSF §9.1).
 */
export function readSubject(issuer: string, given: Given): NamedSubject | undefined {
  if (given.format !== 'complex') {
    const user = readUser(issuer, given)
    return user && { user, complex: false, session_id: '', tenant_id: undefined }
  }
  const { format: _, user: named, session, tenant, ...others } = given
  const user = isObject(named) ? readUser(issuer, named) : undefined
  const session_id = readOpaque(session)
  const tenant_id = readOpaque(tenant)
  const known = Object.keys(others).length === 0 && session_id !== null && tenant_id !== null
  if (user === undefined || !known) return undefined
  return { user, complex: true, session_id: session_id ?? '', tenant_id }
}

/** An event's subject, as its stream asked about it; without a user it is about the stream itself. */
export type EventSubject = {
  user_id: string | null
  session_id: string | null
  complex: boolean
  email: string | null
  tenant_id: string
}

export function subjectIdentifier(issuer: string, of: EventSubject) {
  if (of.user_id === null) return undefined
  const user =
    of.email === null
      ? { format: 'iss_sub', iss: issuer, sub: of.user_id }
      : { format: 'email', email: of.email }
  if (!of.complex) return user
  return {
    format: 'complex',
    user,
    ...(of.session_id === null ? {} : { session: { format: 'opaque', id: of.session_id } }),
    tenant: { format: 'opaque', id: of.tenant_id },
  }
}

/** Longest that is looked up; ids and addresses are shorter. */
const LONGEST = 320

function readUser(
  issuer: string,
  { format, iss, sub, email }: Given,
): NamedSubject['user'] | undefined {
  if (format === 'iss_sub') return iss === issuer && isText(sub) ? { id: sub } : undefined
  if (format === 'email') return isText(email) ? { email } : undefined
  return undefined
}

/** Undefined where nothing is said; null for what is nothing of ours. */
function readOpaque(member: unknown): string | undefined | null {
  if (member === undefined) return undefined
  if (!isObject(member) || member.format !== 'opaque' || !isText(member.id)) return null
  return member.id
}

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= LONGEST
