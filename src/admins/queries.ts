import { type ExpressionBuilder, type Insertable, type SqlBool, sql } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { Admin } from '../http/admin-door.ts'
import type { ListRequest } from '../http/list.ts'

export type AdminKeyRow = Omit<Row<'admin_keys'>, 'key_hash' | 'tenant_id'>

const COLUMNS = [
  'id',
  'name',
  'scopes',
  'created_at',
  'created_by',
  'expires_at',
  'ended_at',
] as const

/** Whom a key speaks for, if it has neither been ended nor run out. */
export function findLiveKey(db: Db, hash: Buffer, now: Date): Promise<Admin | undefined> {
  return db
    .selectFrom('admin_keys')
    .select(['id', 'scopes'])
    .where('key_hash', '=', hash)
    .where(isLive(now))
    .executeTakeFirst()
}

/** Keeps a live key from being ended until the transaction is over. */
export function holdLiveKey(
  db: Db,
  id: string,
  now: Date,
): Promise<Pick<AdminKeyRow, 'expires_at'> | undefined> {
  return db
    .selectFrom('admin_keys')
    .select('expires_at')
    .where('id', '=', id)
    .where(isLive(now))
    .forShare()
    .executeTakeFirst()
}

export function insertAdminKey(
  db: Db,
  key: Insertable<Tables['admin_keys']>,
): Promise<AdminKeyRow> {
  return db.insertInto('admin_keys').values(key).returning(COLUMNS).executeTakeFirstOrThrow()
}

export function lockAdminKey(db: Db, id: string): Promise<AdminKeyRow | undefined> {
  return db
    .selectFrom('admin_keys')
    .select(COLUMNS)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

export async function endAdminKeyRow(db: Db, id: string, now: Date): Promise<void> {
  await db.updateTable('admin_keys').set({ ended_at: now }).where('id', '=', id).execute()
}

/** Ends the live keys that these made; the ids of those it ended. */
export async function endKeysMadeBy(
  db: Db,
  makers: readonly string[],
  now: Date,
): Promise<string[]> {
  const rows = await db
    .updateTable('admin_keys')
    .set({ ended_at: now })
    .where(sql<SqlBool>`created_by = any(${makers})`)
    .where(isLive(now))
    .returning('id')
    .execute()
  return rows.map(({ id }) => id)
}

export function listAdminKeys(
  db: Db,
  filter: { status?: 'active' | 'ended' },
  list: ListRequest,
  now: Date,
): Promise<AdminKeyRow[]> {
  const query = db.selectFrom('admin_keys').select(COLUMNS).$call(newestFirst(list))
  switch (filter.status) {
    case 'ended':
      return query
        .where((eb) => eb.or([eb('ended_at', 'is not', null), eb('expires_at', '<=', now)]))
        .execute()
    case 'active':
      return query.where(isLive(now)).execute()
    default:
      return query.execute()
  }
}

const isLive = (now: Date) => (eb: ExpressionBuilder<Tables, 'admin_keys'>) =>
  eb.and([
    eb('ended_at', 'is', null),
    eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]),
  ])
