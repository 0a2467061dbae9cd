import { addSeconds } from '../oauth/numeric-date.ts'

/**
 * Claim of ours in ID tokens and access tokens: the family of their grant. It marks an ID token as one
 * (TX-23), and ends it when the family ends.
 */
export const GRANT_CLAIM = 'agent_idp_grant'

/** Seconds after which a refresh token that was not used is dead (OP-23). */
const IDLE = 14 * 24 * 3600

/** Until when a new refresh token of the family is good: the idle bound, within the absolute one. */
export function refreshTokenExpiry(now: Date, familyEnd: Date): Date {
  const idle = addSeconds(now, IDLE)
  return idle < familyEnd ? idle : familyEnd
}
