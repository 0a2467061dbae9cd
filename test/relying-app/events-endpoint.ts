/** Paperclip's events endpoint, and revocations of Orbit's: those of TV-06, with one thing changed. */
import assert from 'node:assert/strict'
import {
  createSeenEvents,
  type EventAnswer,
  type EventContext,
  type Revocation,
  receiveEvent,
  trustIssuer,
} from '../../src/relying-app/receive-event.ts'
import { asker, HEADER, jwsOf, ORBIT, PAPERCLIP, type Signer } from './paperclip.ts'

export const SET = 'application/secevent+jwt'
export const LOGOUT = 'application/logout+jwt'
export const REVOKED = 'https://schemas.workos.com/events/agent/auth/identity/assertion/revoked'
export const VARIANT = 'https://schemas.workos.com/events/agent/identity/assertion/revoked'
export const AGENT = 'urn:agent-idp:agent'

export const EVENT = {
  iss: ORBIT,
  sub: 'p_4kD9',
  aud: PAPERCLIP,
  jti: '8mCq2T5vX0aKf7LwZr1y3A',
  iat: 1795277000,
  events: { [REVOKED]: {} },
}

/** What TV-06 has an app drop. */
export const REVOCATION: Revocation = {
  iss: ORBIT,
  sub: EVENT.sub,
  aud: PAPERCLIP,
  revoked_at: EVENT.iat,
}

type Change = Record<string, unknown>

/** TV-06's claims, with changes; what is set to undefined is left out. */
export const event = (claims: Change = {}, header: Change = {}, signer?: Signer): string =>
  jwsOf(
    JSON.stringify({ ...HEADER, typ: 'secevent+jwt', ...header }),
    JSON.stringify({ ...EVENT, ...claims }),
    signer,
  )

/** A new app each time, and what it did, in order. */
export function openEndpoint(change: Partial<EventContext> = {}) {
  const revoked: Revocation[] = []
  const context: EventContext = {
    self: PAPERCLIP,
    issuers: [trustIssuer(ORBIT, asker())],
    seen: createSeenEvents(),
    now: () => new Date(EVENT.iat * 1000),
    revoke: async (revocation) => {
      revoked.push(revocation)
    },
    ...change,
  }
  const receiveAs = (mediaType: unknown, body: unknown): Promise<EventAnswer> =>
    receiveEvent(mediaType, body, context)
  return { context, revoked, receiveAs, receive: (body: unknown) => receiveAs(SET, body) }
}

/** The code of a refusal, which is one by every letter of RFC 8935 §2.3. */
export function errorOf({ status, headers, body, ...rest }: EventAnswer): string | undefined {
  assert.equal(status, 400)
  assert.deepEqual(rest, {})
  assert.deepEqual(headers, { 'content-type': 'application/json', 'content-language': 'en' })
  assert.deepEqual(Object.keys(body ?? {}), ['err', 'description'])
  assert.match(body?.description ?? '', /^[\x20-\x7e]+$/)
  return body?.err
}
