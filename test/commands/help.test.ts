// Whoever asks a command for help gets it, and nothing happens; whoever mistypes is told so in words.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'

const ROOT = resolve(import.meta.dirname, '../..')

for (const [path, name] of [
  ['src/commands/after-restore.ts', 'after-restore'],
  ['src/commands/compose-env.ts', 'compose-env'],
  ['src/commands/keys.ts', 'keys'],
  ['src/commands/migrate.ts', 'migrate'],
  ['bench/run.ts', 'bench'],
  ['bench/keys.ts', 'bench:keys'],
  ['bench/revocation.ts', 'bench:revocation'],
] as const) {
  const run = (t: { after(end: () => void): void }, argument: string) => {
    const folder = mkdtempSync(join(tmpdir(), 'agent-idp-help-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, path), argument], {
      cwd: folder,
      env: { PATH: process.env.PATH },
      encoding: 'utf8',
    })
    assert.deepEqual(readdirSync(folder), [])
    return { status, stdout, stderr }
  }

  test(`npm run ${name} -- --help says how it is used`, (t) => {
    const { status, stdout, stderr } = run(t, '--help')
    assert.deepEqual([status, stderr], [0, ''])
    assert.ok(stdout.startsWith(`npm run ${name}`), stdout)
  })

  test(`npm run ${name} names an option that it does not know, and how it is used`, (t) => {
    const { status, stdout, stderr } = run(t, '--wrong')
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, /--wrong/)
    assert.ok(stderr.includes(`npm run ${name}`), stderr)
    assert.doesNotMatch(stderr, /^ +at /m)
  })
}
