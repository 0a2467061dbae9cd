import { type Insertable, sql } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'

export type AtIssuer = { tenant_id: string; issuer: string }
export type UpstreamSubject = AtIssuer & { subject: string }

const COLUMNS = ['subject', 'user_id', 'created_at', 'created_by'] as const
export type AccountRow = Pick<Row<'upstream_accounts'>, (typeof COLUMNS)[number]>

export const findIssuer = (
  db: Db,
  id: string,
): Promise<(AtIssuer & Pick<Row<'trusted_issuers'>, 'id' | 'ended_at'>) | undefined> =>
  db
    .selectFrom('trusted_issuers')
    .select(['id', 'tenant_id', 'issuer', 'ended_at'])
    .where('id', '=', id)
    .executeTakeFirst()

/** The same, held so that it does not end before this transaction does; mints may go on. */
export const holdIssuer = (tx: Db, id: string): ReturnType<typeof findIssuer> =>
  tx
    .selectFrom('trusted_issuers')
    .select(['id', 'tenant_id', 'issuer', 'ended_at'])
    .where('id', '=', id)
    .forShare()
    .executeTakeFirst()

export const findAccount = (db: Db, of: UpstreamSubject): Promise<AccountRow | undefined> =>
  db
    .selectFrom('upstream_accounts')
    .select(COLUMNS)
    .where((eb) => eb.and(of))
    .executeTakeFirst()

/** Whether a subject of an issuer other than this one is linked to the user. */
export async function hasAccountElsewhere(
  db: Db,
  { user_id, issuer }: { user_id: string; issuer: string },
): Promise<boolean> {
  const row = await db
    .selectFrom('upstream_accounts')
    .select('issuer')
    .where('user_id', '=', user_id)
    .where('issuer', '<>', issuer)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/** Undefined where the subject has an account: whose it is stays as it was. */
export const insertAccount = (
  tx: Db,
  account: Insertable<Tables['upstream_accounts']>,
): Promise<AccountRow | undefined> =>
  tx
    .insertInto('upstream_accounts')
    .values(account)
    .onConflict((conflict) => conflict.doNothing())
    .returning(COLUMNS)
    .executeTakeFirst()

/** Whether this user had it. */
export async function deleteAccount(
  tx: Db,
  of: UpstreamSubject & { user_id: string },
): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom('upstream_accounts')
    .where((eb) => eb.and(of))
    .executeTakeFirst()
  return numDeletedRows > 0n
}

/** Subjects may be longer than a cursor may be, so that a list goes by their digests. */
export const listAccounts = (
  db: Db,
  of: AtIssuer & { user_id?: string; subject?: string },
  list: ListRequest,
) =>
  db
    .selectFrom((eb) =>
      eb
        .selectFrom('upstream_accounts')
        .select(COLUMNS)
        .select(sql<string>`encode(sha256(convert_to(subject, 'UTF8')), 'hex')`.as('id'))
        .where((eb) => eb.and(of))
        .as('accounts'),
    )
    .selectAll()
    .$call(newestFirst(list))
    .execute()
