import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { openPkcs11Custody } from '../../src/keys/pkcs11-custody.ts'
import { hostEnvironment } from '../../src/keys/pkcs11-environment.ts'
import { refused } from '../support/custody-contract.ts'

const SETTINGS = {
  ADMIN_API_KEY: 'a',
  DATABASE_URL: 'd',
  KEY_CUSTODY: 'c',
  KEY_ENCRYPTION_KEY: 'k',
  MIGRATION_DATABASE_URL: 'm',
}

test('a PKCS#11 module gets of the environment what modules read, and what was named for it', () => {
  const all = { ...SETTINGS, SOFTHSM2_CONF: 's', HOME: 'h', PATH: 'p', AWS_SECRET: 'x', OF_IT: 'o' }
  assert.deepEqual(hostEnvironment([], all), { SOFTHSM2_CONF: 's', HOME: 'h' })
  assert.deepEqual(hostEnvironment(['OF_IT', 'ABSENT'], all), {
    SOFTHSM2_CONF: 's',
    HOME: 'h',
    OF_IT: 'o',
  })
  assert.deepEqual(hostEnvironment(Object.keys(SETTINGS), SETTINGS), {})
})

test('without pkcs11js the custody says what to install', async (t) => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'agent-idp-host-'))
  t.after(() => rmSync(elsewhere, { recursive: true }))
  for (const room of ['keys', 'oauth']) {
    cpSync(resolve(import.meta.dirname, '../../src', room), join(elsewhere, room), {
      recursive: true,
    })
  }
  const program = pathToFileURL(join(elsewhere, 'keys/pkcs11-host.ts'))
  const opened = openPkcs11Custody('pkcs11:?module-path=/none.so&pin-value=1234', program)
  await refused(opened, /pkcs11js is not built here.*C\+\+ compiler.*npm rebuild pkcs11js/)
})
