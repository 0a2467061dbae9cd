/** What OpenID Connect Discovery says of a provider, as far as its keys go. */
import { parseWebUrl } from '../oauth/uri.ts'

export type Provider = { issuer: string | undefined; jwks_uri: string | undefined }

/** OpenID Connect Discovery §4: a slash at the end of the issuer is not doubled. */
export const discoveryUrl = (issuer: string): string =>
  `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`

export const readProvider = ({ issuer, jwks_uri }: Record<string, unknown>): Provider => ({
  issuer: text(issuer),
  jwks_uri: text(jwks_uri),
})

/** The document must speak of this very issuer, or one could give itself the keys of another (§4.3). */
export function jwksUriOf(
  { issuer, jwks_uri = '' }: Provider,
  expected: string,
  allowLoopbackHttp: boolean,
): { uri: string } | { fault: string } {
  if (issuer !== expected) return { fault: `its document speaks of ${whom(issuer, expected)}` }
  return parseWebUrl(jwks_uri, allowLoopbackHttp) === undefined
    ? { fault: 'its document names no jwks_uri that is an absolute https URL' }
    : { uri: jwks_uri }
}

/** By its name where that is near: what it says of others is not told. */
function whom(issuer: string | undefined, expected: string): string {
  if (issuer === undefined) return 'no issuer'
  const isNear = isOrdinary(issuer) && URL.parse(issuer)?.origin === new URL(expected).origin
  return `another issuer, ${isNear ? issuer : 'of another origin'}`
}

const isOrdinary = (name: string) => name.length <= 512 && /^[\x21-\x7e]+$/.test(name)

const text = (value: unknown) => (typeof value === 'string' ? value : undefined)
