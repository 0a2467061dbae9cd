import type { Reason } from '../audit/reason.ts'
import { OAuthError, type OAuthErrorCode } from '../oauth/errors.ts'
import { Refusal } from './refusals.ts'

/** Why a code or a refresh token was not honoured. `text` replaces the usual description. */
export type GrantRefusal = { refused: Reason; text?: string; user_id?: string }

const GONE = 'The user or the session behind this grant is no longer active: sign in again'
const BAD_CODE = 'The code is unknown, was used before, has expired or belongs to another client'
const BAD_TOKEN = 'The refresh token is unknown, expired, revoked or belongs to another client'
const BOUND_TOKEN =
  'The refresh token is bound to the key that its grant began with: send a DPoP proof by that key'

/** What these two grants say in words of their own. */
const ANSWERS: { [R in Reason]?: readonly [OAuthErrorCode, string] } = {
  replayed_assertion: ['invalid_client', 'The client assertion was used before'],
  malformed_request: ['invalid_request', 'A parameter is missing or repeated'],
  user_inactive: ['invalid_grant', GONE],
  session_ended: ['invalid_grant', GONE],
  unknown_code: ['invalid_grant', BAD_CODE],
  code_expired: ['invalid_grant', BAD_CODE],
  spent_code: ['invalid_grant', BAD_CODE],
  wrong_redirect_uri: ['invalid_grant', 'redirect_uri is not the one of the authorization request'],
  wrong_code_verifier: ['invalid_grant', 'code_verifier does not fit the code_challenge'],
  unknown_refresh_token: ['invalid_grant', BAD_TOKEN],
  refresh_token_expired: ['invalid_grant', BAD_TOKEN],
  refresh_token_revoked: ['invalid_grant', BAD_TOKEN],
  spent_refresh_token: ['invalid_grant', BAD_TOKEN],
  wrong_dpop_key: ['invalid_grant', BOUND_TOKEN],
  unsupported: ['unsupported_token_type', 'Only refresh tokens can be revoked by themselves'],
  scope_not_granted: ['invalid_scope', 'scope asks for more than the refresh token holds'],
}

/** What the client is told; the true reason is for the audit log (TX-61). */
export function grantError({ refused, text }: GrantRefusal): OAuthError {
  const told = ANSWERS[refused]
  return told ? new OAuthError(told[0], text ?? told[1]) : new Refusal(refused).toOAuthError()
}
