/** The codes a client may be told at the token endpoint (RFC 6749 §5.2, RFC 8693 §2.2.2 and later). */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_grant'
  | 'invalid_scope'
  | 'invalid_target'
  | 'invalid_authorization_details'
  | 'insufficient_user_authentication'
  | 'interaction_required'
  | 'access_denied'
  | 'unsupported_token_type'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce'
  | 'server_error'
  | 'temporarily_unavailable'

export type OAuthErrorDetails = {
  /** Members beside `error` and `error_description`, such as `max_age` or `interaction_uri`. */
  members?: Record<string, string | number>
  /** Seconds for `Retry-After`. */
  retryAfter?: number
  /** For `DPoP-Nonce`: what the next proof has to hold (RFC 9449 §8). */
  dpopNonce?: string | undefined
  /** Told to the log alone. */
  cause?: unknown
  /** Instead of the code's own status: 405 for a wrong method, 429 for a caller that asks too often. */
  status?: 405 | 429
  /** Answer with `WWW-Authenticate: Basic`: the client authenticated by header (CA-02). */
  basicChallenge?: boolean
}

/**
 * An error meant for a client. The description is shown as it stands, so it is self-sufficient,
 * printable ASCII without `"` and `\` (RFC 6749 §5.2), and never quotes what the caller sent.
 */
export class OAuthError extends Error {
  readonly code: OAuthErrorCode
  readonly details: OAuthErrorDetails

  constructor(code: OAuthErrorCode, description: string, details: OAuthErrorDetails = {}) {
    super(description, { cause: details.cause })
    this.name = 'OAuthError'
    this.code = code
    this.details = details
  }

  /** The HTTP status of this code at the token endpoint (§2.7 of the protocol reference). */
  get status(): number {
    if (this.details.status !== undefined) return this.details.status
    if (this.code === 'invalid_client') return 401
    if (this.code === 'server_error') return 500
    if (this.code === 'temporarily_unavailable') return 503
    return 400
  }
}
