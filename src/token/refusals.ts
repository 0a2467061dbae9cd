import type { Reason } from '../audit/reason.ts'
import { OAuthError, type OAuthErrorCode, type OAuthErrorDetails } from '../oauth/errors.ts'

/** A refusal on its way to the audit log, which gets the reason, and to the caller, who gets the table's words. */
export class Refusal extends Error {
  readonly reason: Reason
  readonly details: OAuthErrorDetails
  /** Instead of the table's words, where they would lack what the caller needs. */
  readonly words: string | undefined

  constructor(reason: Reason, details: OAuthErrorDetails = {}, words?: string) {
    super(reason)
    this.name = 'Refusal'
    this.reason = reason
    this.details = details
    this.words = words
  }

  get code(): OAuthErrorCode {
    return toldOf(this.reason)[0]
  }

  toOAuthError(): OAuthError {
    const [code, description] = toldOf(this.reason)
    return new OAuthError(code, this.words ?? description, this.details)
  }
}

const CLIENT =
  'Client authentication failed: check client_id, key or secret, and for a client assertion its aud (the issuer), exp and single-use jti'
const SUBJECT =
  'The subject token cannot be used: it must be valid, unexpired, issued to this client, and its session must be alive; sign the user in again'
// One wording for every way a target can be wrong, so that it tells nothing of other clients (TX-61).
const TARGET =
  'This audience or resource is not available to this client; an administrator can check the audience, its resources, the entitlement and the client registration there'
const DETAILS =
  'None of the authorization_details can be granted: each needs a type that this audience knows for the resource and that this client is entitled to'
const PROOF =
  'The DPoP proof does not hold: it must be one signed JWT with typ dpop+jwt and a public jwk, htm POST, htu of this endpoint, iat of now and a new jti'
const ACTOR =
  'The actor token cannot be used: it must be signed by an active agent, with its id as iss and sub, aud the issuer, client_id this client, a short exp and a new jti'
const CONSENT =
  'The user has to allow this first: open interaction_uri in the browser of the user, then ask again'

/** The reasons that a caller is told in words of their own. */
export type ToldReason = keyof typeof TOLD

export const isTold = (reason: Reason): reason is ToldReason => Object.hasOwn(TOLD, reason)

const toldOf = (reason: Reason): readonly [OAuthErrorCode, string] =>
  isTold(reason) ? TOLD[reason] : ['invalid_request', 'The request is malformed']

