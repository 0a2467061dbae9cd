/**
 * Rich authorization requests (RFC 9396): entries of a type, each saying what is asked for or allowed.
 *
 *  1. The lists and `identifier` narrow an entry: one without `actions` means all of them. So the meet of
 *     two lists is what both hold, and of a list and none the list.
 *  2. What any other member does, only the relying app knows; one more may as well widen an entry. So it is
 *     granted exactly as it was allowed: a member that nobody allowed leaves nothing of the entry, and one
 *     that was allowed comes with it, asked for or not.
 *  3. Entries, and the members of one, have no order that matters.
 */
import { isObject } from './is-object.ts'
import { normaliseResource } from './uri.ts'

export type AuthorizationDetail = { type: string } & Record<string, unknown>
type Details = readonly AuthorizationDetail[]

/** The common members that are lists (RFC 9396 §2.2). */
const LISTS = ['locations', 'actions', 'datatypes', 'privileges']

const MOST_ENTRIES = 20
/** In characters; an ID-JAG of 8 KiB has no room for more. */
const LONGEST = 8192
const LONGEST_TYPE = 128
/** The array of entries is the first level. */
const DEEPEST = 8

/** What an `authorization_details` parameter says; undefined unless it is as RFC 9396 §2 wants it (TX-15). */
export function parseAuthorizationDetails(text: string): AuthorizationDetail[] | undefined {
  if (text.length > LONGEST) return undefined
  try {
    return readAuthorizationDetails(JSON.parse(text))
  } catch {
    return undefined
  }
}

/**
 * The same of a JSON value. Refused are also an empty list, which could be read as nothing or as anything,
 * and what would not come back unchanged from where it is kept: `__proto__`, U+0000, half a surrogate pair,
 * a number too large to be exact.
 */
export function readAuthorizationDetails(value: unknown): AuthorizationDetail[] | undefined {
  if (!Array.isArray(value) || value.length > MOST_ENTRIES || !isSound(value, 1)) return undefined
  if (JSON.stringify(value).length > LONGEST) return undefined
  return value.every(isDetail) ? value : undefined
}

/**
 * The most that both allow; undefined when that is nothing. Where they differ in kind, `asked` is what
 * somebody wants and `allowed` the ceiling (invariant 2), and `asked` gives order and spelling.
 */
export function meetDetail(
  asked: AuthorizationDetail,
  allowed: AuthorizationDetail,
): AuthorizationDetail | undefined {
  const met = new Map<string, unknown>()
  for (const name of new Set([...Object.keys(asked), ...Object.keys(allowed)])) {
    const member = meetMember(name, own(asked, name), own(allowed, name))
    if (member === undefined) return undefined
    met.set(name, member)
  }
  return Object.fromEntries(met) as AuthorizationDetail
}

/**
 * Of each entry asked for what one allowed entry lets through: all of it if any does, else the part that the
 * first leaves. Null allows everything. Narrowing what was narrowed changes nothing.
 */
export function narrowDetails(asked: Details, allowed: Details | null): AuthorizationDetail[] {
  if (allowed === null) return [...asked]
  return distinctDetails(
    asked.flatMap((detail) => {
      const parts = allowed.flatMap((one) => meetDetail(detail, one) ?? [])
      return parts.find((part) => canonical(part) === canonical(detail)) ?? parts[0] ?? []
    }),
  )
}

/** Each entry once. */
export function distinctDetails(details: Details): AuthorizationDetail[] {
  const byContent = new Map<string, AuthorizationDetail>()
  for (const detail of details) {
    const content = canonical(detail)
    if (!byContent.has(content)) byContent.set(content, detail)
  }
  return [...byContent.values()]
}

export const sameDetails = (a: Details, b: Details): boolean =>
  canonicalDetails(a) === canonicalDetails(b)

/** One text for all ways to write the same entries (invariant 3), for digests and comparison. */
export const canonicalDetails = (details: Details): string =>
  `[${[...new Set(details.map(canonical))].sort().join(',')}]`

function isDetail(value: unknown): value is AuthorizationDetail {
  if (!isObject(value)) return false
  const { type, identifier = '' } = value
  if (typeof type !== 'string' || type.length < 1 || type.length > LONGEST_TYPE) return false
  return typeof identifier === 'string' && LISTS.every((name) => isList(own(value, name)))
}

const isList = (value: unknown): boolean =>
  value === undefined ||
  (Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string'))

/** Whether it can be kept, copied and compared and stay what it is. */
function isSound(value: unknown, depth: number): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0')
  if (typeof value === 'number') return Number.isSafeInteger(value) || isFraction(value)
  if (typeof value !== 'object' || value === null) return true
  if (depth > DEEPEST) return false
  return Object.entries(value).every(
    ([name, member]) => name !== '__proto__' && isSound(name, depth) && isSound(member, depth + 1),
  )
}

const isFraction = (value: number): boolean => Number.isFinite(value) && !Number.isInteger(value)

/** Undefined where nothing is left, or where what was asked for is not allowed. */
function meetMember(name: string, asked: unknown, allowed: unknown): unknown {
  if (asked === undefined) return allowed
  if (LISTS.includes(name)) return allowed === undefined ? asked : meetList(name, asked, allowed)
  if (name === 'identifier' && allowed === undefined) return asked
  return allowed !== undefined && canonical(asked) === canonical(allowed) ? asked : undefined
}

function meetList(name: string, asked: unknown, allowed: unknown): string[] | undefined {
  const identity = (one: string) => (name === 'locations' ? (normaliseResource(one) ?? one) : one)
  const known = new Set((allowed as string[]).map(identity))
  const both = (asked as string[]).filter((one) => known.has(identity(one)))
  return both.length === 0 ? undefined : both
}

/** Its own alone: a member may be named like something that every object inherits. */
const own = (detail: object, name: string): unknown =>
  Object.hasOwn(detail, name) ? (detail as Record<string, unknown>)[name] : undefined

/** JSON with the members of every object in one order. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, one]) => `${JSON.stringify(name)}:${canonical(one)}`).join(',')}}`
}
