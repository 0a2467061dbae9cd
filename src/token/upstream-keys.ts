import type { Deps } from '../deps.ts'
import { rememberPublished } from '../http/published.ts'
import { findPublishedKeys, type PublicKey } from '../http/published-keys.ts'
import type { DecodedJws } from '../oauth/jws.ts'
import { discoveryUrl, jwksUriOf, type Provider, readProvider } from '../rules/provider-metadata.ts'
import type { Registration } from '../rules/trusted-issuer-queries.ts'
import { Refusal } from './refusals.ts'

const providers = rememberPublished('the discovery document of a trusted issuer', readProvider)

/** Seconds: until then nobody asks the issuer again. */
const ASK_AGAIN = 30

/**
 * The keys of a trusted issuer that a token with this header may be signed with. None where it has none.
 * @throws {Refusal} `upstream_unavailable` where that cannot be told: it is not the caller's fault.
 */
export async function findUpstreamKeys(
  deps: Deps,
  { issuer, jwks_uri }: Pick<Registration, 'issuer' | 'jwks_uri'>,
  header: DecodedJws['header'],
): Promise<PublicKey[]> {
  const uri = jwks_uri ?? (await discoverKeys(deps, issuer))
  const { keys, current } = await findPublishedKeys(deps, uri, header)
  if (keys.length === 0 && !current) throw unavailable()
  return keys
}

async function discoverKeys(deps: Deps, issuer: string): Promise<string> {
  const read = (provider: Provider) => jwksUriOf(provider, issuer, deps.config.allowLoopbackHttp)
  const { value } = await providers(deps, discoveryUrl(issuer), (one) => 'uri' in read(one))
  if (value === undefined) throw unavailable()
  const found = read(value)
  if ('uri' in found) return found.uri
  deps.log.warn({ issuer }, `a trusted issuer cannot be discovered: ${found.fault}`)
  throw unavailable()
}

const unavailable = () => new Refusal('upstream_unavailable', { retryAfter: ASK_AGAIN })
