/**
 * Sessions, and what a session lets an agent hold: authorization codes and refresh token families.
 *
 * 1. A session begins with a real authentication and keeps its `auth_time` for good; nothing but
 *    another authentication, which is another session, has a later one (TX-52).
 * 2. Whoever signs in again in the same browser continues the line of that browser's sessions: agents
 *    keep what the earlier ones gave them, and signing out ends them all. Another person's sign-in
 *    ends the line.
 * 3. What agents hold rests on the session, but for refresh tokens: they outlive it for the sake of `offline`
 *    delegations, and are good for nothing else then.
 * 4. Cookies, codes and refresh tokens are random and stored hashed (SE-07).
 */

import { newId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { hashSecret, newSecret } from '../oauth/secret.ts'
import { endSession } from './end.ts'
import { findLiveSession, insertSession } from './queries.ts'

export type SessionOpening = {
  tenant_id: string
  user_id: string
  /** How the user proved it, RFC 8176. */
  amr: string[]
  /** The cookie that the browser held before. */
  cookie: string | undefined
  request_id?: string | undefined
}

/** Begins a session, now. The token is for the cookie and is not kept. */
export async function openSession(
  deps: Pick<Deps, 'config' | 'now'>,
  db: Db,
  { tenant_id, user_id, amr, cookie, request_id }: SessionOpening,
): Promise<{ id: string; token: string }> {
  const now = deps.now()
  const before = cookie ? await findLiveSession(db, hashSecret(cookie), now) : undefined
  const same = before?.user_id === user_id
  if (before && !same) await endSession(db, before, { at: now, reason: 'replaced', request_id })
  const id = newId('ses')
  const token = newSecret()
  await insertSession(db, {
    id,
    tenant_id,
    user_id,
    token_hash: hashSecret(token),
    auth_time: now,
    amr,
    continues: before && same ? (before.continues ?? before.id) : null,
    created_at: now,
    expires_at: addSeconds(now, deps.config.sessionLifetime),
  })
  return { id, token }
}
