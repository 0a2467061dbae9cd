import type { Insertable, Updateable } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'

export type UserAtAudience = { user_id: string; audience_id: string }

const COLUMNS = [
  'user_id',
  'audience_id',
  'aud_sub',
  'aud_tenant',
  'created_at',
  'updated_at',
] as const

export type AccountRow = Pick<Row<'audience_accounts'>, (typeof COLUMNS)[number]>

export const shareAudience = (tx: Db, id: string) =>
  tx
    .selectFrom('audiences')
    .select(['tenant_id', 'status'])
    .where('id', '=', id)
    .forShare()
    .executeTakeFirst()

export const findAccount = (db: Db, of: UserAtAudience): Promise<AccountRow | undefined> =>
  db
    .selectFrom('audience_accounts')
    .select(COLUMNS)
    .where((eb) => eb.and(of))
    .executeTakeFirst()

/** With the audience's id as the one that a list goes by. */
export const listAccounts = (db: Db, userId: string, list: ListRequest) =>
  db
    .selectFrom((eb) =>
      eb
        .selectFrom('audience_accounts')
        .select(COLUMNS)
        .select('audience_id as id')
        .where('user_id', '=', userId)
        .as('accounts'),
    )
    .selectAll()
    .$call(newestFirst(list))
    .execute()

export const insertAccount = (
  tx: Db,
  account: Insertable<Tables['audience_accounts']>,
): Promise<AccountRow> =>
  tx.insertInto('audience_accounts').values(account).returning(COLUMNS).executeTakeFirstOrThrow()

export const updateAccount = (
  tx: Db,
  of: UserAtAudience,
  change: Updateable<Tables['audience_accounts']>,
): Promise<AccountRow> =>
  tx
    .updateTable('audience_accounts')
    .set(change)
    .where((eb) => eb.and(of))
    .returning(COLUMNS)
    .executeTakeFirstOrThrow()

/** Whether there was one. */
export async function deleteAccount(tx: Db, of: UserAtAudience): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom('audience_accounts')
    .where((eb) => eb.and(of))
    .executeTakeFirst()
  return numDeletedRows > 0n
}

export async function deleteAccountsOf(tx: Db, userId: string): Promise<void> {
  await tx.deleteFrom('audience_accounts').where('user_id', '=', userId).execute()
}
