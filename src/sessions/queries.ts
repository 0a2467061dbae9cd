import { sql } from 'kysely'
import type { Db, Row } from '../db/tables.ts'

export type NewSession = Pick<
  Row<'sessions'>,
  | 'id'
  | 'tenant_id'
  | 'user_id'
  | 'token_hash'
  | 'auth_time'
  | 'amr'
  | 'continues'
  | 'created_at'
  | 'expires_at'
>

export async function insertSession(db: Db, session: NewSession): Promise<void> {
  await db.insertInto('sessions').values(session).execute()
}

/** The session behind a cookie, if it and everything it stands on is live. */
export function findLiveSession(db: Db, tokenHash: Buffer, now: Date) {
  return db
    .selectFrom('sessions')
    .innerJoin('users', 'users.id', 'sessions.user_id')
    .innerJoin('tenants', 'tenants.id', 'sessions.tenant_id')
    .select([
      'sessions.id',
      'sessions.tenant_id',
      'sessions.user_id',
      'sessions.auth_time',
      'sessions.amr',
      'sessions.continues',
      'sessions.expires_at',
      'users.name',
      'users.email',
    ])
    .where('sessions.token_hash', '=', tokenHash)
    .where('sessions.ended_at', 'is', null)
    .where('sessions.expires_at', '>', now)
    .where('users.status', '=', 'active')
    .where('tenants.status', '=', 'active')
    .executeTakeFirst()
}

/**
 * Shares a session with other readers until the transaction ends; whoever wants to end it waits, or
 * has ended it already and is seen (design §2, rule 3).
 */
export function shareSession(db: Db, id: string) {
  return db
    .selectFrom('sessions')
    .select(['id', 'auth_time', 'amr', 'expires_at', 'ended_at'])
    .where('id', '=', id)
    .forShare()
    .executeTakeFirst()
}

/** Ends this session and the others that the same person opened in the same browser. Returns their ids. */
export async function endSessionLine(
  db: Db,
  { first, at, reason }: { first: string; at: Date; reason: string },
): Promise<string[]> {
  const ended = await db
    .updateTable('sessions')
    .set({ ended_at: at, end_reason: reason })
    .where('ended_at', 'is', null)
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('sessions')
        .select('id')
        .where((or) => or.or([or('id', '=', first), or('continues', '=', first)]))
        .orderBy('id')
        .forUpdate(),
    )
    .returning('id')
    .execute()
  return ended.map(({ id }) => id)
}

/** Ends every session of these users. Returns how many. */
export async function endSessionsOfUsers(
  db: Db,
  { user_ids, at, reason }: { user_ids: readonly string[]; at: Date; reason: string },
): Promise<number> {
  const ended = await db
    .updateTable('sessions')
    .set({ ended_at: at, end_reason: reason })
    .where('ended_at', 'is', null)
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('sessions')
        .select('id')
        .where('user_id', '=', sql<string>`any(${user_ids}::text[])`)
        .where('ended_at', 'is', null)
        .orderBy('id')
        .forUpdate(),
    )
    .returning('id')
    .execute()
  return ended.length
}

/**
 * The live sessions for which an ID token was signed by this key, or may have been: of grants from before that
 * was written down nobody knows.
 */
export function listSessionsSignedBy(db: Db, kid: string, now: Date) {
  return db
    .selectFrom('sessions')
    .select(['id', 'continues', 'tenant_id', 'user_id'])
    .where('ended_at', 'is', null)
    .where('expires_at', '>', now)
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('refresh_token_families')
        .select('session_id')
        .where(sql<boolean>`(id_token_kids is null or ${kid} = any(id_token_kids))`),
    )
    .orderBy('id')
    .execute()
}
