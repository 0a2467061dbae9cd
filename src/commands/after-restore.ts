/**
 * After a backup was restored and before a server answers from it: ends all that the backup has as live, for
 * nobody knows what of it had ended since (revoke/after-restore.ts). It works on the database itself, with the
 * settings of the server.
 */
import { createInterface } from 'node:readline/promises'
import { parseArgs } from 'node:util'
import { findLastSeal } from '../audit/seal-queries.ts'
import { type Config, loadConfig } from '../config.ts'
import { startEmbedded } from '../db/embedded.ts'
import { migrateToLatest } from '../db/migrate.ts'
import { type Connection, openPool, poolConfig } from '../db/pool.ts'
import { standAlone } from '../db/stand-alone.ts'
import type { Db } from '../db/tables.ts'
import { createLogger } from '../http/logging.ts'
import { openCustody } from '../keys/open-custody.ts'
import { inWords } from '../operator-words.ts'
import { endRestored } from '../revoke/after-restore.ts'
import { countLive, findNewest, hasSchema, listApps } from '../revoke/after-restore-queries.ts'
import { completeSecrets } from '../secrets.ts'
import { type Found, question, report } from './after-restore-report.ts'

const USAGE = `npm run after-restore -- [options]

  Ends every session, refresh token and delegation of the restored database, queues a revocation event for all
  whom relying apps may know, and replaces every signing key. With the settings of the server, which must not run.

  --yes             do not ask first
  --reason R        what the revocations say they were for
  --keep-policies   leave entitlements with consent "admin" as the backup has them
  --new-key         make a new key-encryption-key beside the embedded database, if its own is lost
  --json            say what was done as JSON`

/** Milliseconds that a server which has just been stopped gets to be gone. */
const PATIENCE = 2_000

/** What a person has to mend; told without a stack. */
class UsageError extends Error {}

const NARROW =
  '--audit-export is refused, and nothing was changed. To end less than everything, an export would have to prove that nothing is missing from it and that nothing was ended after it. Rows of the log are not numbered, an export may have been filtered, and seals are made over more than it holds (docs/backup.md). Run after-restore without it.'

const OPTIONS = {
  yes: { type: 'boolean', default: false },
  reason: { type: 'string', default: 'A backup was restored' },
  'keep-policies': { type: 'boolean', default: false },
  'new-key': { type: 'boolean', default: false },
  'audit-export': { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

/** From then on nobody knows how much of it is done, if it fails. */
let begun = false

try {
  const values = readArguments()
  if (values.help) console.log(USAGE)
  else await run(values)
} catch (error) {
  console.error(`after-restore: ${describe(error)}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}

type Values = ReturnType<typeof readArguments>

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS }).values
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n\n${USAGE}`)
  }
}

async function run(values: Values): Promise<void> {
  if (values['audit-export'] !== undefined) throw new UsageError(NARROW)
  if (values.reason.trim() === '') throw new UsageError('--reason must say something')
  if (!values.yes && !process.stdin.isTTY) {
    throw new UsageError('it asks before it ends everything: run it in a terminal, or with --yes')
  }
  const settings = loadConfig(process.env)
  const log = createLogger(
    { logLevel: 'warn', logFormat: 'json' },
    { write: (line) => void process.stderr.write(line) },
  )
  const config = await completeSecrets(settings, log, { newKey: values['new-key'] })
  const { databaseUrl, dataDir } = config
  const embedded = databaseUrl === undefined ? await startEmbedded({ dataDir, log }) : undefined
  // The embedded database is stopped as the process ends.
  for (const [signal, code] of [['SIGINT', 130] as const, ['SIGTERM', 143] as const]) {
    process.once(signal, () => process.exit(code))
  }
  try {
    await work(values, config, embedded?.connection ?? (databaseUrl as string), log)
  } finally {
    await embedded?.stop()
  }
}

async function work(
  values: Values,
  config: Config,
  connection: Connection,
  log: ReturnType<typeof createLogger>,
): Promise<void> {
  // One connection: any other one is somebody else's.
  const { db } = openPool(named(connection), () => undefined, 1)
  const custody = await openCustody(config)
  try {
    if (!(await hasSchema(db))) {
      throw new UsageError('there are no tables of agent-idp in this database: restore the backup')
    }
    await standAlone(db, PATIENCE)
    const found = await findOut(db)
    if (!values.yes && !(await confirm(question(found)))) {
      throw new UsageError('nothing was changed')
    }
    begun = true
    // A backup may be older than this version.
    await migrateToLatest(config, connection)
    const now = () => new Date()
    const done = await endRestored(
      { db, config, now, log, custody },
      { reason: values.reason, keepPolicies: values['keep-policies'] },
    )
    const left = { ...found, live: await countLive(db, now()), apps: await listApps(db) }
    if (values.json) console.log(JSON.stringify({ ...done, ...left }, null, 2))
    else console.log(report(done, left, config))
  } finally {
    await custody.close()
    await db.destroy()
  }
}

function named(connection: Connection) {
  return { ...poolConfig(connection), application_name: 'agent-idp after-restore' }
}

async function findOut(db: Db): Promise<Pick<Found, 'newest' | 'head'>> {
  const head = await findLastSeal(db)
  return {
    newest: (await findNewest(db)) ?? null,
    head: head ? `${head.position}:${head.hash}` : null,
  }
}

async function confirm(words: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  terminal.once('SIGINT', () => process.exit(130))
  const gone = new Promise<string>((resolve) => terminal.once('close', () => resolve('')))
  try {
    return (await Promise.race([terminal.question(words), gone])).trim() === 'yes'
  } finally {
    terminal.close()
  }
}

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (error instanceof UsageError) return message
  if (code === '55P03') return 'somebody holds the tables: close what else works on this database'
  const words = inWords(error) ?? message
  if (!begun) return words
  return `${words}\nIt is not done, or nobody knows. Mend that, and run after-restore again before a server starts.`
}
