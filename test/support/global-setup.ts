/** One database server for all test files of a run (`node --test --test-global-setup`). */

import { makeRsaKeys } from './key-pairs.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer | undefined

export async function globalSetup(): Promise<void> {
  const keys = makeRsaKeys()
  server = await startTestServer()
  // The processes of the test files inherit this.
  process.env.TEST_RSA_KEYS = JSON.stringify(await keys)
  process.env.TEST_SERVER = JSON.stringify({ url: server.url, template: server.template })
}

export async function globalTeardown(): Promise<void> {
  await server?.stop()
}
