/**
 * A resource identifier after RFC 3986 §6.2.2 syntax normalisation (TX-11): case of scheme and host,
 * percent-encoding, dot segments, an empty path. Undefined unless it is an absolute URI without a
 * fragment (RFC 8707 §2, TX-08).
 */
export function normaliseResource(value: string): string | undefined {
  const known = normalised.get(value)
  if (known !== undefined || normalised.has(value)) return known
  if (normalised.size >= MOST_NORMALISED) normalised.clear()
  const result = normaliseUri(value)
  normalised.set(value, result)
  return result
}

/** The same few identifiers are compared for every exchange, and parsing them costs more than the rest of it. */
const MOST_NORMALISED = 1_000
const normalised = new Map<string, string | undefined>()

/** The same without a memory: for what a caller may write in a new way each time. */
export function normaliseUri(value: string): string | undefined {
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:/.test(value) || value.includes('#')) return undefined
  if (/[^\x21-\x7e]/.test(value) || /%(?![0-9A-Fa-f]{2})/.test(value)) return undefined
  const unescaped = value.replace(/%[0-9A-Fa-f]{2}/g, (encoded) => {
    const char = String.fromCharCode(Number.parseInt(encoded.slice(1), 16))
    return /[A-Za-z0-9._~-]/.test(char) ? char : encoded.toUpperCase()
  })
  if (!URL.canParse(unescaped)) return undefined
  return new URL(unescaped).href
}

/** The same identifier with and without one trailing slash, where its path is empty or `/` (TX-05). */
export function withOrWithoutSlash(identifier: string): string | undefined {
  const [, head, path = ''] = /^([A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]+)(\/?)$/.exec(identifier) ?? []
  if (head === undefined) return undefined
  return path === '/' ? head : `${head}/`
}

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost'])

export const isLoopback = (url: URL): boolean => LOOPBACK.has(url.hostname)

/**
 * An absolute `https` URL as a peer or an administrator may register one, or one of a loopback address by
 * `http` where that is allowed. Undefined for anything that a URL parser would have to repair, and for
 * userinfo and fragments.
 */
export function parseWebUrl(value: string, allowLoopbackHttp: boolean): URL | undefined {
  if (!/^https?:\/\/[^/?]/i.test(value) || /[^\x21-\x7e]|[\\#]/.test(value)) return undefined
  const url = URL.parse(value)
  if (!url || /^https?:\/\/[^/?]*@/i.test(value)) return undefined
  if (url.protocol === 'http:' && !(allowLoopbackHttp && isLoopback(url))) return undefined
  return url
}

/** Whether it is an address of this server; an issuer is an origin. */
export const isOurs = (url: string, issuer: string): boolean => URL.parse(url)?.origin === issuer

/** What a person recognises of an address: its host, or all of it where there is none, as in a custom scheme. */
export const hostOf = (uri: string): string => URL.parse(uri)?.host || uri
