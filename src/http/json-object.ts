/** JSON from strangers, made safe to keep: what leaves here can be copied, compared and stored. */
import { isObject } from '../oauth/is-object.ts'

/** Far more than any metadata document, far less than a stack. */
const DEEPEST = 64

/** Why bytes are no object that can be kept; `unstorable`: text that PostgreSQL does not take. */
export type JsonFault = 'not_utf8' | 'not_json' | 'no_object' | 'unstorable' | 'too_deep'

/** The object these bytes hold, or undefined if they hold anything else (DR-33). */
export function parseJsonObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  const read = readJsonObject(bytes)
  return typeof read === 'string' ? undefined : read
}

/**
 * The object these bytes hold, or why there is none.
 *
 * Refused besides bad UTF-8 and bad JSON: an array or a bare value, nesting deeper than 64, lone
 * surrogates (RFC 7493 §2.1) and U+0000, which PostgreSQL stores in neither text nor jsonb.
 * Members named `__proto__` are left out, for a later `Object.assign` would obey them.
 */
export function readJsonObject(bytes: Uint8Array): Record<string, unknown> | JsonFault {
  const text = readUtf8(bytes)
  if (text === undefined) return 'not_utf8'
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's message quotes the text, which is nobody's business (DR-36).
    return 'not_json'
  }
  return isObject(value) ? (harmIn(value, 1) ?? value) : 'no_object'
}

/** Undefined for bytes that are not UTF-8: what they were meant to say would be guessed. */
export function readUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/**
 * Whether a Content-Type names no other encoding than that of JSON (RFC 8259 §8.1), or one by which these bytes say
 * the same: clients that send plain ASCII name many. That the bytes are UTF-8 where it is named is not judged here.
 */
export function isUtf8(contentType: string | undefined, bytes: Uint8Array): boolean {
  const [, charset] = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(contentType ?? '') ?? []
  if (charset === undefined || /^utf-?8$/i.test(charset)) return true
  try {
    return new TextDecoder(charset).decode(bytes) === readUtf8(bytes)
  } catch {
    // An encoding that nobody here knows.
    return false
  }
}

/** Looks at every key and value, and drops `__proto__` on the way. */
function harmIn(value: unknown, depth: number): 'unstorable' | 'too_deep' | undefined {
  if (typeof value === 'string') {
    return value.isWellFormed() && !value.includes('\0') ? undefined : 'unstorable'
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (depth > DEEPEST) return 'too_deep'
  if (!Array.isArray(value)) Reflect.deleteProperty(value, '__proto__')
  for (const [key, member] of Object.entries(value)) {
    const harm = harmIn(key, depth) ?? harmIn(member, depth + 1)
    if (harm !== undefined) return harm
  }
  return undefined
}
