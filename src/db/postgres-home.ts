/**
 * Where the cluster lives and whose it is. Normally that is DATA_DIR/postgres. Under root the
 * cluster belongs to an unprivileged account, and where that account cannot enter DATA_DIR, the home
 * stands under /var/lib instead and DATA_DIR/postgres-home says where, so that the next start finds it.
 *
 * 1. The home itself belongs to us; only the cluster inside it belongs to the account. Root thus never
 *    writes into a folder where that account could put a link in its way.
 * 2. A home once chosen is never silently replaced: a database that cannot be found is an error.
 */

import { chmod, lstat, mkdir, mkdtemp, open, readFile, realpath, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { EmbeddedPostgresError } from './embedded-error.ts'
import { type Account, canEnter, isRoot, unprivilegedAccount } from './postgres-account.ts'

export type Home = { path: string; cluster: string; account: Account }

const PERSISTENT = '/var/lib'

/** Makes DATA_DIR, private unless it is there already. Returns its true path. */
export async function openDataDir(dataDir: string): Promise<string> {
  // Root's may be entered, though not listed, by the cluster's account; secrets are 0600 anyway.
  await mkdir(dataDir, { recursive: true, mode: isRoot() ? 0o711 : 0o700 })
  const path = await realpath(dataDir)
  if ((await lstat(path)).mode & 0o002) {
    throw new EmbeddedPostgresError(
      `Everyone may write to DATA_DIR ${path}, so anyone could slip in a database of their own. ` +
        `Run "chmod o-w ${path}" or choose another folder.`,
    )
  }
  return path
}

/** @throws EmbeddedPostgresError when a home chosen earlier is gone or belongs to somebody else. */
export async function openHome(dataDir: string): Promise<Home> {
  const recorded = (await readIfThere(join(dataDir, 'postgres-home')))?.trim()
  if (recorded) await requireRecorded(recorded, dataDir)
  const path = recorded ?? join(dataDir, 'postgres')
  const cluster = join(path, 'cluster')
  const owner = await statIfThere(cluster)
  if (!isRoot()) return ownHome(path, cluster)

  // A cluster that an ordinary user began goes on under that user's account.
  const account = owner?.uid ? { uid: owner.uid, gid: owner.gid } : await unprivilegedAccount()
  if (recorded || owner) {
    if (await canEnter(account, path)) return { path, cluster, account }
    throw new EmbeddedPostgresError(
      `The database in ${cluster} belongs to user id ${account.uid}, who cannot reach it any more. ` +
        'Let others enter every folder above it ("chmod o+x"); they will not be able to list it.',
    )
  }
  if (await canEnter(account, dataDir)) {
    await mkdir(path, { recursive: true })
    await chmod(path, 0o711)
    return { path, cluster, account }
  }
  const elsewhere = await makeElsewhere(dataDir)
  return { path: elsewhere, cluster: join(elsewhere, 'cluster'), account }
}

async function ownHome(path: string, cluster: string): Promise<Home> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  const { uid } = await lstat(path)
  if (uid === process.geteuid?.()) return { path, cluster, account: undefined }
  throw new EmbeddedPostgresError(
    `The database in ${path} was begun by user id ${uid}. Start agent-idp as that user, or choose another DATA_DIR.`,
  )
}

/** Not under /tmp, which a reboot may empty. */
async function makeElsewhere(dataDir: string): Promise<string> {
  try {
    await mkdir(PERSISTENT, { recursive: true })
    const path = await mkdtemp(join(PERSISTENT, 'agent-idp-'))
    await chmod(path, 0o711)
    await writeDurably(join(dataDir, 'postgres-home'), `${path}\n`)
    return path
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `Under root the database runs as "nobody", who cannot enter ${dataDir}, and a folder under ` +
        `${PERSISTENT} could not be made: ${String(cause)}. Choose a DATA_DIR that others may enter.`,
      { cause },
    )
  }
}

async function requireRecorded(path: string, dataDir: string): Promise<void> {
  const home = await statIfThere(path)
  const record = join(dataDir, 'postgres-home')
  if (!home?.isDirectory()) {
    throw new EmbeddedPostgresError(
      `${record} says that the database is in ${path}, but there is none. Bring that folder back; ` +
        `to begin with an empty database, delete ${record}.`,
    )
  }
  if (home.uid !== process.geteuid?.() || home.mode & 0o022) {
    throw new EmbeddedPostgresError(
      `${path}, where ${record} says the database is, can be changed by others than the account ` +
        'agent-idp runs as. Start it as the owner of that folder, who alone may be able to write there.',
    )
  }
}

/** Writes a file that only we may read; it is there whole or not at all. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600)
  await file.writeFile(text)
  await file.sync()
  await file.close()
  await rename(`${path}.new`, path)
}

export function readIfThere(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(unlessMissing)
}

function statIfThere(path: string) {
  return lstat(path).catch(unlessMissing)
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