/** What the caller is told of each reason (design: which refusal). */
const TOLD = {
  unknown_client: ['invalid_client', CLIENT],
  agent_retired: ['invalid_client', CLIENT],
  bad_credentials: ['invalid_client', CLIENT],
  client_metadata_not_allowed: [
    'invalid_client',
    'No client may come by this URL: an administrator has to allow the URL, or its host',
  ],
  client_metadata_unreadable: [
    'invalid_client',
    'The client metadata document could not be read, or does not count: check that its URL answers 200 with a JSON object of at most 5 KiB, with this URL as client_id and nothing secret',
  ],
  credential_ended: ['invalid_client', CLIENT],
  replayed_assertion: ['invalid_client', CLIENT],
  agent_requested: ['unauthorized_client', 'This agent waits for the approval of an administrator'],
  agent_suspended: [
    'unauthorized_client',
    'This agent is suspended; an administrator can resume it',
  ],
  agent_expired: [
    'unauthorized_client',
    'This agent is past its end date; an administrator can move it',
  ],
  owner_inactive: [
    'unauthorized_client',
    'This agent has no active owner; an administrator can name one',
  ],
  tenant_suspended: ['unauthorized_client', 'The tenant of this agent is suspended'],
  grant_not_allowed: [
    'unauthorized_client',
    'This client is not enrolled for this grant type; client_credentials is for receivers of Shared Signals alone',
  ],
  public_client: [
    'unauthorized_client',
    'Token exchange needs a client that authenticates; this one is public',
  ],
  bad_subject_token: ['invalid_grant', SUBJECT],
  subject_token_expired: ['invalid_grant', SUBJECT],
  wrong_subject_audience: ['invalid_grant', SUBJECT],
  spent_refresh_token: ['invalid_grant', SUBJECT],
  refresh_token_revoked: ['invalid_grant', SUBJECT],
  user_inactive: ['invalid_grant', SUBJECT],
  session_ended: ['invalid_grant', SUBJECT],
  unknown_audience: ['invalid_target', TARGET],
  audience_inactive: ['invalid_target', TARGET],
  several_audiences: ['invalid_target', TARGET],
  no_entitlement: ['invalid_target', TARGET],
  no_client_mapping: ['invalid_target', TARGET],
  resource_not_registered: ['invalid_target', TARGET],
  resource_not_entitled: ['invalid_target', TARGET],
  resource_required: ['invalid_target', TARGET],
  scope_malformed: ['invalid_scope', 'scope must be scope names separated by single spaces'],
  scope_not_in_catalogue: [
    'invalid_scope',
    'None of the scopes asked for can be granted to this client there',
  ],
  scope_not_entitled: [
    'invalid_scope',
    'None of the scopes asked for can be granted to this client there',
  ],
  no_delegation: ['interaction_required', CONSENT],
  delegation_expired: ['interaction_required', CONSENT],
  delegation_revoked: ['interaction_required', CONSENT],
  delegation_consumed: ['interaction_required', CONSENT],
  scope_not_delegated: ['interaction_required', CONSENT],
  resource_not_delegated: ['interaction_required', CONSENT],
  claims_not_delegated: ['interaction_required', CONSENT],
  details_malformed: [
    'invalid_authorization_details',
    'authorization_details must be a JSON array of objects, each with a type (RFC 9396 section 2)',
  ],
  details_unknown_type: ['invalid_authorization_details', DETAILS],
  details_not_entitled: ['invalid_authorization_details', DETAILS],
  details_not_delegated: ['interaction_required', CONSENT],
  bad_dpop_proof: ['invalid_dpop_proof', PROOF],
  replayed_dpop_proof: [
    'invalid_dpop_proof',
    'This DPoP proof was used before: make one for each request',
  ],
  no_dpop_proof: [
    'invalid_dpop_proof',
    'This client is enrolled with dpop_bound_access_tokens: every token request needs a DPoP proof',
  ],
  dpop_nonce_needed: ['use_dpop_nonce', 'The DPoP proof needs the nonce of the DPoP-Nonce header'],
  wrong_dpop_key: [
    'invalid_grant',
    'This token is bound to a key: the request needs a DPoP proof with the same key',
  ],
  dpop_required: [
    'invalid_request',
    'This audience takes key-bound assertions only: send a DPoP proof with the request',
  ],
  actor_tokens_off: [
    'invalid_request',
    'actor_token: this client may not present actor tokens; an administrator can permit an agent to act for it',
  ],
  bad_actor_token: ['invalid_grant', ACTOR],
  actor_inactive: ['invalid_grant', ACTOR],
  replayed_actor_token: ['invalid_grant', ACTOR],
  actor_not_permitted: [
    'access_denied',
    'The actor is not permitted to act for this client here; an administrator can permit it',
  ],
  issuer_not_trusted: ['invalid_grant', SUBJECT],
  upstream_client_not_allowed: ['invalid_grant', SUBJECT],
  unknown_upstream_account: [
    'invalid_grant',
    'The subject of this token is not linked to a user here; an administrator can link it',
  ],
  upstream_unavailable: [
    'temporarily_unavailable',
    'The keys of the issuer of this subject token cannot be had now; ask again',
  ],
  weak_authentication: [
    'insufficient_user_authentication',
    'The user signed in less strongly than this audience asks: send the user through the authorization endpoint with these acr_values, then ask again with the new token',
  ],
  stale_authentication: [
    'insufficient_user_authentication',
    'The user signed in too long ago for this audience: send the user through the authorization endpoint with max_age, then ask again with the new token',
  ],
  unverified_contact: [
    'access_denied',
    'verified_contact_required: this audience needs a verified e-mail address or phone number of the user, and there is none that it may be told',
  ],
  too_many_requests: [
    'temporarily_unavailable',
    'Too many requests from this client or for this user: wait as long as Retry-After says, and use what was issued until it expires',
  ],
  details_too_large: [
    'invalid_authorization_details',
    'The ID-JAG would be larger than 8 KiB: ask for fewer authorization_details',
  ],
  id_jag_too_large: ['server_error', 'The ID-JAG would be larger than 8 KiB: ask for fewer scopes'],
  kept_changing: ['temporarily_unavailable', 'What this rests on kept changing; ask again'],
  revocation_pending: [
    'temporarily_unavailable',
    'This audience is still being told that earlier access for this user has ended, which would end what it gives now: ask again as Retry-After says',
  ],
  denied_by_rule: ['access_denied', 'A rule of this provider forbids this'],
} as const satisfies Partial<Record<Reason, readonly [OAuthErrorCode, string]>>
