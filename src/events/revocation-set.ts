import type { EventDialect } from '../db/tables.ts'
import { AGENT_MEMBER, REVOCATION_EVENTS, TYP } from '../oauth/names.ts'
import { numericDate } from '../oauth/numeric-date.ts'

/** The official spelling of the event. */
export const [REVOKED] = REVOCATION_EVENTS

/** What an event says, and nothing about when or by which key. */
export type Revocation = {
  aud: string
  sub: string
  event_type: string
  /** The one agent it is about; null: every agent that came for this `sub`. */
  agent_id: string | null
  /** How the app knows that agent, where it has a name of its own for it. */
  agent_client_id: string | null
}

/**
 * The claims of a revocation event: those of RFC 8417 §2.2 and a top-level `sub`, by which auth.md services
 * find what they gave (EV-02). No `exp`: what was revoked stays revoked, however late it is read (EV-03).
 * The event is empty but for audiences that understand which agent it names.
 */
export const revocationClaims = (
  issuer: string,
  { aud, sub, event_type, ...about }: Revocation,
  jti: string,
  now: Date,
) => ({ iss: issuer, sub, aud, jti, iat: numericDate(now), events: { [event_type]: named(about) } })

const named = ({ agent_id, agent_client_id }: Pick<Revocation, 'agent_id' | 'agent_client_id'>) =>
  agent_id === null
    ? {}
    : {
        [AGENT_MEMBER]: {
          sub: agent_id,
          ...(agent_client_id !== null && { client_id: agent_client_id }),
        },
      }

/** JOSE header `typ`: both dialects say the same, under another name (EV-01, EV-20). */
export const typOf = (dialect: EventDialect): string =>
  dialect === 'set' ? TYP.securityEvent : TYP.logout

/** Of what a service says it supports the first spelling that we know; otherwise the official one (EV-04). */
export const chooseEventType = (supported: readonly string[] = []): string =>
  supported.find((type) => REVOCATION_EVENTS.some((known) => known === type)) ?? REVOKED
