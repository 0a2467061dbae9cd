import { sql } from 'kysely'
import type { Db, Row } from '../db/tables.ts'
import type { NamedSubject } from './subject.ts'

type KeptSubject = Pick<
  Row<'stream_subjects'>,
  'user_id' | 'complex' | 'by_email' | 'email_verified_at' | 'session_id'
>

/** Whom a receiver means, of its own tenant: an address counts once it is verified. */
export async function findSubject(
  db: Db,
  tenantId: string,
  { user, complex, session_id, tenant_id = tenantId }: NamedSubject,
): Promise<KeptSubject | undefined> {
  if (tenant_id !== tenantId) return undefined
  const by_email = 'email' in user
  const users = db
    .selectFrom('users')
    .select(['id', 'email_verified_at'])
    .where('tenant_id', '=', tenantId)
  const found = await (by_email
    ? users
        .where(({ eb, fn, val }) => eb(fn('lower', ['email']), '=', fn('lower', [val(user.email)])))
        .where('email_verified_at', 'is not', null)
    : users.where('id', '=', user.id)
  )
    .where('status', '<>', 'deleted')
    .executeTakeFirst()
  if (found === undefined) return undefined
  if (session_id !== '' && !(await hasSession(db, found.id, session_id))) return undefined
  const email_verified_at = by_email ? found.email_verified_at : null
  return { user_id: found.id, complex, by_email, email_verified_at, session_id }
}

/** A stranger's words are compared and nothing else. */
async function hasSession(db: Db, user_id: string, id: string): Promise<boolean> {
  const session = await db
    .selectFrom('sessions')
    .select('id')
    .where('id', '=', id)
    .where('user_id', '=', user_id)
    .executeTakeFirst()
  return session !== undefined
}

export async function insertSubject(
  db: Db,
  stream: { id: string; tenant_id: string },
  subject: KeptSubject,
  now: Date,
): Promise<void> {
  await db
    .insertInto('stream_subjects')
    .values({ stream_id: stream.id, tenant_id: stream.tenant_id, ...subject, created_at: now })
    .onConflict((conflict) =>
      conflict
        .columns(['stream_id', 'user_id', 'complex', 'by_email', 'session_id'])
        .doUpdateSet({ email_verified_at: subject.email_verified_at }),
    )
    .execute()
}

export async function deleteSubject(
  db: Db,
  stream: { id: string },
  { email_verified_at: _, ...subject }: KeptSubject,
): Promise<void> {
  await db
    .deleteFrom('stream_subjects')
    .where((eb) => eb.and({ stream_id: stream.id, ...subject }))
    .execute()
}

/** A subject of a stream that events are for, with what its event calls the user. */
export type Listening = {
  stream_id: string
  tenant_id: string
  events_requested: string[]
  user_id: string
  complex: boolean
  /** Empty: every session. */
  session_id: string
  /** Where the user was named by it and it still holds. */
  email: string | null
}

/**
 * Who listens for these users, or for anybody of a tenant. A deleted user was told of when they were deleted:
 * nothing of theirs is left to speak of.
 */
export function listListening(
  db: Db,
  of: { user_ids: readonly string[] } | { tenant_id: string },
): Promise<Listening[]> {
  const listening = db
    .selectFrom('stream_subjects as subject')
    .innerJoin('streams', 'streams.id', 'subject.stream_id')
    .innerJoin('ssf_receivers as receiver', 'receiver.id', 'streams.receiver_id')
    .innerJoin('users', 'users.id', 'subject.user_id')
    .select(['subject.stream_id', 'subject.user_id', 'subject.complex', 'subject.session_id'])
    .select(['streams.tenant_id', 'streams.events_requested'])
    .select(sql<string | null>`case when subject.by_email then users.email end`.as('email'))
    // Whoever knows an address does not learn of another one.
    .where((eb) =>
      eb.or([
        eb('subject.by_email', '=', false),
        eb('users.email_verified_at', '=', eb.ref('subject.email_verified_at')),
      ]),
    )
    .where('streams.ended_at', 'is', null)
    .where('streams.status', '<>', 'disabled')
    .where('receiver.ended_at', 'is', null)
    .where('users.status', '<>', 'deleted')
    .whereRef('users.tenant_id', '=', 'streams.tenant_id')
    // Of several ways in which a stream asked for a user, the most exact one first.
    .orderBy('subject.stream_id')
    .orderBy('subject.user_id')
    .orderBy('subject.complex', 'desc')
    .orderBy('subject.by_email')
  return 'tenant_id' in of
    ? listening.where('subject.tenant_id', '=', of.tenant_id).execute()
    : listening.where('subject.user_id', '=', sql<string>`any(${of.user_ids}::text[])`).execute()
}
