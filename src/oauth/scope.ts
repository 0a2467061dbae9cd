// RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
const SCOPE_TOKEN = '[\\x21\\x23-\\x5B\\x5D-\\x7E]+'
const SCOPE = new RegExp(`^${SCOPE_TOKEN}(?: ${SCOPE_TOKEN})*$`)

/** One scope token, as a pattern for schemas. */
export const SCOPE_TOKEN_PATTERN = `^${SCOPE_TOKEN}$`

/**
 * The distinct scope tokens of a `scope` parameter, in the order sent; undefined when it does not
 * follow RFC 6749 §3.3 (a double space, a quote, a control character).
 */
export function parseScope(scope: string): string[] | undefined {
  if (!SCOPE.test(scope)) return undefined
  return [...new Set(scope.split(' '))]
}

export const joinScope = (scopes: readonly string[]): string => scopes.join(' ')
