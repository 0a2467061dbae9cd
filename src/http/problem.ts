import { type SchemaFault, sentenceOf } from './schema-fault.ts'

/** The admin door's errors: problem details (RFC 9457), `type` is `/problems/<code>`. */
export const PROBLEMS = {
  malformed_json: [400, 'The body is not valid JSON'],
  unauthenticated: [401, 'An admin key is needed'],
  insufficient_scope: [403, 'The admin key lacks a scope'],
  not_found: [404, 'There is nothing here'],
  method_not_allowed: [405, 'The method is not allowed here'],
  already_exists: [409, 'It already exists'],
  idempotency_conflict: [409, 'The idempotency key was used with another body'],
  invalid_transition: [409, 'The record is not in a state that allows this'],
  too_early: [409, 'It is too early for this'],
  too_large: [413, 'The request is too large'],
  unsupported_media_type: [415, 'The body must be JSON'],
  validation_failed: [422, 'A member is missing or wrong'],
  unsupported_value: [422, 'The value is not supported here'],
  owner_inactive: [422, 'The owner is not an active user'],
  rate_limited: [429, 'Too many requests'],
  internal_error: [500, 'Something went wrong on our side'],
  unavailable: [503, 'A part that this needs is not available'],
} as const satisfies Record<string, readonly [status: number, title: string]>

export type ProblemCode = keyof typeof PROBLEMS

export type ProblemExtra = {
  errors?: SchemaFault[]
  /** Further members of the answer, such as `ready_at`. */
  members?: Record<string, string>
  /** Seconds for `Retry-After`. */
  retryAfter?: number
  cause?: unknown
}

/** An error meant for an administrator. The detail says what was wrong and what to do, and leaks nothing. */
export class ProblemError extends Error {
  readonly code: ProblemCode
  readonly extra: ProblemExtra

  constructor(code: ProblemCode, detail: string, extra: ProblemExtra = {}) {
    super(detail, { cause: extra.cause })
    this.name = 'ProblemError'
    this.code = code
    this.extra = extra
  }

  get status(): number {
    return PROBLEMS[this.code][0]
  }
}

/**
 * 422 `validation_failed` about one member. `pointer` is a JSON pointer (RFC 6901) into the body; the detail
 * follows its name.
 */
export const invalid = (pointer: string, detail: string): ProblemError =>
  aboutOne('validation_failed', { pointer, detail })

/** 422 `unsupported_value`: it has a meaning, but nothing here can act on it. */
export const unsupported = (pointer: string, detail: string): ProblemError =>
  aboutOne('unsupported_value', { pointer, detail })

const aboutOne = (code: ProblemCode, fault: SchemaFault) =>
  new ProblemError(code, sentenceOf(fault), { errors: [fault] })

/** @throws {ProblemError} `unsupported_value` for an algorithm that this server has no keys of. */
export function requireSigned(
  pointer: string,
  alg: string | null | undefined,
  algs: readonly string[],
): void {
  if (alg == null || algs.includes(alg)) return
  throw unsupported(pointer, `is not signed with here: it must be one of ${algs.join(', ')}`)
}

export const notFound = (what: string): ProblemError =>
  new ProblemError('not_found', `No such ${what}`)

export const problemBody = (code: ProblemCode, detail: string, extra: ProblemExtra = {}) => ({
  type: `/problems/${code}`,
  title: PROBLEMS[code][1],
  status: PROBLEMS[code][0],
  detail,
  ...(extra.errors ? { errors: extra.errors } : {}),
  ...extra.members,
})
