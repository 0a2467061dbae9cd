import { recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import { queueSignals } from '../streams/queue.ts'
import { endFamilies } from './family-queries.ts'
import { endSessionLine, endSessionsOfUsers } from './queries.ts'

type Ending = {
  at: Date
  /** The first two are its user's own act. */
  reason: 'signed_out' | 'replaced' | 'key_compromised'
  request_id?: string | undefined
}

/**
 * Ends a session by its user's own act, or because a key that spoke for it is no longer believed, with the line
 * it belongs to and what agents hold of it: codes, ID and access tokens rest on the session and are refused from
 * the commit on. Receivers of Shared Signals are told (EV-35). Returns how many sessions it ended: none where
 * somebody was faster.
 *
 * A family with a refresh token stays, as it does when a session runs out: the token gives no others any more,
 * and an exchange takes it for an `offline` delegation alone. What ends a person or an agent rather than a
 * session (a new password, a revocation) ends these families too, and elsewhere.
 *
 * Run it in a transaction: sessions first, then families, as everywhere.
 */
export async function endSession(
  db: Db,
  session: { id: string; continues: string | null; tenant_id: string; user_id: string },
  { at, reason, request_id }: Ending,
): Promise<number> {
  const first = session.continues ?? session.id
  const ended = await endSessionLine(db, { first, at, reason })
  if (ended.length === 0) return 0
  const families = await endFamilies(db, {
    of: { session_ids: ended, holdingToken: false },
    at,
    reason,
  })
  await recordEvent(db, {
    type: 'session.ended',
    at,
    actor:
      reason === 'key_compromised' ? { kind: 'system' } : { kind: 'user', id: session.user_id },
    tenant_id: session.tenant_id,
    user_id: session.user_id,
    detail: { why: reason, session_ids: ended, family_ids: families.map(({ id }) => id) },
    request_id,
  })
  const by = reason === 'key_compromised' ? 'system' : 'user'
  const signal = { event: 'session-revoked', of: { user_id: session.user_id }, by, reason } as const
  await queueSignals(
    db,
    { now: () => at },
    ended.map((session_id) => ({ ...signal, session_id })),
  )
  return ended.length
}

/**
 * The same for every session of a user, by their own act: a browser left behind somewhere is out at once.
 * Returns how many sessions it ended.
 */
export async function endAllSessions(
  db: Db,
  { tenant_id, user_id }: { tenant_id: string; user_id: string },
  { at, request_id }: Omit<Ending, 'reason'>,
): Promise<number> {
  const reason = 'signed_out_everywhere'
  const sessions = await endSessionsOfUsers(db, { user_ids: [user_id], at, reason })
  if (sessions === 0) return 0
  const families = await endFamilies(db, {
    of: { user_ids: [user_id], holdingToken: false },
    at,
    reason,
  })
  await recordEvent(db, {
    type: 'session.ended',
    at,
    actor: { kind: 'user', id: user_id },
    tenant_id,
    user_id,
    detail: { why: reason, sessions, family_ids: families.map(({ id }) => id) },
    request_id,
  })
  const signal = { event: 'session-revoked', of: { user_id }, by: 'user', reason } as const
  await queueSignals(db, { now: () => at }, [signal])
  return sessions
}
