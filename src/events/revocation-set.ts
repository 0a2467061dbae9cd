import type { EventDialect } from '../db/tables.ts'
import { TYP } from '../oauth/names.ts'
import { numericDate } from '../oauth/numeric-date.ts'

/** What was given on the word of our ID-JAGs for one `sub` is to be dropped. */
export const REVOKED = 'https://schemas.workos.com/events/agent/auth/identity/assertion/revoked'

/** How the event is spelled by those who spell it otherwise. */
const SPELLINGS: readonly string[] = [
  REVOKED,
  'https://schemas.workos.com/events/agent/identity/assertion/revoked',
]

/** What an event says, and nothing about when or by which key. */
export type Revocation = { aud: string; sub: string; event_type: string }

/**
 * The claims of a revocation event: those of RFC 8417 §2.2 and a top-level `sub`, by which auth.md services
 * find what they gave (EV-02). No `exp`: what was revoked stays revoked, however late it is read (EV-03).
 */
export const revocationClaims = (
  issuer: string,
  { aud, sub, event_type }: Revocation,
  jti: string,
  now: Date,
) => ({ iss: issuer, sub, aud, jti, iat: numericDate(now), events: { [event_type]: {} } })

/** JOSE header `typ`: both dialects say the same, under another name (EV-01, EV-20). */
export const typOf = (dialect: EventDialect): string =>
  dialect === 'set' ? TYP.securityEvent : TYP.logout

/** Of what a service says it supports the first spelling that we know; otherwise the official one (EV-04). */
export const chooseEventType = (supported: readonly string[] = []): string =>
  supported.find((type) => SPELLINGS.includes(type)) ?? REVOKED
