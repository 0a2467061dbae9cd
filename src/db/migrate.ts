import { readdir } from 'node:fs/promises'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import pg from 'pg'
import { type Connection, poolConfig } from './pool.ts'

const FOLDER = new URL('../../migrations/', import.meta.url)

/** Tables that nobody may change, whatever role they come by (design: tampering shows). */
const SEALED = ['issuances', 'audit_events', 'seals']

/** Where each row says which transaction wrote it, and the columns that say so: their defaults alone may. */
const STAMPED = ['issuances', 'audit_events']
const STAMP = ['xid', 'cluster']

type Settings = { databaseUrl?: string | undefined; migrationDatabaseUrl?: string | undefined }

/**
 * Brings the schema to the newest migration, under an advisory lock, so that replicas may start at once. Where
 * migrations run under a role of their own, the one that the server connects as gets its lesser rights.
 * @param embedded where there is no database but our own
 * @throws the failed migration's error; what had succeeded before it stays.
 */
export async function migrateToLatest(
  { databaseUrl, migrationDatabaseUrl: owner }: Settings,
  embedded: Connection = '',
): Promise<string[]> {
  const grantTo = owner && databaseUrl ? new URL(databaseUrl).username : undefined
  const pool = new pg.Pool({ max: 2, ...poolConfig(owner ?? databaseUrl ?? embedded) })
  pool.on('error', () => undefined)
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })
  try {
    const migrator = new Migrator({ db, provider: { getMigrations } })
    // A lesser role may look but not migrate: where nothing is pending, nothing is touched.
    const pending = (await migrator.getMigrations()).some(({ executedAt }) => !executedAt)
    if (!pending && grantTo === undefined) return []
    const { error, results = [] } = await migrator.migrateToLatest()
    if (error) throw error
    if (grantTo !== undefined) await grantLesserRole(db, grantTo)
    return results.map((result) => result.migrationName)
  } finally {
    await db.destroy()
  }
}

async function getMigrations(): Promise<Record<string, Migration>> {
  const files = (await readdir(FOLDER)).filter((file) => file.endsWith('.ts')).sort()
  const entries = files.map(async (file) => {
    const migration: Migration = await import(new URL(file, FOLDER).href)
    return [file.slice(0, -'.ts'.length), migration] as const
  })
  return Object.fromEntries(await Promise.all(entries))
}

async function grantLesserRole(db: Kysely<unknown>, role: string): Promise<void> {
  const to = sql.id(role)
  await sql`grant usage on schema public to ${to}`.execute(db)
  await sql`grant select, insert, update, delete on all tables in schema public to ${to}`.execute(
    db,
  )
  for (const table of [...SEALED, 'kysely_migration', 'kysely_migration_lock']) {
    await sql`revoke update, delete, truncate on ${sql.id(table)} from ${to}`.execute(db)
  }
  for (const table of STAMPED) {
    const { rows } = await sql<{ columns: string }>`
      select string_agg(quote_ident(attname), ', ') as columns from pg_attribute
      where attrelid = ${table}::regclass and attnum > 0 and not attisdropped
        and attname <> all(${STAMP})`.execute(db)
    await sql`revoke insert on ${sql.id(table)} from ${to}`.execute(db)
    await sql`grant insert (${sql.raw(rows[0]?.columns ?? '')}) on ${sql.id(table)} to ${to}`.execute(
      db,
    )
  }
}
