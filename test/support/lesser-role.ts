import { randomBytes } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import { migrateToLatest } from '../../src/db/migrate.ts'
import { openPool } from '../../src/db/pool.ts'
import type { Tables } from '../../src/db/tables.ts'
import type { Deps } from '../../src/deps.ts'

/** Acts as a role of its own, with the rights that migrations give the one the server connects as. */
export async function asLesserRole(
  { db, pool }: Pick<Deps, 'db' | 'pool'>,
  act: (db: Kysely<Tables>) => Promise<void>,
): Promise<void> {
  const role = `lesser_${randomBytes(6).toString('hex')}`
  // The owner of an embedded database may make no roles; its superuser has the same password.
  const { rows } = await sql<{ may: boolean }>`
    select rolcreaterole or rolsuper as may from pg_roles where rolname = current_user`.execute(db)
  const maker = rows[0]?.may ? pool.options : asRole(pool.options, 'postgres')
  const roles = openPool({ ...maker, max: 1 }, () => undefined)
  try {
    await sql.raw(`create role ${role} login password '${role}'`).execute(roles.db)
    const { connectionString: owner } = pool.options
    const connection = asRole(pool.options, role, role)
    const databaseUrl = connection.connectionString
    await migrateToLatest({ databaseUrl, migrationDatabaseUrl: owner })
    const lesser = openPool({ ...connection, max: 2 }, () => undefined)
    await act(lesser.db).finally(() => lesser.db.destroy())
  } finally {
    await sql.raw(`drop owned by ${role}`).execute(roles.db)
    await sql.raw(`drop role ${role}`).execute(roles.db)
    await roles.db.destroy()
  }
}

function asRole(
  { connectionString }: { connectionString?: string | undefined },
  role: string,
  password?: string,
) {
  const url = new URL(connectionString ?? '')
  url.username = role
  if (password !== undefined) url.password = password
  return { connectionString: url.href }
}
