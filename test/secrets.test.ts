// The secrets that a newcomer need not make, and what they rest on: made once, and never beside a database that
// was made with others.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadConfig } from '../src/config.ts'
import { createLogger } from '../src/http/logging.ts'
import { completeSecrets } from '../src/secrets.ts'

async function openFolder(t: TestContext) {
  const dataDir = await mkdtemp(join(tmpdir(), 'agent-idp-secrets-'))
  await chmod(dataDir, 0o711)
  t.after(() => rm(dataDir, { recursive: true }))
  const complete = (settings: object = {}, options?: { newKey: boolean }) => {
    const config = loadConfig({ DATA_DIR: dataDir, ...settings })
    return completeSecrets(config, createLogger(config, { write: () => undefined }), options)
  }
  return { dataDir, complete, keyFile: join(dataDir, 'key-encryption-key') }
}

test('secrets are made once, for their owner alone', async (t) => {
  const { dataDir, complete, keyFile } = await openFolder(t)
  const made = await complete()
  assert.equal(made.keyEncryptionKeys?.[0]?.length, 32)
  assert.match(made.adminApiKey ?? '', /^adk_.{40}/)
  for (const path of [keyFile, join(dataDir, 'admin-api-key')]) {
    assert.equal((await stat(path)).mode & 0o777, 0o600)
  }
  await mkdir(join(dataDir, 'postgres/cluster'), { recursive: true })
  const { adminApiKey, keyEncryptionKeys } = await complete()
  assert.deepEqual([adminApiKey, keyEncryptionKeys], [made.adminApiKey, made.keyEncryptionKeys])
})

test('starts at the same time make one secret of each', async (t) => {
  const { dataDir, complete } = await openFolder(t)
  const made = await Promise.all(Array.from({ length: 8 }, () => complete()))
  const [first] = made
  for (const { adminApiKey, keyEncryptionKeys } of made) {
    assert.deepEqual(
      [adminApiKey, keyEncryptionKeys],
      [first?.adminApiKey, first?.keyEncryptionKeys],
    )
  }
  assert.deepEqual((await readdir(dataDir)).sort(), ['admin-api-key', 'key-encryption-key'])
})

for (const text of ['', 'c2hvcnQ=', 'not base64 at all']) {
  test(`a key file that holds ${text || 'nothing'} is named, and left as it is`, async (t) => {
    const { complete, keyFile } = await openFolder(t)
    await writeFile(keyFile, text)
    await assert.rejects(complete(), (error: Error) => {
      assert.equal(error.name, 'ConfigError')
      assert.ok(error.message.startsWith(`${keyFile} does not hold a key`), error.message)
      return true
    })
    assert.equal(await readFile(keyFile, 'utf8'), text)
  })
}

for (const [where, lay] of [
  ['here', (folder: string) => mkdir(join(folder, 'postgres/cluster'), { recursive: true })],
  ['elsewhere', (folder: string) => writeFile(join(folder, 'postgres-home'), '/var/lib/x\n')],
] as const) {
  test(`a database that lies ${where} without its key is left as it is, until somebody says that the key is lost`, async (t) => {
    const { dataDir, complete, keyFile } = await openFolder(t)
    await lay(dataDir)
    const before = await readdir(dataDir)
    await assert.rejects(complete(), (error: Error) => {
      assert.equal(error.name, 'ConfigError')
      assert.ok(error.message.includes(keyFile), error.message)
      assert.match(error.message, /put .* back/i)
      assert.match(error.message, /npm run after-restore -- --new-key/)
      return true
    })
    assert.deepEqual(await readdir(dataDir), before, 'nothing was made')
    const { keyEncryptionKeys = [] } = await complete({}, { newKey: true })
    assert.equal((await readFile(keyFile, 'utf8')).trim(), keyEncryptionKeys[0]?.toString('base64'))
  })
}

test('a folder that cannot be made is said to be that', async (t) => {
  const { dataDir, complete } = await openFolder(t)
  await writeFile(join(dataDir, 'file'), '')
  await assert.rejects(complete({ DATA_DIR: join(dataDir, 'file/data') }), (error: Error) => {
    return error.name === 'EmbeddedPostgresError' && /Check the permissions/.test(error.message)
  })
})

test('a key from the environment is used as it is, before one that was made, and makes none', async (t) => {
  const { dataDir, complete, keyFile } = await openFolder(t)
  await mkdir(join(dataDir, 'postgres/cluster'), { recursive: true })
  const [given, made] = [randomBytes(32), randomBytes(32)]
  const settings = { KEY_ENCRYPTION_KEY: given.toString('base64') }
  assert.deepEqual((await complete(settings)).keyEncryptionKeys, [given])
  await assert.rejects(stat(keyFile), { code: 'ENOENT' })
  await writeFile(keyFile, made.toString('base64'))
  assert.deepEqual((await complete(settings)).keyEncryptionKeys, [given, made])
})
