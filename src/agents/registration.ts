/** What an agent's registration may say, judged by values alone; enrolment and change both ask here. */
import type { AuthMethod } from '../db/tables.ts'
import { invalid, unsupported } from '../http/problem.ts'
import { GRANT } from '../oauth/names.ts'
import { isRedirectUri } from '../oauth/redirect-uri.ts'
import { parseWebUrl } from '../oauth/uri.ts'

const SUPPORTED: readonly string[] = Object.values(GRANT)

export const hasSecret = (method: AuthMethod): boolean =>
  method === 'client_secret_basic' || method === 'client_secret_post'

/** A public client cannot prove who it is, so it never exchanges (§3.3 of the design). */
export const standardGrantTypes = (method: AuthMethod): string[] =>
  method === 'none'
    ? [GRANT.authorizationCode, GRANT.refreshToken]
    : [GRANT.authorizationCode, GRANT.refreshToken, GRANT.tokenExchange]

/** @throws {ProblemError} `unsupported_value` for a grant not built, `validation_failed` for one not allowed */
export function checkGrantTypes(method: AuthMethod, grantTypes: readonly string[]): void {
  const unknown = grantTypes.findIndex((grant) => !SUPPORTED.includes(grant))
  if (unknown >= 0) {
    throw unsupported(`/grant_types/${unknown}`, `must be one of ${SUPPORTED.join(', ')}`)
  }
  if (method === 'none' && grantTypes.includes(GRANT.tokenExchange)) {
    throw invalid(
      '/grant_types',
      'cannot hold token exchange: token_endpoint_auth_method none is for code flow alone',
    )
  }
}

/** @throws {ProblemError} `validation_failed` */
export function checkRedirectUris(redirectUris: readonly string[]): void {
  const wrong = redirectUris.findIndex((uri) => !isRedirectUri(uri))
  if (wrong >= 0) {
    throw invalid(
      `/redirect_uris/${wrong}`,
      'must be an absolute URI without a fragment: https, http on a loopback address, or a private-use scheme with a dot (RFC 8252 §7)',
    )
  }
}

/**
 * @param judgeUrl what is wrong with an address that this server is to call, if anything is
 * @throws {ProblemError} `validation_failed`
 */
export function checkJwksUri(
  jwksUri: string,
  allowLoopbackHttp: boolean,
  judgeUrl: (url: string) => string | undefined,
): void {
  if (parseWebUrl(jwksUri, allowLoopbackHttp) === undefined) {
    throw invalid('/jwks_uri', 'must be an absolute https URL without userinfo and fragment')
  }
  const fault = judgeUrl(jwksUri)
  if (fault !== undefined) throw invalid('/jwks_uri', `cannot be called: ${fault}`)
}
