import {
  type BearerCode,
  BearerError,
  challenge,
  EITHER_WAY,
  type Scheme,
} from '../http/bearer-door.ts'
import type { OAuthErrorCode } from '../oauth/errors.ts'
import type { Refusal } from './refusals.ts'

// What a refusal of the exchange is called at the doors of the auth.md provider guide (TX-63).

const CALLED: Partial<Record<OAuthErrorCode, readonly [status: number, code: BearerCode]>> = {
  invalid_client: [401, 'unauthorized'],
  invalid_grant: [401, 'unauthorized'],
  invalid_dpop_proof: [401, 'invalid_dpop_proof'],
  use_dpop_nonce: [401, 'use_dpop_nonce'],
  insufficient_user_authentication: [401, 'insufficient_user_authentication'],
  interaction_required: [403, 'consent_required'],
  access_denied: [403, 'access_denied'],
  unauthorized_client: [403, 'unauthorized_client'],
}

const TOKEN =
  'The access token cannot be used here: it must be unexpired, have the scope delegate, and its session must be alive; refresh it, or sign the user in again'
const KEY =
  'The access token and the key do not belong together: send a token that is bound to a key as DPoP with a proof by that key, any other as Bearer'
const PROOF =
  'The DPoP proof does not hold: it must be one signed JWT of now with typ dpop+jwt and a public jwk, the htm and htu of this request, the ath of the token and a new jti'

export const codeAtDoor = (refusal: Refusal): BearerCode => calledAtDoor(refusal)[1]

export function bearerErrorOf(refusal: Refusal, scheme: Scheme): BearerError {
  const told = refusal.toOAuthError()
  const [status, code] = calledAtDoor(refusal)
  const { cause: _cause, members, retryAfter, dpopNonce } = told.details
  const words = status === 401 ? wordsOf(refusal, told.message) : told.message
  return new BearerError(status, code, words, {
    members,
    retryAfter,
    dpopNonce,
    challenge: status === 401 ? challengeOf(refusal, code, words, scheme) : undefined,
  })
}

/** A request without a token that could be one. */
export const tokenMissing = (): BearerError =>
  new BearerError(401, 'unauthorized', 'Send an access token with the scope delegate', {
    challenge: EITHER_WAY,
  })

function calledAtDoor(refusal: Refusal): readonly [status: number, code: BearerCode] {
  if (refusal.reason === 'unverified_contact') return [403, 'missing_verified_email']
  const { code, status } = refusal.toOAuthError()
  return CALLED[code] ?? [status, code]
}

/** The exchange speaks of a client and a subject token; here both are the access token. */
function wordsOf({ reason, code }: Refusal, words: string): string {
  if (reason === 'wrong_dpop_key') return KEY
  if (reason === 'bad_dpop_proof') return PROOF
  return code === 'invalid_client' || code === 'invalid_grant' ? TOKEN : words
}

function challengeOf(
  { reason, details }: Refusal,
  code: BearerCode,
  error_description: string,
  scheme: Scheme,
): string {
  const ofKey = code === 'invalid_dpop_proof' || code === 'use_dpop_nonce'
  const error = code === 'unauthorized' ? 'invalid_token' : code
  return challenge(ofKey || reason === 'wrong_dpop_key' ? 'DPoP' : scheme, {
    error,
    error_description,
    ...details.members,
  })
}
