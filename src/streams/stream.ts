/**
 * Shared Signals: what receivers are told of sessions and credentials (SSF 1.0, CAEP 1.0). This room owns the
 * receivers, their streams and the events on them; what ends, and when, is decided elsewhere.
 *
 *   stream   enabled ⇄ paused ⇄ disabled ⇄ enabled, by its receiver; enabled → disabled, by us, if nobody is there;
 *            all → paused, by us, after a restore (pause-restored.ts)
 *   event    queued → delivered | failed, refused or too old | dropped, its stream was disabled, ended or restored
 *
 *  1. A receiver has one live stream at the most, and sees no other.
 *  2. An event is queued in the transaction that gives rise to it (queue.ts), and names whom its stream asked
 *     about, as it asked.
 *  3. Events are signed when they are sent, with the `jti` and `iat` they were queued with: a key that is
 *     rotated or compromised meanwhile is no matter.
 *  4. A paused stream holds its events as any other does: a week, and 10,000 of them, the oldest go first.
 */
import type { Row } from '../db/tables.ts'
import { DELIVERY_METHOD } from '../oauth/names.ts'
import { endpointsOf } from './endpoints.ts'
import { EVENTS_SUPPORTED } from './set.ts'

export type Stream = Row<'streams'>
export type StreamStatus = Stream['status']

/** Seconds between two verifications that a receiver may ask for. */
export const MIN_VERIFICATION_INTERVAL = 60
/** Seconds without a word of its receiver, after which a stream is disabled. */
export const INACTIVITY_TIMEOUT = 7 * 24 * 3600
/** Seconds that an event waits to be fetched, or for its stream to go on. */
export const HELD_FOR = 7 * 24 * 3600
/** Events that wait on one stream. */
export const MOST_HELD = 10_000

/** The stream's configuration as its receiver sees it. What it gave to prove us with is not shown again. */
export function describeStream(issuer: string, audience: string, stream: Stream) {
  return {
    stream_id: stream.id,
    iss: issuer,
    aud: audience,
    events_supported: [...EVENTS_SUPPORTED],
    events_requested: stream.events_requested,
    events_delivered: deliveredEvents(stream),
    delivery: {
      method: DELIVERY_METHOD[stream.method],
      endpoint_url: stream.endpoint_url ?? endpointsOf(issuer).poll(stream.id),
    },
    min_verification_interval: MIN_VERIFICATION_INTERVAL,
    inactivity_timeout: INACTIVITY_TIMEOUT,
    ...(stream.description === null ? {} : { description: stream.description }),
  }
}
export type StreamConfiguration = ReturnType<typeof describeStream>

/** Never one that was not asked for, or that there is not. */
export const deliveredEvents = ({ events_requested }: Pick<Stream, 'events_requested'>): string[] =>
  EVENTS_SUPPORTED.filter((type) => events_requested.includes(type))
