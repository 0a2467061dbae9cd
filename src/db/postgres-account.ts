/**
 * The account PostgreSQL runs under. The server refuses root, so under root it gets an unprivileged
 * account; anyone else runs it as themselves. Programs started here see a bare environment: ours
 * holds secrets, and a process shows its environment to everyone with its user id.
 */

import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { EmbeddedPostgresError } from './embedded-error.ts'

/** Undefined: the account we run as. */
export type Account = { uid: number; gid: number } | undefined

export type Finished = { code: number | null; output: string }

export function isRoot(): boolean {
  return process.geteuid?.() === 0
}

/** @throws EmbeddedPostgresError when the system has no account `nobody`. */
export async function unprivilegedAccount(): Promise<NonNullable<Account>> {
  const accounts = await readFile('/etc/passwd', 'utf8').catch(() => '')
  const [, uid, gid] = accounts.match(/^nobody:[^:]*:(-?\d+):(-?\d+):/m) ?? []
  if (uid === undefined || gid === undefined) {
    throw new EmbeddedPostgresError(
      'PostgreSQL does not run as root, and there is no account "nobody" to run it under. ' +
        'Start agent-idp as an ordinary user, or set DATABASE_URL.',
    )
  }
  // macOS writes -2 where chown wants the same number unsigned.
  return { uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 }
}

/** What `spawn` needs to start a program of the cluster. */
export function spawnAs(account: Account, cwd: string) {
  // setuid wants the signed form of what chown wants unsigned.
  const identity = account && { uid: account.uid | 0, gid: account.gid | 0 }
  return { ...identity, cwd, env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C' } }
}

/** Runs a program to its end; `output` is what it printed, both streams in the order they came. */
export function runAs(account: Account, cwd: string, command: string[], input = '') {
  return new Promise<Finished>((resolve, reject) => {
    const [program = '', ...args] = command
    const child = spawn(program, args, { ...spawnAs(account, cwd), stdio: 'pipe' })
    let output = ''
    const keep = (chunk: Buffer) => {
      output += chunk.toString()
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    // A program that ends before it has read everything says why by its exit code.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}

/** Whether the account reaches the folder, judged by the kernel rather than by reading mode bits. */
export async function canEnter(account: Account, folder: string): Promise<boolean> {
  const probe = ['/bin/sh', '-c', 'cd -- "$1"', 'sh', folder]
  return (await runAs(account, '/', probe)).code === 0
}
