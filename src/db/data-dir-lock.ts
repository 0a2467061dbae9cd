/**
 * One process at a time works on a DATA_DIR. The kernel keeps that promise: the lock is a file lock
 * (taken through SQLite, because Node.js itself cannot ask for one), so it ends with the process
 * however that dies, a reused process id cannot fake it, and it also holds between two containers
 * that share the folder but not their process ids.
 *
 * Nothing else in this process may open and close the lock file: POSIX would drop the lock.
 */

import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { EmbeddedPostgresError } from './embedded-error.ts'

export type DataDirLock = { release(): void }

const SQLITE_BUSY = 5

/** Milliseconds: a process that was just killed holds its lock until the kernel has taken it apart. */
const PATIENCE = 2_000

/** @throws EmbeddedPostgresError when another process holds the lock or the folder refuses it. */
export function lockDataDir(dataDir: string): DataDirLock {
  const path = join(dataDir, 'lock')
  let file: DatabaseSync | undefined
  try {
    file = new DatabaseSync(path, { timeout: PATIENCE })
    // Whoever may read the file may lock it too.
    chmodSync(path, 0o600)
    // The holder's id goes in first, in a transaction of its own: a refused process can still read
    // what is committed. Should another slip in between the two, the second `begin` fails safely.
    file.exec(`begin immediate; pragma user_version = ${process.pid}; commit; begin immediate`)
  } catch (cause) {
    const holder = isBusy(cause) ? readHolder(file) : undefined
    file?.close()
    if (isBusy(cause)) throw inUse(dataDir, holder, cause)
    throw new EmbeddedPostgresError(
      `Cannot lock ${path}: ${String(cause)}. DATA_DIR must be a folder this account may write to.`,
      { cause },
    )
  }
  const held = file
  return {
    release() {
      if (held.isOpen) held.close()
    },
  }
}

function isBusy(error: unknown): boolean {
  return (error as { errcode?: number }).errcode === SQLITE_BUSY
}

function readHolder(file: DatabaseSync | undefined): number | undefined {
  try {
    return file?.prepare('pragma user_version').get()?.user_version as number | undefined
  } catch {
    return undefined
  }
}

function inUse(dataDir: string, holder: number | undefined, cause: unknown) {
  const who = holder ? ` (process ${holder})` : ''
  return new EmbeddedPostgresError(
    `Another agent-idp${who} is running on ${dataDir}. Stop it first, or give this one a DATA_DIR of its own.`,
    { cause },
  )
}
