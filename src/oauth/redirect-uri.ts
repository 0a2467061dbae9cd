import { parseWebUrl } from './uri.ts'

/** What may be registered: https, http on a loopback address, or a private-use scheme with a dot (RFC 8252 §7). */
export function isRedirectUri(value: string): boolean {
  if (/^https?:/i.test(value)) {
    // http on loopback is for the user's own machine (RFC 8252 §7.3), so no setting forbids it.
    return parseWebUrl(value, true) !== undefined
  }
  return (
    /^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+:[\x21\x22\x24-\x5b\x5d-\x7e]+$/i.test(value) &&
    URL.canParse(value)
  )
}

const LOOPBACK_ADDRESS = /^http:\/\/(127\.0\.0\.1|\[::1\])(?::\d{1,5})?(?=[/?]|$)/

/**
 * Whether a redirect URI is one of the registered: the same text, or, for a loopback IP address, the
 * same text but for the port (OP-02; RFC 8252 §7.3).
 */
export function isRegisteredRedirect(registered: readonly string[], sent: string): boolean {
  if (registered.includes(sent)) return true
  const portless = withoutPort(sent)
  return portless !== undefined && registered.some((uri) => withoutPort(uri) === portless)
}

/** Undefined unless it is plain http to a loopback IP address; `localhost` is a name and keeps its port. */
function withoutPort(uri: string): string | undefined {
  const match = LOOPBACK_ADDRESS.exec(uri)
  if (!match || !URL.canParse(uri)) return undefined
  return `http://${match[1]}${uri.slice(match[0].length)}`
}
