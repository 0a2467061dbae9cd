import { type SqlBool, sql } from 'kysely'
import type { Db } from '../db/tables.ts'

/** Addresses are unique within a tenant; more accounts than this with one address are not tried. */
const MOST_ACCOUNTS = 5

/**
 * The address as `listAccounts` compares it: all spellings that find the same accounts. No other folding
 * will do, for each that the database folds further (İ is an i to some) would be limited on its own.
 */
export async function foldAddress(db: Db, email: string): Promise<string> {
  const { rows } = await sql<{ folded: string }>`select lower(${email}::text) as folded`.execute(db)
  return rows[0]?.folded ?? email
}

/** The accounts with this address and their password hashes, in the order to try them. */
export function listAccounts(db: Db, email: string) {
  return db
    .selectFrom('users')
    .innerJoin('tenants', 'tenants.id', 'users.tenant_id')
    .leftJoin('user_passwords', 'user_passwords.user_id', 'users.id')
    .select([
      'users.id',
      'users.tenant_id',
      'users.status',
      'tenants.status as tenant_status',
      'user_passwords.hash',
    ])
    .where(sql<SqlBool>`lower(users.email) = lower(${email})`)
    .where('users.status', '<>', 'deleted')
    .orderBy('users.created_at')
    .orderBy('users.id')
    .limit(MOST_ACCOUNTS)
    .execute()
}

/** The hash as it stands now; read it after `holdUser`, so that it cannot change any more. */
export async function findPasswordHash(db: Db, userId: string): Promise<string | undefined> {
  const password = await db
    .selectFrom('user_passwords')
    .select('hash')
    .where('user_id', '=', userId)
    .executeTakeFirst()
  return password?.hash
}

export async function findActiveAgentName(db: Db, id: string): Promise<string | undefined> {
  const agent = await db
    .selectFrom('agents')
    .select('name')
    .where('id', '=', id)
    .where('status', '=', 'active')
    .executeTakeFirst()
  return agent?.name
}
