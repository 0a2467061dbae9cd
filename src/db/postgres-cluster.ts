/**
 * The files of one database cluster: made complete or not at all, and never opened with programs of
 * another major version. The password that opens it lies in DATA_DIR, readable by us alone.
 *
 * A cluster is made aside and renamed into place last, so its presence means that role, password and
 * database are there too. agent-idp connects as the owner of its database, not as superuser.
 */

import { randomBytes } from 'node:crypto'
import { chown, mkdtemp, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { EmbeddedPostgresError } from './embedded-error.ts'
import { type Account, runAs } from './postgres-account.ts'
import type { Binaries } from './postgres-binaries.ts'
import { type Home, readIfThere, writeDurably } from './postgres-home.ts'

/** The role and the database of agent-idp. The superuser is `postgres`, with the same password. */
export const DATABASE = 'agent_idp'

/**
 * Makes the cluster at the first start. Returns the password that opens it.
 * @throws EmbeddedPostgresError, also when the cluster is of another major version.
 */
export async function openCluster(dataDir: string, home: Home, binaries: Binaries) {
  const major = await findMajor(home.cluster)
  if (major && major !== binaries.major) throw otherMajor(dataDir, home, major, binaries.major)

  const path = join(dataDir, 'postgres-password')
  const known = await readPassword(path)
  const password = known || randomBytes(24).toString('base64url')
  // A password that got lost is replaced: first in the cluster, so that a crash in between repeats it.
  if (major && !known) await runSql(home, home.cluster, binaries, setPasswords(password))
  if (!known) await writeDurably(path, `${password}\n`)
  if (!major) await makeCluster(home, binaries, password)
  return password
}

async function readPassword(path: string): Promise<string> {
  return (await readIfThere(path))?.trim() ?? ''
}

async function findMajor(cluster: string): Promise<string | undefined> {
  try {
    return (await readFile(join(cluster, 'PG_VERSION'), 'utf8')).trim()
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    if (missing && (await readdir(cluster).catch(() => undefined)) === undefined) return undefined
    throw new EmbeddedPostgresError(
      `${cluster} is damaged: it has no readable PG_VERSION. Restore it from a backup; to begin ` +
        'with an empty database, move it away.',
      { cause: error },
    )
  }
}

async function makeCluster(home: Home, binaries: Binaries, password: string): Promise<void> {
  // What a start that was killed left behind. Its initdb may even be running still: hence new names.
  for (const name of (await readdir(home.path)).filter((name) => name.startsWith('cluster.new-'))) {
    await rm(join(home.path, name), { recursive: true, force: true })
  }
  const aside = await mkdtemp(join(home.path, 'cluster.new-'))
  if (home.account) await chown(aside, home.account.uid, home.account.gid)

  const passwordFile = await writePasswordFor(home.account, `${aside}.password`, password)
  const command = [binaries.initdb, '-D', aside, '-U', 'postgres', '-E', 'UTF8']
  command.push('--locale-provider=builtin', '--locale=C.UTF-8', '--no-instructions')
  command.push('-A', 'scram-sha-256', '--pwfile', passwordFile)
  const made = await runAs(home.account, home.path, command)
  await rm(passwordFile)
  if (made.code !== 0) throw failed('create', home, made.output)

  const create = [
    `create role ${DATABASE} login createdb`,
    ...setPasswords(password),
    `create database ${DATABASE} owner ${DATABASE}`,
  ]
  await runSql(home, aside, binaries, create)
  await rename(aside, home.cluster)
  const parent = await open(home.path)
  await parent.sync()
  await parent.close()
}

/** initdb reads the password from a file, and reads it as the account. */
async function writePasswordFor(account: Account, path: string, password: string) {
  const file = await open(path, 'wx', 0o600)
  await file.writeFile(password)
  if (account) await file.chown(account.uid, account.gid)
  await file.close()
  return path
}

function setPasswords(password: string): string[] {
  return ['postgres', DATABASE].map((role) => `alter role ${role} password '${password}'`)
}

/** Single-user mode: no socket, no password, nobody else; one statement per line. */
async function runSql(home: Home, cluster: string, { postgres }: Binaries, statements: string[]) {
  const quiet = ['log_min_error_statement=panic', 'exit_on_error=on'].flatMap((s) => ['-c', s])
  const command = [postgres, '--single', '-D', cluster, ...quiet, 'postgres']
  const { code, output } = await runAs(
    home.account,
    home.path,
    command,
    `${statements.join('\n')}\n`,
  )
  if (code !== 0) throw failed('prepare', home, output)
}

function failed(what: string, home: Home, output: string) {
  return new EmbeddedPostgresError(
    `Could not ${what} the database in ${home.path}: ${output.trim().split('\n').slice(-5).join(' ')}`,
  )
}

/** The npm packages carry neither pg_dump nor the older server, so the command names a full install. */
function otherMajor(dataDir: string, home: Home, theirs: string, ours: string) {
  const bin = `/usr/lib/postgresql/${theirs}/bin`
  const owner = home.account
  const setpriv = `setpriv --reuid=${owner?.uid} --regid=${owner?.gid} --clear-groups `
  const sudo = `sudo -u '#${owner?.uid}' `
  const as = !owner ? '' : process.platform === 'linux' ? setpriv : sudo
  const options = `-k /tmp -p 54320 -c listen_addresses= -c unix_socket_permissions=0700`
  return new EmbeddedPostgresError(
    `The database in ${home.cluster} is of PostgreSQL ${theirs}; this agent-idp runs PostgreSQL ${ours} and ` +
      `has not touched it. Dump it with PostgreSQL ${theirs} (on Debian: package postgresql-${theirs}):\n\n` +
      `  (cd / && ${as}${bin}/pg_ctl -D '${home.cluster}' -w -l /dev/null -o "${options}" start)\n` +
      `  PGPASSWORD=$(cat '${join(dataDir, 'postgres-password')}') ${bin}/pg_dump -h /tmp -p 54320 -U ${DATABASE} -Fc -f agent-idp.dump ${DATABASE}\n` +
      `  (cd / && ${as}${bin}/pg_ctl -D '${home.cluster}' -m fast stop)\n\n` +
      'Then move that folder away, start agent-idp once to get an empty database, and load agent-idp.dump ' +
      'into it with pg_restore --clean.',
  )
}
