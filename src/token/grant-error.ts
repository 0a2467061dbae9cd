import type { Reason } from '../audit/reason.ts'
import { OAuthError, type OAuthErrorCode } from '../oauth/errors.ts'

/** Why a code or a refresh token was not honoured. `text` replaces the usual description. */
export type Refusal = { refused: Reason; text?: string }

const GONE = 'The user or the session behind this grant is no longer active: sign in again'
const BAD_CODE = 'The code is unknown, was used before, has expired or belongs to another client'
const BAD_TOKEN = 'The refresh token is unknown, expired, revoked or belongs to another client'

const ANSWERS: { [R in Reason]?: readonly [OAuthErrorCode, string] } = {
  replayed_assertion: ['invalid_client', 'The client assertion was used before'],
  malformed_request: ['invalid_request', 'A parameter is missing or repeated'],
  agent_retired: ['invalid_client', 'The client is unknown or its credentials are wrong'],
  agent_requested: ['unauthorized_client', 'The agent has not been approved yet'],
  agent_suspended: ['unauthorized_client', 'The agent is suspended'],
  agent_expired: ['unauthorized_client', 'The agent is past its end'],
  owner_inactive: ['unauthorized_client', 'The agent has no active owner'],
  grant_not_allowed: ['unauthorized_client', 'The agent may not use this grant'],
  tenant_suspended: ['invalid_grant', GONE],
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
  scope_malformed: ['invalid_scope', 'scope is not a list of scope tokens (RFC 6749 section 3.3)'],
  scope_not_granted: ['invalid_scope', 'scope asks for more than the refresh token holds'],
}

/** What the client is told; the true reason is for the audit log (TX-61). */
export function grantError({ refused, text }: Refusal): OAuthError {
  const [code, description] = ANSWERS[refused] ?? ['invalid_grant', 'The grant is not valid']
  return new OAuthError(code, text ?? description)
}
