/**
 * Writes the `.env` that docker-compose.yml reads: fresh secrets, and where the proxy listens.
 * It never overwrites one: with the old KEY_ENCRYPTION_KEY the signing keys would be lost, and the
 * database volume keeps the passwords it was made with.
 */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { loadConfig } from '../config.ts'
import { isLoopback } from '../oauth/uri.ts'

const USAGE = `npm run compose-env -- [options]

  Writes .env with fresh secrets for docker compose, unless there is one.

  --issuer U   the name in every token, such as https://id.example.com; http://localhost:4000 unless given`

const OPTIONS = {
  issuer: { type: 'string', default: 'http://localhost:4000' },
  help: { type: 'boolean', default: false },
} as const

const values = readArguments()
if (values?.help) console.log(USAGE)
else if (values) write(values.issuer)

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS }).values
  } catch (error) {
    console.error(`compose-env: ${(error as Error).message}\n\n${USAGE}`)
    process.exitCode = 2
    return undefined
  }
}

function write(wanted: string): void {
  try {
    const { issuer } = loadConfig({ ISSUER: wanted })
    const path = resolve('.env')
    // wx: made with this mode or not at all, so that the secrets are never readable by others.
    writeFileSync(path, composeEnv(issuer), { flag: 'wx', mode: 0o600 })
    console.log(`Wrote ${path} for ${issuer}, readable by you alone.`)
    console.log('ADMIN_API_KEY in it is the first admin key. Keep a copy in a safe place: without')
    console.log('KEY_ENCRYPTION_KEY the signing keys in the database cannot be used any more.')
    console.log('Next: docker compose up --build')
  } catch (error) {
    const exists = error instanceof Error && 'code' in error && error.code === 'EEXIST'
    console.error(
      exists
        ? `${resolve('.env')} exists and stays as it is. Move it away first if you want new secrets; the database volume keeps the old passwords.`
        : `compose-env: ${error instanceof Error ? error.message : error}`,
    )
    process.exitCode = 1
  }
}

function composeEnv(issuer: string): string {
  return Object.entries({
    ISSUER: issuer,
    ...proxyFor(issuer),
    ADMIN_API_KEY: secret(),
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    POSTGRES_PASSWORD: secret(),
    DB_OWNER_PASSWORD: secret(),
    DB_APP_PASSWORD: secret(),
  })
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}

/** The proxy ends TLS under the issuer's name; on loopback it serves this machine alone, under any name. */
function proxyFor(issuer: string) {
  const url = new URL(issuer)
  const https = url.protocol === 'https:'
  const port = url.port || (https ? '443' : '80')
  const publish = `${port}:${port}`
  if (!isLoopback(url)) return { PROXY_SITE: issuer, PROXY_PUBLISH: publish }
  const address = url.hostname === 'localhost' ? '127.0.0.1' : url.hostname
  return {
    PROXY_SITE: https ? issuer : `http://:${port}`,
    PROXY_PUBLISH: `${address}:${publish}`,
  }
}

/** Goes into connection URLs and .env as it is, so: no character that either would read. */
function secret(): string {
  return randomBytes(32).toString('base64url')
}
