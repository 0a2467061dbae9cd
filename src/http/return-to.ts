/** Longest address that a sign-in returns to: it has to fit into a URL and a header again. */
const LONGEST = 12 * 1024
const HERE = 'http://here.invalid'

/**
 * Where a browser may be sent after a sign-in: a path of this server, with its query. Undefined for
 * everything that a browser could read as another origin (SE-02): `//host`, a backslash, a control
 * character, an absolute URL.
 */
export function readReturnTo(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > LONGEST) return undefined
  if (!/^\/(?!\/)[\x21-\x5b\x5d-\x7e]*$/.test(value)) return undefined
  const url = URL.parse(value, HERE)
  return url?.origin === HERE && !url.pathname.startsWith('//') ? value : undefined
}
