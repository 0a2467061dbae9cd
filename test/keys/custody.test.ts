import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import type { Custody } from '../../src/keys/custody.ts'
import { openLocalCustody } from '../../src/keys/local-custody.ts'
import { openCustody } from '../../src/keys/open-custody.ts'
import { keepsTheContract, makeKey, refused } from '../support/custody-contract.ts'
import { startFakeKms } from '../support/fake-kms.ts'

/** The example of the docs, copied out of the repository as its reader does. */
const folder = await mkdtemp(join(tmpdir(), 'agent-idp-custody-'))
after(() => rm(folder, { recursive: true }))
await copyFile(
  new URL('../../docs/examples/http-custody.ts', import.meta.url),
  join(folder, 'http-custody.ts'),
)
const EXAMPLE = pathToFileURL(join(folder, 'http-custody.ts')).href
const keks = () => [randomBytes(32)]

/** As the server uses it. */
async function openExample(t: TestContext, keyEncryptionKeys = keks()) {
  const kms = await startFakeKms(t)
  Object.assign(process.env, { KMS_URL: kms.url, KMS_TOKEN: kms.token })
  const store = await openCustody({ keyEncryptionKeys, keyCustody: EXAMPLE })
  t.after(() => store.close())
  return { kms, store, custody: { name: 'http', ...store } as Custody }
}

describe('in the database', () => {
  keepsTheContract(async () => openLocalCustody(keks()), { ends: false })
})

describe('the example of the docs, a service reached over HTTP', () => {
  keepsTheContract(async (t) => (await openExample(t)).custody, { ends: true })

  test('the words of a failure name neither the token nor what was asked', async (t) => {
    const { kms, custody } = await openExample(t)
    const key = await makeKey(custody)
    kms.server.closeAllConnections()
    kms.server.close()
    await assert.rejects(custody.open(key), (error: Error) => {
      assert.ok(!error.message.includes(kms.token))
      return /does not answer/.test(error.message)
    })
  })
})

test('keys stay where they were made: after a change of KEY_CUSTODY both places are read', async (t) => {
  const shared = keks()
  const before = await openCustody({ keyEncryptionKeys: shared, keyCustody: 'local' })
  const local = await makeKey({ name: 'local', ...before } as Custody)
  const { kms, store, custody } = await openExample(t, shared)
  const remote = await makeKey(custody)
  assert.equal(kms.keys.size, 1)
  for (const key of [local, remote]) await store.open(key)
  assert.equal(store.custodyOf(local.reference), 'local')
  assert.equal(store.custodyOf(remote.reference), 'http')
  // Only what lies in the database has something to be encrypted anew.
  assert.equal(store.reseal(remote), undefined)
  await refused(before.open(remote), /kept by the custody "http": set KEY_CUSTODY/)
})

test('a setting that names nothing usable is told in words', async () => {
  const open = (keyCustody: string) => openCustody({ keyEncryptionKeys: keks(), keyCustody })
  await refused(open('file:///nowhere/custody.ts'), /^KEY_CUSTODY: /)
  const noCustody = new URL('../../src/keys/schedule.ts', import.meta.url).href
  await refused(open(noCustody), /exports no openCustody/)
})
