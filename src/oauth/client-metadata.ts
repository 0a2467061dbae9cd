/**
 * Clients that are known by a URL, at which they publish what they are (Client ID Metadata Document). What
 * such a URL may be, and what of such a document counts. Values only; who reads it, and whether anybody may
 * come this way, is told elsewhere.
 */
import { isObject } from './is-object.ts'
import { GRANT, ID_JAG_GRANT_PROFILE, JWT_BEARER_GRANT } from './names.ts'
import { isRedirectUri } from './redirect-uri.ts'
import { SIGNING_ALGS, type SigningAlg } from './signing-alg.ts'
import { isLoopback, parseWebUrl } from './uri.ts'

/** What we take from a document: what an administrator would otherwise have registered. */
export type ClientMetadata = {
  /** What people call it, if it says. */
  client_name: string | undefined
  token_endpoint_auth_method: 'private_key_jwt' | 'none'
  /** Of `private_key_jwt`, one of the two. */
  jwks: Jwk[] | undefined
  jwks_uri: string | undefined
  redirect_uris: string[]
  /** Those that this server knows. */
  grant_types: string[]
  id_token_signed_response_alg: SigningAlg
  dpop_bound_access_tokens: boolean
}
type Jwk = Record<string, unknown>
type Document = Record<string, unknown>

/** Characters of a URL; it stands in every token. */
const LONGEST_URL = 1_024
const LONGEST_NAME = 200
const LONGEST_REDIRECT = 2_048
const MOST_REDIRECTS = 20
/** Of RFC 7518 §6: any of them means a private or a symmetric key. */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/** A client id of this form names no record of ours (DS-47): it is the address of the client's own document. */
export const looksLikeMetadataUrl = (clientId: string): boolean => /^https?:\/\//i.test(clientId)

/**
 * DS-40: `https`, or `http` of a loopback address where that is allowed; a path, no userinfo, no fragment, no
 * dot segments. It has to be written as a URL parser would write it, so that what is compared as a string is
 * what is fetched.
 */
export function isMetadataUrl(value: string, allowLoopbackHttp: boolean): boolean {
  if (value.length > LONGEST_URL) return false
  const url = parseWebUrl(value, allowLoopbackHttp)
  return url !== undefined && url.href === value && url.pathname !== '/'
}

/** The host that a metadata URL is on, with its port unless that is the usual one. */
export const hostOfMetadataUrl = (url: string): string => new URL(url).host

/** Whether permission for a host is permission for this URL. A query could be anybody's words repeated by the host. */
export const isCoveredByHost = (url: string): boolean => !url.includes('?')

/** A host as `hostOfMetadataUrl` tells it. */
export function isMetadataHost(host: string, allowLoopbackHttp: boolean): boolean {
  // A URL parser would also take `*`, which looks as if it stood for others.
  const url = /^[\w.:[\]-]+$/.test(host) ? URL.parse(`https://${host}/`) : null
  return url?.host === host && (allowLoopbackHttp || !isLoopback(url))
}

/** What the document at this URL says of the client, or why it cannot count: words for who wrote it. */
export function readClientMetadata(
  document: Document,
  url: string,
  allowLoopbackHttp: boolean,
): { metadata: ClientMetadata } | { fault: string } {
  try {
    return { metadata: read(document, url, allowLoopbackHttp) }
  } catch (error) {
    if (error instanceof Unfit) return { fault: error.message }
    throw error
  }
}

class Unfit extends Error {}

function read(document: Document, url: string, allowLoopbackHttp: boolean): ClientMetadata {
  // DS-41, byte for byte: two spellings of one URL are two clients.
  demand(document.client_id === url, 'its client_id is not the URL it was read from')
  for (const secret of ['client_secret', 'client_secret_expires_at']) {
    demand(!Object.hasOwn(document, secret), `it has a ${secret}, which everybody could read`)
  }
  const method = document.token_endpoint_auth_method
  demand(
    method === 'private_key_jwt' || method === 'none',
    'its token_endpoint_auth_method is not private_key_jwt or none',
  )
  const declared = readList(document, 'grant_types', [GRANT.authorizationCode])
  checkProfiles(document, declared)
  const grant_types = Object.values(GRANT).filter(
    (grant) => declared.includes(grant) && !(method === 'none' && grant === GRANT.tokenExchange),
  )
  demand(grant_types.length > 0, 'none of its grant_types is open to it here')
  return {
    client_name: readName(document.client_name),
    token_endpoint_auth_method: method,
    ...readKeys(document, method, allowLoopbackHttp),
    redirect_uris: readRedirects(document, grant_types),
    grant_types,
    id_token_signed_response_alg: readAlg(document.id_token_signed_response_alg),
    dpop_bound_access_tokens: readFlag(document, 'dpop_bound_access_tokens'),
  }
}

