/** Where a URL leads, and whether a request may go there: DR-30, DR-31, DR-35. Values only. */
import { isIP } from 'node:net'
import { type AllowRule, ruleCovers, ruleMayCover } from './allow-list.ts'
import { isHostName } from './host-name.ts'
import { isLoopback, isSpecialUse } from './special-use.ts'

/** `host` is in lower case, without brackets and without a trailing dot. */
export type Destination = {
  scheme: 'https:' | 'http:'
  host: string
  port: number
  path: string
}

export type DestinationRefusal =
  | 'invalid_url'
  | 'userinfo_not_allowed'
  | 'scheme_not_allowed'
  | 'port_not_allowed'
  | 'address_not_allowed'

export type DestinationRules = { allow: AllowRule[]; allowLoopbackHttp: boolean }

/** The URL parser turns decimal, octal and hexadecimal IPv4 addresses into their usual form. */
export function readDestination(text: string): Destination | DestinationRefusal {
  // The parser would repair these; two parsers that repair differently are how guards are passed.
  if (/[^\x21-\x7e]|\\/.test(text)) return 'invalid_url'
  const url = URL.parse(text)
  if (!url) return 'invalid_url'
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'scheme_not_allowed'
  // An empty userinfo leaves no trace in the parsed URL, nor does a slash too many or too few.
  const authority = /^[a-z]+:\/\/([^/?#]+)/i.exec(text)?.[1]
  if (authority === undefined) return 'invalid_url'
  if (authority.includes('@')) return 'userinfo_not_allowed'
  const host = url.hostname.replace(/^\[|\]$|\.$/g, '')
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80))
  if ((isIP(host) === 0 && !isHostName(host)) || port === 0) return 'invalid_url'
  return { scheme: url.protocol, host, port, path: url.pathname + url.search }
}

/**
 * What is wrong with a URL that someone wants to register, without asking any name server: the same
 * that a request to it would be refused for. Undefined does not promise that the request will go.
 */
export function refuseUrl(url: string, rules: DestinationRules): DestinationRefusal | undefined {
  const to = readDestination(url)
  if (typeof to === 'string') return to
  const addresses = knownAddresses(to.host)
  // A name of some other kind may lead to loopback too, but nobody registers what only development would call. One
  // under `test` (RFC 6761 §6.2) is nothing else, and leads wherever the hosts file says.
  const isLocal = addresses?.every(isLoopback) ?? /(^|\.)test$/.test(to.host)
  const before = { ...rules, allowLoopbackHttp: rules.allowLoopbackHttp && isLocal }
  return refuseBeforeLookup(to, before) ?? refuseAddresses(to, addresses ?? [], rules)
}

/** What can be said before any look-up: such a host is not even asked for. */
export function refuseBeforeLookup(
  to: Destination,
  { allow, allowLoopbackHttp }: DestinationRules,
): DestinationRefusal | undefined {
  if (allowLoopbackHttp) return undefined
  if (to.scheme !== 'https:') return 'scheme_not_allowed'
  const isListed = allow.some((rule) => rule.port === to.port && ruleMayCover(rule, to.host))
  return to.port === 443 || isListed ? undefined : 'port_not_allowed'
}

/** The addresses that need no look-up: of a literal, and of `localhost` (RFC 6761 §6.3). */
export function knownAddresses(host: string): string[] | undefined {
  if (isIP(host) !== 0) return [host]
  return /(^|\.)localhost$/.test(host) ? ['127.0.0.1', '::1'] : undefined
}

/** One address that may not be called is enough: which one is used is not ours to choose. */
export function refuseAddresses(
  to: Destination,
  addresses: string[],
  rules: DestinationRules,
): DestinationRefusal | undefined {
  for (const address of addresses) {
    const refusal = refuseAddress(to, address, rules)
    if (refusal) return refusal
  }
  return undefined
}

function refuseAddress(
  to: Destination,
  address: string,
  { allow, allowLoopbackHttp }: DestinationRules,
): DestinationRefusal | undefined {
  if (allowLoopbackHttp && isLoopback(address)) return undefined
  if (to.scheme !== 'https:') return 'scheme_not_allowed'
  if (allow.some((rule) => rule.port === to.port && ruleCovers(rule, to.host, address))) {
    return undefined
  }
  if (isSpecialUse(address)) return 'address_not_allowed'
  return to.port === 443 ? undefined : 'port_not_allowed'
}
