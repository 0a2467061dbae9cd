/** JSON from strangers, made safe to keep: what leaves here can be copied, compared and stored. */
import { isObject } from '../oauth/is-object.ts'

/** Far more than any metadata document, far less than a stack. */
const DEEPEST = 64

/**
 * The object these bytes hold, or undefined if they hold anything else (DR-33).
 *
 * Refused besides bad UTF-8 and bad JSON: an array or a bare value, nesting deeper than 64, lone
 * surrogates (RFC 7493 §2.1) and U+0000, which PostgreSQL stores in neither text nor jsonb.
 * Members named `__proto__` are left out, for a later `Object.assign` would obey them.
 */
export function parseJsonObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    const value: unknown = JSON.parse(text)
    return isObject(value) && isHarmless(value, 1) ? value : undefined
  } catch {
    // The parser's message quotes the text, which is nobody's business (DR-36).
    return undefined
  }
}

/** Looks at every key and value, and drops `__proto__` on the way. */
function isHarmless(value: unknown, depth: number): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0')
  if (typeof value !== 'object' || value === null) return true
  if (depth > DEEPEST) return false
  if (Array.isArray(value)) return value.every((item) => isHarmless(item, depth + 1))
  Reflect.deleteProperty(value, '__proto__')
  return Object.entries(value).every(
    ([key, member]) => isHarmless(key, depth) && isHarmless(member, depth + 1),
  )
}