function demand(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Unfit(otherwise)
}

/** DS-48. */
function checkProfiles(document: Document, grants: readonly string[]): void {
  const profiles = readList(document, 'authorization_grant_profiles_supported', [])
  if (!profiles.includes(ID_JAG_GRANT_PROFILE)) return
  demand(
    grants.includes(GRANT.tokenExchange) && grants.includes(JWT_BEARER_GRANT),
    'it declares the id-jag profile without token exchange and jwt-bearer in its grant_types',
  )
}

function readKeys(
  { jwks, jwks_uri }: Document,
  method: ClientMetadata['token_endpoint_auth_method'],
  allowLoopbackHttp: boolean,
): Pick<ClientMetadata, 'jwks' | 'jwks_uri'> {
  const keys = jwks === undefined ? undefined : readJwks(jwks)
  if (method === 'none') return { jwks: undefined, jwks_uri: undefined }
  demand(
    (keys === undefined) !== (jwks_uri === undefined),
    'private_key_jwt needs either jwks or jwks_uri',
  )
  if (keys !== undefined) return { jwks: keys, jwks_uri: undefined }
  demand(
    typeof jwks_uri === 'string' && parseWebUrl(jwks_uri, allowLoopbackHttp) !== undefined,
    'its jwks_uri is not an absolute https URL without userinfo and fragment',
  )
  return { jwks: undefined, jwks_uri }
}

/** Nothing private, whatever the method (DS-42). */
function readJwks(jwks: unknown): Jwk[] {
  demand(isObject(jwks) && Array.isArray(jwks.keys), 'its jwks is not a set of keys')
  const keys: unknown[] = jwks.keys
  demand(keys.every(isObject), 'its jwks is not a set of keys')
  const hasPrivate = keys.some((key) => PRIVATE_MEMBERS.some((name) => Object.hasOwn(key, name)))
  demand(!hasPrivate, 'its jwks has a private or symmetric key')
  return keys
}

/** Needed for the code flow alone (DS-49). */
function readRedirects(document: Document, grants: readonly string[]): string[] {
  const uris = readList(document, 'redirect_uris', [])
  demand(uris.length <= MOST_REDIRECTS, `it has more than ${MOST_REDIRECTS} redirect_uris`)
  demand(
    uris.every((uri) => uri.length <= LONGEST_REDIRECT && isRedirectUri(uri)),
    'one of its redirect_uris is not https, http on a loopback address or a private-use scheme with a dot',
  )
  demand(
    uris.length > 0 || !grants.includes(GRANT.authorizationCode),
    'its grant_types hold authorization_code (or nothing else was said), and it has no redirect_uris',
  )
  return uris
}

/** One line, and nothing that turns the text around it: users read it when they are asked. */
function readName(name: unknown): string | undefined {
  if (name === undefined) return undefined
  demand(
    typeof name === 'string' &&
      name.length <= LONGEST_NAME &&
      /^(?=.*\S)[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+$/u.test(name),
    `its client_name is not one line of at most ${LONGEST_NAME} characters`,
  )
  return name
}

function readAlg(alg: unknown = 'RS256'): SigningAlg {
  const known = SIGNING_ALGS.find((name) => name === alg)
  demand(
    known !== undefined,
    `its id_token_signed_response_alg is none of ${SIGNING_ALGS.join(', ')}`,
  )
  return known
}

function readFlag(document: Document, name: string): boolean {
  const flag = document[name]
  demand(flag === undefined || typeof flag === 'boolean', `its ${name} is neither true nor false`)
  return flag ?? false
}

function readList(document: Document, name: string, unlessGiven: string[]): string[] {
  const list = document[name] ?? unlessGiven
  demand(
    Array.isArray(list) && list.every((one) => typeof one === 'string'),
    `its ${name} is not a list of texts`,
  )
  return [...new Set(list)]
}
