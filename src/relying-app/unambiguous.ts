/**
 * True for JSON that every parser reads alike. `json` is known to be JSON. Of a name that comes twice one
 * parser takes the first value and another the last (RFC 8259 §4); a lone surrogate or U+0000 ends or
 * changes a string for some; `__proto__` is a name to one program and an order to another.
 */
export function isUnambiguous(json: string): boolean {
  const open: Set<string>[] = []
  for (const [token, string, colon] of json.matchAll(TOKEN)) {
    if (string === undefined) {
      if (token === '{' || token === '[') open.push(new Set())
      else open.pop()
      continue
    }
    const text = JSON.parse(string) as string
    if (!text.isWellFormed() || text.includes('\0')) return false
    if (colon === undefined) continue
    if (text === '__proto__' || open.at(-1)?.has(text)) return false
    open.at(-1)?.add(text)
  }
  return true
}

/** A string, with the colon behind it if it is a name; or a bracket. */
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|[{}[\]]/g
