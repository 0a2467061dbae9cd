import { numericDate } from '../oauth/numeric-date.ts'
import { type EventSubject, subjectIdentifier } from './subject.ts'

const CAEP = 'https://schemas.openid.net/secevent/caep/event-type'
const SSF = 'https://schemas.openid.net/secevent/ssf/event-type'

export const EVENT = {
  sessionRevoked: `${CAEP}/session-revoked`,
  credentialChange: `${CAEP}/credential-change`,
  verification: `${SSF}/verification`,
  streamUpdated: `${SSF}/stream-updated`,
} as const

/** What a receiver may ask for; the other two come of themselves. */
export const EVENTS_SUPPORTED = [EVENT.sessionRevoked, EVENT.credentialChange] as const

/** An event as it was queued: everything of it but the signature. */
export type QueuedEvent = {
  jti: string
  txn: string
  stream_id: string
  event_type: string
  event: Record<string, unknown>
  created_at: Date
} & EventSubject

/**
 * The claims of a Shared Signals event (EV-30): one event and a `sub_id` beside it. Neither `sub` nor `exp`,
 * which the events of events/ and tokens have: nothing takes one for the other.
 */
export const setClaims = (issuer: string, aud: string, of: QueuedEvent) => ({
  iss: issuer,
  aud,
  jti: of.jti,
  iat: numericDate(of.created_at),
  txn: of.txn,
  sub_id: subjectIdentifier(issuer, of) ?? { format: 'opaque', id: of.stream_id },
  events: { [of.event_type]: of.event },
})

/** Who set it in motion (CAEP §2). */
export type InitiatingEntity = 'admin' | 'user' | 'policy' | 'system'

/** Why, in words for the administrators of a receiver. A closed set: what somebody typed here goes nowhere. */
const REASONS = {
  signed_out: 'The user signed out',
  signed_out_everywhere: 'The user signed out everywhere',
  replaced: 'Another user signed in with the same browser',
  key_compromised: 'A signing key of the identity provider was compromised',
  password_changed: 'The password was changed',
  password_set: 'A password was set',
  password_removed: 'The password was removed',
  user_deleted: 'The user was deleted',
  revoked: 'Access was revoked by an administrator',
  tenant_revoked: 'Access was revoked for everybody of the tenant',
} as const
export type SignalReason = keyof typeof REASONS

/** CAEP §2 and §3.1 (EV-32). */
export const sessionRevoked = (at: Date, by: InitiatingEntity, reason: SignalReason) => ({
  event_timestamp: numericDate(at),
  initiating_entity: by,
  reason_admin: { en: REASONS[reason] },
})

/** CAEP §3.3: of a password, for users have nothing else here. */
export const credentialChange = (
  at: Date,
  by: InitiatingEntity,
  reason: SignalReason,
  change_type: 'create' | 'update' | 'delete',
) => ({ ...sessionRevoked(at, by, reason), credential_type: 'password', change_type })
