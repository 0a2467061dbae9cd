/**
 * The embedded database: a real PostgreSQL under DATA_DIR, reached through a Unix socket in a private
 * folder and by nothing else.
 *
 * 1. One process per DATA_DIR; whatever an earlier one left running is stopped first.
 * 2. What a commit acknowledged survives every kill: fsync and synchronous_commit stay as they are.
 * 3. A server that dies is started again, on the same socket and with the same password, so that
 *    pools find it by themselves. Only when it keeps dying does `died` resolve.
 */

import { rmSync } from 'node:fs'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { lockDataDir } from './data-dir-lock.ts'
import { EmbeddedPostgresError } from './embedded-error.ts'
import { type Account, canEnter } from './postgres-account.ts'
import { findBinaries } from './postgres-binaries.ts'
import { DATABASE, openCluster } from './postgres-cluster.ts'
import { openDataDir, openHome } from './postgres-home.ts'
import {
  type Log,
  type Postmaster,
  startPostmaster,
  stopOrphan,
  stopPostmaster,
} from './postmaster.ts'

export type EmbeddedOptions = {
  dataDir: string
  log: Log
  /** Server settings beyond our own, such as `max_connections`. */
  settings?: Record<string, string>
}

export type EmbeddedPostgres = {
  /** `host` is the folder of the socket. The role owns its database and is not superuser. */
  connection: { host: string; port: number; user: string; database: string; password: string }
  version: string
  /** Of the server now running: another one after a restart. */
  readonly pid: number
  /** Resolves, and never rejects, when the server is gone and could not be started again. */
  died: Promise<Error>
  stop(): Promise<void>
}

const PORT = 5432
/** sockaddr_un holds 104 bytes on macOS, 108 on Linux; the socket's name takes some of them. */
const SOCKET_FOLDER_LIMIT = 103 - `/.s.PGSQL.${PORT}`.length
/** A server that died this often within a minute will not live. */
const RESTARTS_PER_MINUTE = 5

const SETTINGS = {
  listen_addresses: '',
  port: String(PORT),
  // One server on one machine: no standby, no logical subscriber, no processes waiting for them.
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_logical_replication_workers: '0',
  io_method: 'sync',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
  logging_collector: 'off',
  log_destination: 'stderr',
  log_line_prefix: '',
  log_checkpoints: 'off',
  // Statements and the values in them stay out of the log; callers receive these errors anyway.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
}

/** @throws EmbeddedPostgresError saying what is wrong and what to do about it. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const undo: (() => unknown)[] = []
  try {
    const dataDir = await openDataDir(options.dataDir)
    const lock = lockDataDir(dataDir)
    undo.unshift(() => lock.release())

    const home = await openHome(dataDir)
    await removeSocketFolder(await stopOrphan(home, options.log))
    const binaries = await findBinaries(home.account, home.path)
    const password = await openCluster(dataDir, home, binaries)
    const host = await makeSocketFolder(home.account)
    undo.unshift(() => rm(host, { recursive: true, force: true }))

    const settings = { ...SETTINGS, ...options.settings, unix_socket_directories: host }
    const start = { home, postgres: binaries.postgres, settings, log: options.log }
    const server = await supervise(() => startPostmaster(start), host, options.log)
    const connection = { host, port: PORT, user: DATABASE, database: DATABASE, password }
    const { version } = binaries
    options.log.info({ version, pid: server.pid(), host }, 'embedded PostgreSQL is up')
    return {
      connection,
      version,
      get pid() {
        return server.pid()
      },
      died: server.died,
      async stop() {
        await server.stop()
        for (const step of undo.splice(0)) await step()
      },
    }
  } catch (error) {
    for (const step of undo) await step()
    throw inPlainWords(error, options.dataDir)
  }
}

/** Keeps a server running until it is told to stop, or dies too often. */
async function supervise(start: () => Promise<Postmaster>, socketFolder: string, log: Log) {
  let current = await start()
  let stopping: Promise<void> | undefined
  let restarting: Promise<void> | undefined
  const restarts: number[] = []
  const died = Promise.withResolvers<Error>()

  const watch = () => {
    void current.exited.then((how) => {
      if (!stopping) restarting = restart(how).catch(died.resolve)
    })
  }
  const restart = async (how: string) => {
    const now = performance.now()
    restarts.push(now)
    if (restarts.filter((at) => at > now - 60_000).length > RESTARTS_PER_MINUTE) {
      throw new EmbeddedPostgresError(`The embedded PostgreSQL keeps dying (${how}).`)
    }
    log.warn({ how }, 'the embedded PostgreSQL died; starting it again')
    current = await start()
    log.warn({ pid: current.child.pid }, 'the embedded PostgreSQL is up again')
    watch()
  }
  // For processes that end without calling stop(): what can be done without waiting.
  const lastResort = () => {
    current.child.kill('SIGINT')
    rmSync(socketFolder, { recursive: true, force: true })
  }

  watch()
  process.on('exit', lastResort)
  return {
    died: died.promise,
    pid: () => current.child.pid as number,
    stop() {
      stopping ??= (async () => {
        await restarting
        await stopPostmaster(current)
        process.off('exit', lastResort)
      })()
      return stopping
    },
  }
}

/** A new one for each start: nothing stale lies in it, and only the account can have made it. */
async function makeSocketFolder(account: Account): Promise<string> {
  for (const parent of socketParents()) {
    const folder = await mkdtemp(join(parent, 'agent-idp-')).catch(() => undefined)
    if (!folder) continue
    if (account) await chown(folder, account.uid, account.gid)
    if (folder.length <= SOCKET_FOLDER_LIMIT && (await canEnter(account, folder))) return folder
    await rm(folder, { recursive: true })
  }
  throw new EmbeddedPostgresError(
    'There is no folder for the database socket: TMPDIR and /tmp cannot be used by PostgreSQL. ' +
      'Set TMPDIR to a short path that everyone may enter.',
  )
}

/** What a killed process left. The path was read from the account's file: only a name of ours counts. */
async function removeSocketFolder(folder: string | undefined): Promise<void> {
  if (!folder || !socketParents().has(dirname(folder))) return
  if (/^agent-idp-\w{6}$/.test(basename(folder))) await rm(folder, { recursive: true, force: true })
}

function socketParents(): Set<string> {
  return new Set([tmpdir(), '/tmp', '/var/tmp'])
}

export function inPlainWords(error: unknown, dataDir: string): unknown {
  if (error instanceof EmbeddedPostgresError) return error
  const { code, message } = error as NodeJS.ErrnoException
  if (!code) return error
  return new EmbeddedPostgresError(
    `The embedded PostgreSQL under ${dataDir} cannot start: ${message}. ` +
      'Check the permissions and the free space there.',
    { cause: error },
  )
}
