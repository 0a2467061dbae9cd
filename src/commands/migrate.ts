import { loadConfig } from '../config.ts'
import { migrateToLatest } from '../db/migrate.ts'

// Brings the schema of DATABASE_URL up to date, as the role of MIGRATION_DATABASE_URL where that is set;
// the role of DATABASE_URL then gets the lesser rights that the server needs.
try {
  const { databaseUrl, migrationDatabaseUrl } = loadConfig(process.env)
  if (databaseUrl === undefined) {
    throw new Error('set DATABASE_URL; the embedded database is migrated at every start')
  }
  const lesserRole = migrationDatabaseUrl ? new URL(databaseUrl).username : undefined
  const done = await migrateToLatest(migrationDatabaseUrl ?? databaseUrl, lesserRole)
  console.log(done.length > 0 ? `migrated: ${done.join(', ')}` : 'the schema is up to date')
} catch (error) {
  console.error(`migrate: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
