import { newTimeOrderedId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { insertEvents } from './event-queries.ts'
import {
  credentialChange,
  EVENT,
  type InitiatingEntity,
  type QueuedEvent,
  type SignalReason,
  sessionRevoked,
} from './set.ts'
import { type Listening, listListening } from './subject-queries.ts'

/** Something that happened to a user, or to everybody of a tenant, and that receivers may want to hear. */
export type Signal = (
  | { event: 'session-revoked' /** None: all of them. */; session_id?: string }
  | { event: 'credential-change'; change: 'create' | 'update' | 'delete' }
) & {
  of: { user_id: string } | { tenant_id: string }
  by: InitiatingEntity
  reason: SignalReason
}

/**
 * Queues what has just been done for every stream that asked for it, in the transaction that does it. Returns
 * how many events. No lock is waited for, so it may come last in any order of locks; of a user who is being
 * deleted it has to come before their address is gone.
 */
export async function queueSignals(
  tx: Db,
  { now }: Pick<Deps, 'now'>,
  signals: readonly Signal[],
): Promise<number> {
  const at = now()
  // Events of one cause are one transaction (RFC 8417 §2.2).
  const txn = newTimeOrderedId('', at)
  const user_ids = [...new Set(signals.flatMap(({ of }) => ('user_id' in of ? [of.user_id] : [])))]
  const ofUsers = user_ids.length === 0 ? [] : await listListening(tx, { user_ids })
  const events: QueuedEvent[] = []
  for (const signal of signals) {
    const { of } = signal
    const listening =
      'user_id' in of
        ? ofUsers.filter(({ user_id }) => user_id === of.user_id)
        : await listListening(tx, of)
    events.push(...eventsOf(signal, listening, at, txn))
  }
  await insertEvents(tx, events)
  return events.length
}

/** Queues an event for each of these streams about the stream itself. */
export async function queueAboutStreams(
  tx: Db,
  streams: readonly { id: string; tenant_id: string }[],
  { event_type, event, at }: Pick<QueuedEvent, 'event_type' | 'event'> & { at: Date },
): Promise<void> {
  const nobody = { user_id: null, session_id: null, complex: false, email: null }
  await insertEvents(
    tx,
    streams.map(({ id, tenant_id }) => ({
      jti: newTimeOrderedId('', at),
      txn: newTimeOrderedId('', at),
      stream_id: id,
      tenant_id,
      event_type,
      event,
      ...nobody,
      created_at: at,
    })),
  )
}

/** One for each user and stream, however many ways the stream asked. */
function eventsOf(
  signal: Signal,
  listening: readonly Listening[],
  at: Date,
  txn: string,
): QueuedEvent[] {
  const session_id = 'session_id' in signal ? (signal.session_id ?? null) : null
  const { event_type, event } = contentOf(signal, at)
  const told = new Set<string>()
  return listening.flatMap((one) => {
    const key = `${one.stream_id} ${one.user_id}`
    const asked =
      one.events_requested.includes(event_type) &&
      // Whoever asked for one session hears of that one, and of what is about all of them (SSF §3.3).
      (one.session_id === '' || session_id === null || one.session_id === session_id)
    if (!asked || told.has(key)) return []
    told.add(key)
    const { stream_id, tenant_id, user_id, complex, email } = one
    const about = { stream_id, tenant_id, user_id, session_id, complex, email }
    return [{ jti: newTimeOrderedId('', at), txn, event_type, event, ...about, created_at: at }]
  })
}

const contentOf = (signal: Signal, at: Date) =>
  signal.event === 'session-revoked'
    ? {
        event_type: EVENT.sessionRevoked,
        event: sessionRevoked(at, signal.by, signal.reason),
      }
    : {
        event_type: EVENT.credentialChange,
        event: credentialChange(at, signal.by, signal.reason, signal.change),
      }
