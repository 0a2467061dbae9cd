import type { FastifyRequest } from 'fastify'
import Type, { type Static, type TSchema } from 'typebox'
import { LINE_PATTERN, LINES_PATTERN } from '../oauth/plain-text.ts'
import { invalid, notFound } from './problem.ts'

/** Shapes that several rooms' schemas share, and the two checks that a schema cannot make. */

declare module 'fastify' {
  interface FastifySchema {
    summary?: string
    description?: string
    tags?: string[]
  }
}

/** A JSON type or nothing. Written as a list of types, so that dates serialise and faults read plainly. */
export const Nullable = <Inner extends TSchema>(schema: Inner) => {
  const { type, enum: values } = schema as { type?: string; enum?: unknown[] }
  const orNull = { ...schema, type: [type, 'null'], ...(values && { enum: [...values, null] }) }
  return Type.Unsafe<Static<Inner> | null>(orNull)
}

/** One of a closed set of words. */
export const OneOf = <const Word extends string>(words: readonly Word[], options: object = {}) =>
  Type.Unsafe<Word>({ type: 'string', enum: words, ...options })

/** An instant in an answer: RFC 3339, UTC. */
export const Instant = (options: object = {}) =>
  Type.Unsafe<Date>({
    type: 'string',
    format: 'date-time',
    examples: ['2026-11-21T12:00:00.000Z'],
    ...options,
  })

/** An instant in a request: RFC 3339 with its offset. Read it with `readInstant`. */
export const GivenInstant = (options: object = {}) =>
  Type.String({
    format: 'date-time',
    maxLength: 64,
    examples: ['2027-11-21T12:00:00Z'],
    ...options,
  })

/** One line of text for people to read, with something in it. */
export const Line = (maxLength: number, options: object = {}) =>
  Type.String({ minLength: 1, maxLength, pattern: LINE_PATTERN, ...options })

/** The same in as many lines as it takes. */
export const Lines = (maxLength: number, options: object = {}) =>
  Type.String({ minLength: 1, maxLength, pattern: LINES_PATTERN, ...options })

/** A path parameter. Whatever it holds, an id that nobody has is simply not found; the router bounds its length. */
export const IdParam = (what: string) => Type.String({ description: `Id of the ${what}` })

/** @throws {ProblemError} `validation_failed` for what looks like an instant and is none, such as a leap second */
export function readInstant(pointer: string, text: string): Date {
  const instant = new Date(text)
  if (Number.isNaN(instant.getTime())) throw invalid(pointer, 'is not an instant in time')
  return instant
}

/** @throws {ProblemError} `validation_failed` unless the instant lies after `now` */
export function readFuture(pointer: string, text: string, now: Date): Date {
  const instant = readInstant(pointer, text)
  if (instant <= now) throw invalid(pointer, 'must be in the future')
  return instant
}

/**
 * A `preValidation` hook. PostgreSQL stores U+0000 neither in text nor in jsonb, and lone surrogates not in
 * jsonb: what holds them is refused here rather than failing there.
 * @throws {ProblemError} `validation_failed`, or `not_found` when it is the path
 */
export async function refuseUnstorableText(request: FastifyRequest): Promise<void> {
  if (findUnstorable(request.params, '') !== undefined) throw notFound('record')
  const pointer = findUnstorable(request.query, '') ?? findUnstorable(request.body, '')
  if (pointer !== undefined) {
    throw invalid(pointer, 'holds U+0000 or half a surrogate pair, which cannot be kept')
  }
}

/**
 * A `preValidation` hook for members that a record has but that no patch changes: says what to do instead,
 * rather than that they are unknown. `advice` is by member.
 * @throws {ProblemError} `validation_failed`
 */
export const refuseFixed =
  (advice: Record<string, string>) =>
  async ({ body }: FastifyRequest): Promise<void> => {
    if (typeof body !== 'object' || body === null) return
    for (const [name, instead] of Object.entries(advice)) {
      if (Object.hasOwn(body, name)) throw invalid(`/${name}`, `cannot be changed; ${instead}`)
    }
  }

/** Nothing that the admin door takes is nested deeper. */
const DEEPEST = 32

/** The JSON pointer to the first such text, as a value or as a name. */
function findUnstorable(value: unknown, pointer: string, depth = 0): string | undefined {
  if (typeof value === 'string') {
    return value.includes('\0') || !value.isWellFormed() ? pointer : undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (depth > DEEPEST) throw invalid(pointer, 'is nested too deeply')
  for (const [name, member] of Object.entries(value)) {
    if (findUnstorable(name, '') !== undefined) return pointer
    const found = findUnstorable(member, `${pointer}/${name}`, depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}
