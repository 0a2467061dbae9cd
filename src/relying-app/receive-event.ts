/**
 * What a relying app does with an event that tells it to drop what it gave on the word of ID-JAGs (RFC 8935,
 * auth.md). It is signed like an ID-JAG, and believed as little before that was seen.
 *
 * 1. The steps come in the order of the reference receiver, and the earliest fault answers. An answer is a
 *    value; what is thrown is the app's own, such as its stores: answer 500, and the event comes again.
 * 2. It acts first, then remembers the `jti`, then answers. Whatever stops it on the way, the event comes again
 *    and is acted on again, which does no harm. An event that was remembered first could be one that nobody
 *    ever acted on.
 * 3. A late ID-JAG is kept out before access is dropped, or one could slip in between.
 * 4. An event that is not understood, or of somebody who is not known, is no fault of the sender: 202.
 */
import { TYP } from '../oauth/names.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import { readAssertion } from './assertion.ts'
import { type Event, type Fault, fault, readEvent } from './event.ts'
import { IssuerUnavailable } from './fetch-document.ts'
import { type Revocation, SPREAD } from './revocation.ts'
import type { RevocationStore } from './revocation-store.ts'
import type { SeenEvents } from './seen-events.ts'
import { LONGEST_LIFE, SKEW } from './times.ts'
import { findIssuer, findKeyOf, isSignedBy, type TrustedIssuer } from './trusted-issuer.ts'

export { AGENT_MEMBER } from '../oauth/names.ts'
export type { EventError } from './event.ts'
export { type FetchDocument, fetchDocument, IssuerUnavailable } from './fetch-document.ts'
export { type Agent, type Basis, type Revocation, reaches } from './revocation.ts'
export { createRevocationStore, isRevoked, type RevocationStore } from './revocation-store.ts'
export { createSeenEvents, type SeenEvents } from './seen-events.ts'
export { type TrustedIssuer, trustIssuer } from './trusted-issuer.ts'

export type EventContext = {
  /** The issuer of its authorization server. */
  self: string
  issuers: readonly TrustedIssuer[]
  seen: SeenEvents
  now: () => Date
  /** `logout`: as auth.md had it in v0.1 and v0.2. */
  dialect?: 'set' | 'logout'
  /** Keeps out ID-JAGs of before; give `verifyIdJag` the same one. */
  revocations?: RevocationStore
  /**
   * Drops what this reaches, or notes durably that it is dropped; what takes long can follow later. May come
   * twice, also at once, and of users that nothing was given for.
   */
  revoke(revocation: Revocation): Promise<void>
}

/** What to answer with. */
export type EventAnswer = {
  status: 202 | 400 | 503
  headers: Record<string, string>
  /** Sent as JSON; without it the answer is empty. */
  body?: Fault
  /** What was acted on. */
  revoked?: Revocation
}

/** Bytes; ours have less than one of these. */
const LARGEST = 8 * 1024

/** Seconds that an event may come again: three days, and one more to be sure. */
const COMES_AGAIN = 4 * 24 * 3600

/** `mediaType` is the `Content-Type` that came with it, `body` what came, as it came. */
export async function receiveEvent(
  mediaType: unknown,
  body: unknown,
  context: EventContext,
): Promise<EventAnswer> {
  const now = numericDate(context.now())
  const event = await judge(mediaType, body, context, now)
  if (event === undefined) return { status: 503, headers: { 'retry-after': '5' } }
  if ('err' in event) return refuse(event)
  if (await context.seen.has(event, now)) return ACCEPTED
  if (event.revocation) await act(event.revocation, context, now)
  await context.seen.add(event, { until: now + COMES_AGAIN, now })
  return { ...ACCEPTED, ...(event.revocation && { revoked: event.revocation }) }
}

/** Undefined when nothing can be known now, as the issuer's keys cannot be had. */
async function judge(
  mediaType: unknown,
  body: unknown,
  { self, issuers, dialect = 'set' }: EventContext,
  now: number,
): Promise<Event | Fault | undefined> {
  const typ = dialect === 'set' ? TYP.securityEvent : TYP.logout
  if (mediaTypeOf(mediaType) !== `application/${typ}`) {
    return fault('invalid_request', `Send application/${typ}`)
  }
  const text = textOf(body)
  const read = text === undefined ? undefined : readAssertion(text)
  if (!read) return fault('invalid_request', 'The event is not a JWT')
  const issuer = findIssuer(issuers, read)
  if (!issuer) return fault('invalid_issuer', 'The issuer is not trusted here')
  try {
    const found = await findKeyOf(read, issuer, now)
    if (!found) return fault('invalid_key', 'The issuer has no such key')
    if (!(await isSignedBy(read, found))) {
      return fault('authentication_failed', 'The event is not signed by its issuer')
    }
  } catch (error) {
    if (error instanceof IssuerUnavailable) return undefined
    throw error
  }
  if (read.header.typ !== typ) {
    return fault('invalid_request', 'The event is not typed as one')
  }
  return readEvent(read.claims, self, now)
}

async function act(
  revocation: Revocation,
  { revocations, revoke }: EventContext,
  now: number,
): Promise<void> {
  // The last ID-JAG that it reaches, and the last second of that.
  const until = revocation.revoked_at + SPREAD + LONGEST_LIFE + SKEW
  await revocations?.add(revocation, { until, now })
  await revoke(revocation)
}

/** RFC 8935 §2.2. */
const ACCEPTED: EventAnswer = { status: 202, headers: {} }

/** RFC 8935 §2.3. */
const refuse = (body: Fault): EventAnswer => ({
  status: 400,
  headers: { 'content-type': 'application/json', 'content-language': 'en' },
  body,
})

const mediaTypeOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value.split(';', 1)[0]?.trim().toLowerCase() : undefined

function textOf(body: unknown): string | undefined {
  if (typeof body !== 'string' && !(body instanceof Uint8Array)) return undefined
  if (body.length > LARGEST) return undefined
  return typeof body === 'string' ? body : Buffer.from(body).toString('latin1')
}
