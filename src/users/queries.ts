import { type Insertable, sql, type Updateable } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'
import type { UserQuery } from './schema.ts'

const COLUMNS = [
  'id',
  'tenant_id',
  'email',
  'email_verified_at',
  'email_verified_by',
  'phone_number',
  'phone_verified_at',
  'phone_verified_by',
  'name',
  'external_id',
  'status',
  'policy_barred_at',
  'created_at',
  'updated_at',
  'deleted_at',
] as const

export function findUser(db: Db, id: string): Promise<Row<'users'> | undefined> {
  return db.selectFrom('users').select(COLUMNS).where('id', '=', id).executeTakeFirst()
}

export function lockUser(db: Db, id: string): Promise<Row<'users'> | undefined> {
  return db.selectFrom('users').select(COLUMNS).where('id', '=', id).forUpdate().executeTakeFirst()
}

export function listUsers(db: Db, filter: UserQuery, list: ListRequest): Promise<Row<'users'>[]> {
  let query = db.selectFrom('users').select(COLUMNS).$call(newestFirst(list))
  const { email } = filter
  if (email !== undefined) {
    query = query.where(({ eb, fn, val }) =>
      eb(fn('lower', ['email']), '=', fn('lower', [val(email)])),
    )
  }
  for (const name of ['status', 'external_id', 'tenant_id'] as const) {
    const value = filter[name]
    if (value !== undefined) query = query.where(name, '=', value)
  }
  return query.execute()
}

export function insertUser(db: Db, user: Insertable<Tables['users']>): Promise<Row<'users'>> {
  return db.insertInto('users').values(user).returning(COLUMNS).executeTakeFirstOrThrow()
}

/** Undefined where another user of the tenant has what may be one user's alone. */
export function insertUserUnlessTaken(
  db: Db,
  user: Insertable<Tables['users']>,
): Promise<Row<'users'> | undefined> {
  return db
    .insertInto('users')
    .values(user)
    .onConflict((conflict) => conflict.doNothing())
    .returning(COLUMNS)
    .executeTakeFirst()
}

export function findUserByExternalId(
  db: Db,
  of: { tenant_id: string; external_id: string },
): Promise<Row<'users'> | undefined> {
  return db
    .selectFrom('users')
    .select(COLUMNS)
    .where((eb) => eb.and(of))
    .executeTakeFirst()
}

export function updateUser(
  db: Db,
  id: string,
  change: Updateable<Tables['users']>,
): Promise<Row<'users'>> {
  return db
    .updateTable('users')
    .set(change)
    .where('id', '=', id)
    .returning(COLUMNS)
    .executeTakeFirstOrThrow()
}

/** From now on no mint makes a delegation for this user on an administrator's word alone. */
export async function barPolicyDelegations(db: Db, userId: string, at: Date): Promise<void> {
  await db.updateTable('users').set({ policy_barred_at: at }).where('id', '=', userId).execute()
}

/** Gives the row another version, which says the same: what compares versions reads again (rules/block.ts). */
export function touchUser(
  db: Db,
  id: string,
): Promise<Pick<Row<'users'>, 'tenant_id' | 'status'> | undefined> {
  return db
    .updateTable('users')
    .set((eb) => ({ updated_at: eb.ref('updated_at') }))
    .where('id', '=', id)
    .returning(['tenant_id', 'status'])
    .executeTakeFirst()
}

/** @returns whether there was none before */
export async function putPassword(
  db: Db,
  user: { id: string; tenant_id: string },
  hash: string,
  now: Date,
): Promise<boolean> {
  const { created } = await db
    .insertInto('user_passwords')
    .values({ user_id: user.id, tenant_id: user.tenant_id, hash, changed_at: now })
    .onConflict((conflict) => conflict.column('user_id').doUpdateSet({ hash, changed_at: now }))
    .returning(sql<boolean>`xmax = 0`.as('created'))
    .executeTakeFirstOrThrow()
  return created
}

/** Whether there was one. */
export async function removePassword(db: Db, userId: string): Promise<boolean> {
  const { numDeletedRows } = await db
    .deleteFrom('user_passwords')
    .where('user_id', '=', userId)
    .executeTakeFirst()
  return numDeletedRows > 0n
}

export async function tenantExists(db: Db, id: string): Promise<boolean> {
  const row = await db
    .selectFrom('tenants')
    .select(sql.lit(1).as('one'))
    .where('id', '=', id)
    .executeTakeFirst()
  return row !== undefined
}
