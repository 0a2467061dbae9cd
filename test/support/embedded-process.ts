/** A server on the embedded database of a DATA_DIR, with a look at that database past the server. */

import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type Embedded = {
  dataDir: string
  /** Where its database is now; after a restart it is somewhere else. */
  connection(): Promise<{
    host: string
    port: number
    user: string
    database: string
    password: string
  }>
  /** Of the database's server. */
  pid(): Promise<number>
}

/** A fresh DATA_DIR; at the end the database goes that a killed server left running, and the folder. */
export async function makeDataDir(t: { after(end: () => Promise<void>): void }): Promise<Embedded> {
  const dataDir = await mkdtemp(join(tmpdir(), 'agent-idp-test-'))
  // Under root the database runs as another account, which shall find its cluster in here.
  await chmod(dataDir, 0o711)
  const text = async (...path: string[]) => (await readFile(join(...path), 'utf8')).trim()
  const home = () => text(dataDir, 'postgres-home').catch(() => join(dataDir, 'postgres'))
  const pidFile = async () => (await text(await home(), 'cluster', 'postmaster.pid')).split('\n')
  const pid = async () => Number((await pidFile())[0])
  t.after(async () => {
    const left = await pid().catch(() => undefined)
    if (left !== undefined && (await isPostmaster(left, await home())))
      process.kill(left, 'SIGQUIT')
    for (const folder of new Set([dataDir, await home()])) {
      await rm(folder, { recursive: true, force: true, maxRetries: 20 })
    }
  })
  return {
    dataDir,
    pid,
    async connection() {
      const [, , , port, host] = await pidFile()
      return {
        host: host as string,
        port: Number(port),
        user: 'agent_idp',
        database: 'agent_idp',
        password: await text(dataDir, 'postgres-password'),
      }
    },
  }
}

async function isPostmaster(pid: number, home: string): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return command.includes(`\0-D\0${join(home, 'cluster')}\0`)
}
