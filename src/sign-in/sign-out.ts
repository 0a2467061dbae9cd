import type { Deps } from '../deps.ts'
import { endAllSessions, endSession } from '../sessions/end.ts'
import { readIdTokenHint } from '../sessions/id-token-hint.ts'
import type { LiveSession } from '../sessions/recognise.ts'

/** Ends the session and all that hangs on it, in one transaction. */
export async function signOut(
  deps: Deps,
  session: LiveSession,
  request_id?: string,
): Promise<void> {
  await deps.db
    .transaction()
    .execute((tx) => endSession(tx, session, { at: deps.now(), reason: 'signed_out', request_id }))
}

/** The same wherever the user is signed in. */
export async function signOutEverywhere(
  deps: Deps,
  session: LiveSession,
  request_id?: string,
): Promise<void> {
  await deps.db
    .transaction()
    .execute((tx) => endAllSessions(tx, session, { at: deps.now(), request_id }))
}

/**
 * Whether a request from elsewhere may sign the user out without asking: only with an ID token of this
 * very session (OpenID Connect RP-Initiated Logout §2).
 */
export async function isHintOf(deps: Deps, session: LiveSession, hint: unknown): Promise<boolean> {
  const named = typeof hint === 'string' ? await readIdTokenHint(deps, hint) : undefined
  if (!named || named.sub !== session.user_id) return false
  return named.sid === session.id || named.sid === session.continues
}
