/**
 * What a schema found wrong, in words: every door says the same of the same fault. The words follow the name of a
 * member ("reason is missing"), and repeat nothing of its value.
 */
import { PATTERN_WORDS } from './pattern-words.ts'

/** `pointer` is a JSON pointer (RFC 6901); empty for the whole. */
export type SchemaFault = { pointer: string; detail: string }

/** As Ajv gives it with `verbose`. */
type Found = {
  keyword: string
  instancePath: string
  schemaPath: string
  params: Record<string, unknown>
  data?: unknown
}

/**
 * One fault for each member that has one.
 * @param texts whether it was sent as a form or a query, where a list comes of repeating a name
 */
export const faultsFound = (found: readonly Found[], texts: boolean): SchemaFault[] =>
  foldAlternatives(found).map((fault) => ({
    pointer: pointerTo(fault),
    detail: texts && isRepeated(fault) ? 'is repeated' : wordsFor(fault),
  }))

/** The longest name of a member that is said again. */
const LONGEST_NAME = 120

/** A fault as a sentence, which a name as it stands in the pointer begins. */
export function sentenceOf({ pointer, detail }: SchemaFault): string {
  if (pointer === '') return detail
  const name = pointer.slice(1).replaceAll('~1', '/').replaceAll('~0', '~')
  const shown = name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}…` : name
  return `${shown} ${detail}`
}

function pointerTo({ instancePath, params }: Found): string {
  const member = params.missingProperty ?? params.additionalProperty
  return member === undefined ? instancePath : `${instancePath}/${String(member)}`
}

/**
 * A value that fits none of several shapes is wrong once, not once for each: by the shape whose type it has, or
 * by its type where it has none of theirs.
 */
function foldAlternatives(found: readonly Found[]): Found[] {
  let left = [...found]
  for (const whole of found.filter(({ keyword }) => keyword === 'anyOf')) {
    const { instancePath, schemaPath, data } = whole
    const ofIts = (fault: Found) => fault.schemaPath.startsWith(`${schemaPath}/`)
    const branches = left.filter(ofIts)
    const byType = (fault: Found) => fault.keyword === 'type' && fault.instancePath === instancePath
    const within = branches.find((fault) => !byType(fault))
    const types = branches.flatMap(({ params }) => params.type)
    const folded = within ?? {
      instancePath,
      schemaPath,
      keyword: 'type',
      params: { type: types },
      data,
    }
    left = left.flatMap((fault) => (fault === whole ? [folded] : ofIts(fault) ? [] : [fault]))
  }
  return left
}

const isRepeated = ({ keyword, data }: Found) => keyword === 'type' && Array.isArray(data)

function wordsFor({ keyword, params }: Found): string {
  const { limit } = params
  switch (keyword) {
    case 'required':
      return 'is missing'
    case 'additionalProperties':
      return 'is not a known member'
    case 'type':
      return `must be ${either([params.type].flat().map(typeInWords))}`
    case 'enum':
      return `must be ${allowedInWords(params.allowedValues as unknown[])}`
    case 'const':
      return `must be ${String(params.allowedValue)}`
    case 'minLength':
      return limit === 1 ? 'must not be empty' : `must have at least ${limit} characters`
    case 'maxLength':
      return `must have at most ${limit} characters`
    case 'minItems':
      return limit === 1 ? 'must not be empty' : `must have at least ${limit} values`
    case 'maxItems':
      return `must have at most ${limit} values`
    case 'uniqueItems':
      return `has the same value twice, at ${[Number(params.i), Number(params.j)].sort((a, b) => a - b).join(' and ')}`
    case 'minProperties':
      return limit === 1 ? 'has no member' : `must have at least ${limit} members`
    case 'maxProperties':
      return `must have at most ${limit} members`
    case 'minimum':
      return `must be at least ${limit}`
    case 'maximum':
      return `must be at most ${limit}`
    case 'format':
      return FORMAT_WORDS[String(params.format)] ?? 'is not in the form that it must have'
    case 'pattern':
      return PATTERN_WORDS[String(params.pattern)] ?? 'is not in the form that it must have'
    default:
      return 'is not as it must be'
  }
}

const FORMAT_WORDS: Record<string, string> = {
  'date-time': 'must be a time with its offset (RFC 3339), such as 2027-11-21T12:00:00Z',
}

const TYPE_WORDS: Record<string, string> = {
  string: 'a string',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'an array',
  object: 'an object',
}
const typeInWords = (type: unknown) => TYPE_WORDS[String(type)] ?? String(type)

function allowedInWords(allowed: readonly unknown[]): string {
  const words = allowed.filter((value) => value !== null).map(String)
  const one = words.length === 1 ? words.join('') : `one of ${words.join(', ')}`
  return allowed.includes(null) ? `${one}, or null` : one
}

const either = (words: readonly string[]) => [...new Set(words)].join(' or ')
