import { randomBytes } from 'node:crypto'
import { access, link, open, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Logger } from 'pino'
import { type Config, ConfigError } from './config.ts'
import { inPlainWords } from './db/embedded.ts'
import { openDataDir, readIfThere } from './db/postgres-home.ts'
import { newSecret } from './oauth/secret.ts'

/**
 * The secrets that a newcomer need not make: on the embedded database they are made once and kept beside
 * it, readable by the owner alone, before there is a database. With DATABASE_URL they are required, and
 * config.ts has seen to that.
 * @param options `newKey`: that of the database is lost, and what is under it is given up
 * @throws {ConfigError} where there is a database and not its key: with another one nothing in it would open
 */
export async function completeSecrets(
  config: Config,
  log: Logger,
  { newKey = false } = {},
): Promise<Config> {
  if (config.databaseUrl !== undefined) return config
  const { dataDir } = config
  await openDataDir(dataDir).catch((error) => {
    throw inPlainWords(error, dataDir)
  })
  const keyEncryptionKeys = await findKeys(config.keyEncryptionKeys, dataDir, newKey)
  if (config.adminApiKey !== undefined) return { ...config, keyEncryptionKeys }
  const path = join(dataDir, 'admin-api-key')
  const adminApiKey = await readOrMake(path, () => `adk_${newSecret()}`)
  log.info({ path }, `the admin key is in ${path}`)
  return { ...config, adminApiKey, keyEncryptionKeys }
}

async function findKeys(
  given: Buffer[] | undefined,
  dataDir: string,
  newKey: boolean,
): Promise<Buffer[]> {
  const path = join(dataDir, 'key-encryption-key')
  const made = (await readIfThere(path))?.trim()
  // What the made one has encrypted stays readable when a key is set later.
  if (made !== undefined) return [...(given ?? []), readKey(made, path)]
  if (given !== undefined) return given
  if (!newKey && (await hasDatabase(dataDir))) throw new ConfigError(missing(path))
  const key = await readOrMake(path, () => randomBytes(32).toString('base64'))
  return [Buffer.from(key, 'base64')]
}

function readKey(text: string, path: string): Buffer {
  const key = Buffer.from(text, 'base64')
  if (key.length === 32) return key
  throw new ConfigError(
    `${path} does not hold a key (32 bytes in base64): put back the file that belongs to this database`,
  )
}

const missing = (path: string): string =>
  `There is a database, and the key that belongs to it is not there: ${path}. Put that file back, or set KEY_ENCRYPTION_KEY to what it held. ` +
  'If it is lost: npm run after-restore -- --new-key ends all access and makes new signing keys under a new one'

async function hasDatabase(dataDir: string): Promise<boolean> {
  if ((await readIfThere(join(dataDir, 'postgres-home'))) !== undefined) return true
  return access(join(dataDir, 'postgres/cluster')).then(
    () => true,
    () => false,
  )
}

/** Whole and on the disk before it is named: what is encrypted under it must not outlive it. */
async function readOrMake(path: string, make: () => string): Promise<string> {
  const there = await readIfThere(path)
  if (there !== undefined) return there.trim()
  const draft = `${path}.${randomBytes(8).toString('hex')}`
  try {
    await writeFile(draft, `${make()}\n`, { flag: 'wx', mode: 0o600, flush: true })
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      // Another start was faster: its value counts.
      if (error.code !== 'EEXIST') throw error
    })
  } finally {
    await rm(draft, { force: true })
  }
  await flushFolder(dirname(path))
  return (await readFile(path, 'utf8')).trim()
}

async function flushFolder(path: string): Promise<void> {
  const folder = await open(path)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
