import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import { newSecret } from './oauth/secret.ts'

/**
 * The secrets that a newcomer need not make: on the embedded database they are made once and kept beside
 * it, readable by the owner alone. With DATABASE_URL they are required, and config.ts has seen to that.
 */
export async function completeSecrets(config: Config, log: Logger): Promise<Config> {
  if (config.databaseUrl !== undefined) return config
  const adminKeyPath = join(config.dataDir, 'admin-api-key')
  const adminKey =
    config.adminApiKey ?? (await readOrMake(adminKeyPath, () => `adk_${newSecret()}`))
  if (config.adminApiKey === undefined) {
    log.info({ path: adminKeyPath }, `the admin key is in ${adminKeyPath}`)
  }
  const made = await readOrMake(join(config.dataDir, 'key-encryption-key'), () =>
    randomBytes(32).toString('base64'),
  )
  return {
    ...config,
    adminApiKey: adminKey,
    // What the made one has encrypted stays readable when a key is set later.
    keyEncryptionKeys: [...(config.keyEncryptionKeys ?? []), Buffer.from(made, 'base64')],
  }
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
