import { parseArgs } from 'node:util'
import { loadConfig } from '../config.ts'
import { migrateToLatest } from '../db/migrate.ts'
import { inWords } from '../operator-words.ts'

const USAGE = `npm run migrate

  Brings the schema of DATABASE_URL up to date, as the role of MIGRATION_DATABASE_URL where that is set; the role
  of DATABASE_URL then gets the lesser rights that the server needs.`

const values = readArguments()
if (values?.help) console.log(USAGE)
else if (values) await migrate()

function readArguments() {
  try {
    return parseArgs({ options: { help: { type: 'boolean', default: false } } }).values
  } catch (error) {
    console.error(`migrate: ${(error as Error).message}\n\n${USAGE}`)
    process.exitCode = 2
    return undefined
  }
}

async function migrate(): Promise<void> {
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
}
