import { loadConfig } from '../config.ts'
import { migrateToLatest } from '../db/migrate.ts'
import { inWords } from '../operator-words.ts'

// Brings the schema of DATABASE_URL up to date, as the role of MIGRATION_DATABASE_URL where that is set;
// the role of DATABASE_URL then gets the lesser rights that the server needs.
try {
  const config = loadConfig(process.env)
  if (config.databaseUrl === undefined) {
    throw new Error('set DATABASE_URL; the embedded database is migrated at every start')
  }
  const done = await migrateToLatest(config)
  console.log(done.length > 0 ? `migrated: ${done.join(', ')}` : 'the schema is up to date')
} catch (error) {
  console.error(`migrate: ${inWords(error) ?? (error instanceof Error ? error.message : error)}`)
  process.exitCode = 1
}
