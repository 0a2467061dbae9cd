import { compactVerify } from 'jose'
import { isLoopback, parseWebUrl } from '../oauth/uri.ts'
import { type Assertion, isText } from './assertion.ts'
import { type FetchDocument, fetchDocument, IssuerUnavailable } from './fetch-document.ts'
import { cacheKeys, type FoundKey } from './key-cache.ts'

/** An issuer whose ID-JAGs this app believes. */
export type TrustedIssuer = {
  issuer: string
  /** @throws {IssuerUnavailable} when it cannot be told now whether there is such a key */
  findKey(header: { alg: string; kid: string }, now: number): Promise<FoundKey | undefined>
}

/** The algorithms an ID-JAG may have. What its header says is compared with these and decides nothing else. */
const ALGORITHMS = ['ES256', 'RS256', 'EdDSA', 'PS256', 'ES384']

/**
 * Made once and kept, for it keeps the keys. They are where the issuer's own metadata say (IJ-51), unless
 * `jwksUri` is given: an auth.md service takes `{issuer}/.well-known/jwks.json`.
 */
export function trustIssuer(
  issuer: string,
  { jwksUri, ask = fetchDocument }: { jwksUri?: string; ask?: FetchDocument } = {},
): TrustedIssuer {
  const metadata = metadataUrl(issuer)
  const findKey = cacheKeys(async () => {
    const uri = jwksUri ?? readJwksUri(issuer, (await ask(metadata)).document)
    return { ...(await ask(uri)), jwksUri: uri }
  })
  return { issuer, findKey }
}

export const findIssuer = (trusted: readonly TrustedIssuer[], { claims }: Assertion) =>
  trusted.find(({ issuer }) => issuer === claims.iss)

/**
 * Undefined unless a published key of the issuer signed it. Nothing else is looked at: not `jwk`, `jku`
 * or `x5u` of the header (IJ-51).
 * @throws {IssuerUnavailable}
 */
export async function findSigner(
  read: Assertion,
  issuer: TrustedIssuer,
  now: number,
): Promise<FoundKey | undefined> {
  const found = await findKeyOf(read, issuer, now)
  return found && (await isSignedBy(read, found)) ? found : undefined
}

/**
 * The key that it names, if that may sign and its issuer publishes it. It may be signed by another all the same.
 * @throws {IssuerUnavailable}
 */
export async function findKeyOf(
  { header: { alg, kid } }: Assertion,
  issuer: TrustedIssuer,
  now: number,
): Promise<FoundKey | undefined> {
  return ALGORITHMS.includes(alg) && isText(kid) ? issuer.findKey({ alg, kid }, now) : undefined
}

export const isSignedBy = ({ text }: Assertion, { key }: FoundKey): Promise<boolean> =>
  compactVerify(text, key, { algorithms: ALGORITHMS }).then(
    () => true,
    () => false,
  )

/** Metadata that speak of somebody else are somebody else's (RFC 8414 §3.3). */
function readJwksUri(issuer: string, metadata: Record<string, unknown>): string {
  const { issuer: named, jwks_uri } = metadata
  const mayBeLocal = isLoopback(new URL(issuer))
  if (named !== issuer || typeof jwks_uri !== 'string' || !parseWebUrl(jwks_uri, mayBeLocal)) {
    throw new IssuerUnavailable(`the metadata of ${issuer} are of no use`)
  }
  return jwks_uri
}

/** RFC 8414 §3.1: a path of the issuer comes last. */
function metadataUrl(issuer: string): string {
  const { origin, pathname } = new URL(issuer)
  return `${origin}/.well-known/oauth-authorization-server${pathname === '/' ? '' : pathname}`
}
