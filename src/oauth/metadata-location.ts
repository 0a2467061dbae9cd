/** Where metadata documents lie, and what one that lies there has to speak of. URLs are as `parseWebUrl` takes them. */
import { normaliseUri, withOrWithoutSlash } from './uri.ts'

const RESOURCE = '/.well-known/oauth-protected-resource'
const SERVER = '/.well-known/oauth-authorization-server'
const OPENID = '/.well-known/openid-configuration'

/** RFC 9728 §3.1, and at the root for those who put it there (DR-01). */
export function resourceLocations(resource: string): string[] {
  const { origin, pathname, search } = new URL(resource)
  const path = pathname === '/' ? '' : pathname
  return distinct([`${origin}${RESOURCE}${path}${search}`, `${origin}${RESOURCE}`])
}

/** RFC 8414 §3 and §5, then as OpenID Connect Discovery has it (DR-05). */
export function serverLocations(issuer: string): string[] {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  return distinct([
    `${origin}${SERVER}${path}`,
    `${origin}${OPENID}${path}`,
    `${origin}${path}${OPENID}`,
  ])
}

export type MetadataUrl = { of: 'resource' | 'server'; identifier: string }

/** What the metadata at this URL would speak of, where the URL is of that form. */
export function readMetadataUrl(url: string): MetadataUrl | undefined {
  const { origin, pathname, search } = new URL(url)
  if (search !== '') return undefined
  for (const [of, place] of PLACES) {
    if (pathname === place || pathname.startsWith(`${place}/`)) {
      return { of, identifier: `${origin}${pathname.slice(place.length)}` }
    }
  }
  if (!pathname.endsWith(OPENID)) return undefined
  return { of: 'server', identifier: `${origin}${pathname.slice(0, -OPENID.length)}` }
}

const PLACES = [
  ['resource', RESOURCE],
  ['server', SERVER],
  ['server', OPENID],
] as const

/**
 * Whether metadata found by way of a URL may speak of this resource: of the URL itself (DR-02), or of what
 * lies above it at the same origin, path segment by path segment (DR-03).
 */
export function speaksOf(resource: string, requested: string): boolean {
  if (normaliseUri(resource) === normaliseUri(requested)) return true
  const above = new URL(resource)
  const below = new URL(requested)
  if (above.origin !== below.origin || above.search !== '') return false
  return `${below.pathname}/`.startsWith(above.pathname.replace(/\/?$/, '/'))
}

/** Whether two identifiers of a server mean the same: but for one slash where the path is empty (DR-06). */
export const sameServer = (one: string, other: string): boolean =>
  one === other || one === withOrWithoutSlash(other)

const distinct = (urls: string[]): string[] => [...new Set(urls)]
