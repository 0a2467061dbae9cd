export type OutboundReason = keyof typeof MESSAGES

/** A request that was refused or failed. The message can be shown; `cause` stays in our log. */
export class OutboundError extends Error {
  override readonly name = 'OutboundError'
  readonly reason: OutboundReason
  /** What the other side answered before it failed, if it came that far. */
  status?: number | undefined

  constructor(reason: OutboundReason, cause?: unknown) {
    super(MESSAGES[reason], cause === undefined ? undefined : { cause: quiet(cause) })
    this.reason = reason
  }
}

const NO_ADDRESS =
  'the host has no address that may be called: it is unknown, or in a special-use network ' +
  'that OUTBOUND_ALLOW does not list'

const MESSAGES = {
  invalid_url: 'the URL is not valid',
  invalid_request: 'the request could not be written',
  userinfo_not_allowed: 'the URL must not contain a user name or password',
  scheme_not_allowed: 'the URL must begin with https://',
  port_not_allowed: 'the port is neither 443 nor listed for this host in OUTBOUND_ALLOW',
  // One wording for both, or it would tell which names an internal DNS server knows.
  resolution_failed: NO_ADDRESS,
  address_not_allowed: NO_ADDRESS,
  connect_failed: 'no secure connection could be made',
  timeout: 'the answer took too long',
  redirect_refused: 'the server answered with a redirect, which is not followed',
  bad_status: 'the server did not answer with status 200',
  compressed: 'the answer is compressed, although that was not accepted',
  too_large: 'the answer is too large',
  bad_response: 'the answer is broken or incomplete',
  not_json: 'the answer is not a JSON object',
  unstorable_json: 'the answer holds U+0000 or half a surrogate pair, which cannot be kept',
  deep_json: 'the answer is JSON that is nested too deeply',
} as const

/** Node.js hangs certificates and raw packets, and with them bodies, on its errors. */
function quiet(cause: unknown): Error {
  if (!(cause instanceof Error)) return new Error(String(cause))
  const code = 'code' in cause ? String(cause.code) : undefined
  return Object.assign(new Error(cause.message || code), { code })
}
