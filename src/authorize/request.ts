/**
 * An authorization request, read from its parameters (RFC 6749 §4.1.1, RFC 7636 §4.3, OIDC Core §3.1.2.1).
 * What is specified but not built is refused by name rather than ignored: a client that asks for a
 * restriction must not believe it got it.
 */

import type { FormFields } from '../http/form.ts'
import { parseJsonObject } from '../http/json-object.ts'
import { isThumbprint } from '../oauth/jwk-thumbprint.ts'
import { isCodeChallenge } from '../oauth/pkce.ts'
import { parseScope } from '../oauth/scope.ts'

/** The codes of the authorization endpoint (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6, OIDC unmet-acr). */
export type AuthorizationErrorCode =
  | 'invalid_request'
  | 'unauthorized_client'
  | 'access_denied'
  | 'unsupported_response_type'
  | 'invalid_scope'
  | 'server_error'
  | 'login_required'
  | 'interaction_required'
  | 'consent_required'
  | 'request_not_supported'
  | 'request_uri_not_supported'
  | 'unmet_authentication_requirements'

export type AuthorizationError = { error: AuthorizationErrorCode; description: string }

export type AuthorizationRequest = {
  code_challenge: string
  nonce: string | undefined
  /** Thumbprint of the DPoP key that alone may redeem the code (RFC 9449 §10). */
  dpop_jkt: string | undefined
  /** Of those asked for, the ones we know, `openid` among them. */
  scope: string[]
  prompts: readonly Prompt[]
  /** Seconds. */
  max_age: number | undefined
  login_hint: string | undefined
  id_token_hint: string | undefined
}

const PROMPTS = ['none', 'login', 'consent', 'select_account'] as const
type Prompt = (typeof PROMPTS)[number]

/** Parameters of later issues. */
const NOT_BUILT = ['authorization_details', 'resource'] as const
const LONGEST_NONCE = 1024

/**
 * The first fault decides. Client and redirect URI have been found good before.
 * @param known the scopes that this client may be given; others are ignored
 */
export function readAuthorizationRequest(
  fields: FormFields,
  known: readonly string[],
): AuthorizationRequest | AuthorizationError {
  const bad = (description: string) => ({ error: 'invalid_request', description }) as const
  const repeated = Object.keys(fields).find((name) => Array.isArray(fields[name]))
  if (repeated !== undefined) return bad(`A parameter is repeated: ${shown(repeated)}`)
  const given = fields as Record<string, string | undefined>
  if (Object.values(given).some((value) => value?.includes('\0')))
    return bad('A NUL is not allowed')

  if (given.request !== undefined) {
    return { error: 'request_not_supported', description: 'Send plain parameters, not request' }
  }
  if (given.request_uri !== undefined) {
    return { error: 'request_uri_not_supported', description: 'Send parameters, not request_uri' }
  }
  if (given.response_type === undefined) return bad('response_type is missing')
  if (given.response_type !== 'code') {
    return { error: 'unsupported_response_type', description: 'response_type must be code' }
  }
  if ((given.response_mode ?? 'query') !== 'query') return bad('response_mode must be query')
  const notBuilt = NOT_BUILT.find((name) => given[name] !== undefined)
  if (notBuilt !== undefined) return bad(`${notBuilt} is not supported yet`)

  const { code_challenge, code_challenge_method, nonce, dpop_jkt } = given
  if (code_challenge === undefined) return bad('code_challenge is missing: PKCE is required')
  if (code_challenge_method !== 'S256') return bad('code_challenge_method must be S256')
  if (!isCodeChallenge(code_challenge)) return bad('code_challenge is malformed')
  if (nonce !== undefined && nonce.length > LONGEST_NONCE) return bad('nonce is too long')
  if (dpop_jkt !== undefined && !isThumbprint(dpop_jkt)) return bad('dpop_jkt is malformed')

  const scope = given.scope === undefined ? undefined : parseScope(given.scope)
  if (!scope?.includes('openid')) {
    return { error: 'invalid_scope', description: 'scope must contain openid' }
  }
  const prompts = given.prompt?.split(' ').filter(Boolean) ?? []
  if (!prompts.every(isPrompt)) return bad('prompt has an unknown value')
  if (prompts.includes('none') && prompts.length > 1) return bad('prompt none stands alone')
  const { max_age } = given
  if (max_age !== undefined && !/^\d{1,9}$/.test(max_age)) return bad('max_age must be seconds')

  const claims =
    given.claims === undefined ? {} : parseJsonObject(Buffer.from(given.claims, 'utf8'))
  if (!claims) return bad('claims is not a JSON object')
  if (wantsAcr(claims)) {
    return {
      error: 'unmet_authentication_requirements',
      description: 'No authentication context class is offered, so an essential acr cannot be met',
    }
  }
  return {
    code_challenge,
    nonce,
    dpop_jkt,
    scope: known.filter((name) => scope.includes(name)),
    prompts,
    max_age: max_age === undefined ? undefined : Number(max_age),
    login_hint: given.login_hint,
    id_token_hint: given.id_token_hint,
  }
}

const isPrompt = (value: string): value is Prompt => PROMPTS.some((known) => known === value)

/** An `acr` asked for as essential, of the ID token or of userinfo (OIDC Core §5.5.1.1). */
function wantsAcr(claims: Record<string, unknown>): boolean {
  return [claims.id_token, claims.userinfo].some((of) => {
    const acr = (of as { acr?: { essential?: unknown } } | null | undefined)?.acr
    return acr?.essential === true
  })
}

/** A parameter's name as it may stand in an error_description (RFC 6749 §5.2). */
const shown = (name: string) => name.replace(/[^A-Za-z0-9_.-]/g, '').slice(0, 64)
