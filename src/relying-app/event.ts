import { isObject } from '../oauth/is-object.ts'
import { AGENT_MEMBER, REVOCATION_EVENTS } from '../oauth/names.ts'
import { type Claims, isFor, isText } from './assertion.ts'
import type { Agent, Revocation } from './revocation.ts'
import { isDate, SKEW } from './times.ts'

/** What an event says; without a revocation it is about something else, which is for others to know. */
export type Event = { iss: string; jti: string; revocation?: Revocation }

/** Why an event was not taken (RFC 8935 §2.4). */
export type Fault = { err: EventError; description: string }
export type EventError =
  | 'invalid_request'
  | 'invalid_key'
  | 'invalid_issuer'
  | 'invalid_audience'
  | 'authentication_failed'

export const fault = (err: EventError, description: string): Fault => ({ err, description })

/**
 * The claims of an event that its issuer signed, in the order of the reference receiver. `exp` is not looked
 * at: what was revoked stays revoked, however late one hears of it.
 */
export function readEvent(claims: Claims, self: string, now: number): Event | Fault {
  const { jti, sub, iat, events } = claims
  if (!isFor(self, claims)) return fault('invalid_audience', 'The event is for another service')
  if (!isText(jti) || !isText(sub)) {
    return fault('invalid_request', 'The event lacks jti or sub')
  }
  if (!isDate(iat)) return fault('invalid_request', 'The event lacks iat')
  if (!isObject(events) || Object.keys(events).length === 0) {
    return fault('invalid_request', 'There is no event in it')
  }
  const iss = String(claims.iss)
  const known = REVOCATION_EVENTS.filter((type) => Object.hasOwn(events, type))
  if (known.length === 0) return { iss, jti }
  const agent = agentOf(known.map((type) => events[type]))
  // By a clock that far ahead no ID-JAG is taken: no app stays closed for it.
  const revoked_at = Math.min(iat, now + SKEW)
  return { iss, jti, revocation: { iss, sub, aud: self, ...(agent && { agent }), revoked_at } }
}

/** The one agent that it is about. What is not understood narrows nothing: then it is about all. */
function agentOf(payloads: unknown[]): Agent | undefined {
  const [payload, ...others] = payloads
  const agent = isObject(payload) && others.length === 0 ? payload[AGENT_MEMBER] : undefined
  if (!isObject(agent) || !isText(agent.sub)) return undefined
  return { sub: agent.sub, ...(isText(agent.client_id) && { client_id: agent.client_id }) }
}
