/**
 * An agent-idp process as far as its database goes, for tests that kill it or run it as another account:
 * starts the embedded database on the folder given, prints where it is as one line of JSON (or the
 * error), and then does what it reads: `stop` in good order, `exit` without a word.
 */

import { createInterface } from 'node:readline'
import { startEmbedded } from '../../src/db/embedded.ts'

const log = { info() {}, warn() {} }
try {
  const server = await startEmbedded({ dataDir: process.argv[2] as string, log })
  const { connection, pid } = server
  console.log(JSON.stringify({ connection, pid }))
  createInterface({ input: process.stdin }).on('line', async (line) => {
    if (line === 'stop') await server.stop()
    process.exit()
  })
} catch (error) {
  console.log(JSON.stringify({ error: (error as Error).message }))
}
