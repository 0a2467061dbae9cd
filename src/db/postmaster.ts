/**
 * The running server of one cluster: started, watched, started again when it dies, and stopped.
 *
 * A server whose parent was killed keeps running. The next start stops it rather than adopting it:
 * an orphan's end could not be noticed and its log would go nowhere, and a fast shutdown plus a start
 * costs less than a second. The lock on DATA_DIR says that nobody else is using it.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readdir, readFile, readlink, rm } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { EmbeddedPostgresError } from './embedded-error.ts'
import { spawnAs } from './postgres-account.ts'
import type { Home } from './postgres-home.ts'

export type Log = Record<'info' | 'warn', (fields: object, message: string) => void>

export type Postmaster = { child: ChildProcess; exited: Promise<string> }

type Start = { home: Home; postgres: string; settings: Record<string, string>; log: Log }

/** Milliseconds a shutdown may take before the next harder signal. */
const PATIENCE = 20_000
const LEFTOVER_ATTEMPTS = 50

/** Resolves when the server accepts connections. @throws EmbeddedPostgresError with its last words. */
export async function startPostmaster(start: Start): Promise<Postmaster> {
  for (let attempt = 1; ; attempt++) {
    const outcome = await launch(start)
    if ('child' in outcome) return outcome
    // Processes that outlived a killed postmaster hold on to its memory until they notice.
    const leftovers = /shared memory block .* is still in use/.test(outcome.lastWords)
    if (!leftovers || attempt === LEFTOVER_ATTEMPTS) {
      throw new EmbeddedPostgresError(
        `The embedded PostgreSQL in ${start.home.cluster} did not start: ${outcome.lastWords}`,
      )
    }
    await signalLeftovers(start.home.cluster, attempt < 20 ? 'SIGQUIT' : 'SIGKILL')
    await pause(100)
  }
}

/** Fast shutdown: sessions are ended, nothing committed is lost. Harder when that takes too long. */
export async function stopPostmaster({ child, exited }: Postmaster): Promise<void> {
  child.ref()
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    child.kill(signal)
    if (await endsWithin(exited)) return
  }
}

/**
 * Stops the server that a killed process left on this cluster, if there is one.
 * Returns the socket folder of that earlier server, whether or not it was still running.
 */
export async function stopOrphan(home: Home, log: Log): Promise<string | undefined> {
  const pidFile = join(home.cluster, 'postmaster.pid')
  const lines = (await readFile(pidFile, 'utf8').catch(() => '')).split('\n')
  const pid = Number.parseInt(lines[0] ?? '', 10)
  if (!(pid > 1)) return undefined
  if (await isPostmaster(pid, home.cluster)) await stopOther(pid, home, log)
  // PostgreSQL would take any process of its account that has got this id since for a server.
  await rm(pidFile, { force: true })
  return lines[4]
}

async function stopOther(pid: number, home: Home, log: Log): Promise<void> {
  log.warn({ pid }, 'stopping the PostgreSQL that an earlier agent-idp left running')
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    signalIfAlive(pid, signal)
    for (let waited = 0; waited < PATIENCE; waited += 20) {
      if (!(await isPostmaster(pid, home.cluster))) return
      await pause(20)
    }
  }
  throw new EmbeddedPostgresError(
    `An earlier agent-idp left PostgreSQL running (process ${pid}), and it cannot be stopped.`,
  )
}

async function launch({ home, postgres, settings, log }: Start) {
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const child = spawn(postgres, ['-D', home.cluster, ...options], {
    ...spawnAs(home.account, home.path),
    stdio: ['ignore', 'ignore', 'pipe'],
    // A Ctrl-C at the terminal is for us: we finish the requests first, then stop the server.
    detached: true,
  })
  const stderr = child.stderr as Socket
  const lines = createInterface({ input: stderr })
  const last: string[] = []
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
  })
  const closed = new Promise<undefined>((resolve) => {
    child.once('error', () => resolve(undefined))
    child.once('close', () => resolve(undefined))
  })
  let up = false
  const ready = new Promise<Postmaster>((resolve) => {
    lines.on('line', (line) => {
      if (last.push(line) > 20) last.shift()
      if (up) relay(line, log)
      if (!line.includes('database system is ready to accept connections')) return
      up = true
      resolve({ child, exited })
    })
  })
  const outcome = await Promise.race([ready, closed])
  if (!outcome) return { lastWords: [...last, await exited].join(' ') }
  // From here on the server shall not keep a process alive that has nothing else to do.
  child.unref()
  stderr.unref()
  return outcome
}

/** The server's own lines, once it runs. Statements and values are kept out by the settings. */
function relay(line: string, log: Log): void {
  const [, severity, message] = /^(\w+): {2}(.*)$/.exec(line) ?? []
  if (!message) return
  // A session that had said goodbye just before the server stops is ended by it all the same.
  const farewell = message === 'terminating connection due to administrator command'
  const grave = severity === 'LOG' ? /terminated by signal|abnormally/.test(message) : !farewell
  log[grave ? 'warn' : 'info']({ severity }, `PostgreSQL: ${message}`)
}

/** Whether this very process serves this cluster; its id alone may have been given to another. */
async function isPostmaster(pid: number, cluster: string): Promise<boolean> {
  if (process.platform === 'linux') {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    return command.includes(`\0-D\0${cluster}\0`)
  }
  const ps = promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', String(pid)])
  return ps.then(({ stdout }) => stdout.includes(`-D ${cluster} `)).catch(() => false)
}

/** Server processes work inside their cluster's folder. Only Linux says so; elsewhere we wait. */
async function signalLeftovers(cluster: string, signal: NodeJS.Signals): Promise<void> {
  for (const pid of (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))) {
    const folder = await readlink(`/proc/${pid}/cwd`).catch(() => '')
    if (folder === cluster) signalIfAlive(Number(pid), signal)
  }
}

function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function endsWithin(exited: Promise<string>): Promise<boolean> {
  const patience = new AbortController()
  const tooLong = pause(PATIENCE, false, { signal: patience.signal }).catch(() => false)
  const ended = await Promise.race([exited.then(() => true), tooLong])
  patience.abort()
  return ended
}
