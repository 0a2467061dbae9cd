import { randomBytes } from 'node:crypto'
import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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
  if (made !== undefined) return [...(given ?? []), Buffer.from(made, 'base64')]
  if (given !== undefined) return given
  if (!newKey && (await hasDatabase(dataDir))) throw new ConfigError(missing(path))
  const key = await readOrMake(path, () => randomBytes(32).toString('base64'))
  return [Buffer.from(key, 'base64')]
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

async function readOrMake(path: string, make: () => string): Promise<string> {
  try {
    const value = make()
    await writeFile(path, `${value}\n`, { flag: 'wx', mode: 0o600 })
    return value
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return (await readFile(path, 'utf8')).trim()
  }
}
