import { isObject } from '../oauth/is-object.ts'

/** The members that each format asks for, strings all of them: RFC 9493 §3.2, SSF §3. */
const MEMBERS: ReadonlyMap<string, readonly string[]> = new Map([
  ['account', ['uri']],
  ['did', ['url']],
  ['email', ['email']],
  ['iss_sub', ['iss', 'sub']],
  ['jwt_id', ['iss', 'jti']],
  ['opaque', ['id']],
  ['phone_number', ['phone_number']],
  ['saml_assertion_id', ['issuer', 'assertion_id']],
  ['uri', ['uri']],
])

/**
 * What is wrong with the shape of a subject identifier, which says nothing of who there is. A format that is not
 * known here may have any members.
 * @param at how the one who sent it finds it
 */
export function faultOfSubject(given: unknown, at = 'subject'): string | undefined {
  if (!isObject(given) || typeof given.format !== 'string' || given.format === '') {
    return `${at} must be a subject identifier (RFC 9493): an object with a format`
  }
  const { format, ...members } = given
  if (format === 'complex') return faultOfComplex(members, at)
  if (format === 'aliases') return faultOfAliases(members.identifiers, at)
  const missing = MEMBERS.get(format)?.find((name) => !isText(members[name]))
  return missing && `${at}: the format ${format} has ${missing}, a string that is not empty`
}

/** Its members are whole subject identifiers, but not complex ones. */
function faultOfComplex(members: Record<string, unknown>, at: string): string | undefined {
  const entries = Object.entries(members)
  if (entries.length === 0) return `${at}: the format complex has members, a user for one`
  for (const [name, member] of entries) {
    const fault = isOf('complex', member)
      ? `${at}: a complex subject is not made of complex ones`
      : faultOfSubject(member, name === 'user' ? `${at}.user` : `${at}: each of its members`)
    if (fault !== undefined) return fault
  }
  return undefined
}

function faultOfAliases(identifiers: unknown, at: string): string | undefined {
  const some = Array.isArray(identifiers) && identifiers.length > 0
  if (!some || identifiers.some((one) => isOf('aliases', one))) {
    return `${at}: the format aliases has identifiers, a list of other subject identifiers`
  }
  for (const one of identifiers) {
    const fault = faultOfSubject(one, `${at}: each of its identifiers`)
    if (fault !== undefined) return fault
  }
  return undefined
}

const isOf = (format: string, given: unknown): boolean => isObject(given) && given.format === format

const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''
