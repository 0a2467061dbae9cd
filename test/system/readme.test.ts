import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { freePort } from '../support/server-process.ts'

const ROOT = resolve(import.meta.dirname, '../..')

test('the walk by hand in README.md does what it says', async (t) => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
  const folder = await mkdtemp(join(tmpdir(), 'agent-idp-readme-'))
  // Under root the database belongs to an account that could not enter it otherwise, and would lie elsewhere.
  await chmod(folder, 0o711)
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  // The snippet of a relying app finds `jose` where the reader has it.
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const issuer = await startServer(t, folder)

  const section = readme.split(/^## /m).find((text) => text.startsWith('First ID-JAG by hand'))
  const blocks = [...(section ?? '').matchAll(/^```bash\n([\s\S]*?)^```$/gm)].map(
    ([, text]) => text,
  )
  assert.equal(blocks[0], 'npm start\n')
  const script = blocks.slice(1).join('\necho\n')
  assert.match(script, /^ISSUER=http:\/\/localhost:4000$/m)
  const { code, output } = await run(
    'bash',
    ['-euo', 'pipefail', '-c', script.replace('http://localhost:4000', issuer)],
    folder,
  )
  assert.equal(code, 0, output)
  assert.equal(output.match(/"error":"interaction_required"/g)?.length, 2, output)
  assert.match(output, /"client_id":"planner-at-calendar"/, 'the claims are shown')
  assert.match(output, /planner-at-calendar may act for usr_\S+: events\.read/)
})

/** As `npm start` does, on a free port and with its `data` in the folder. */
async function startServer(t: TestContext, folder: string): Promise<string> {
  const issuer = `http://localhost:${await freePort()}`
  const child = spawn(process.execPath, [join(ROOT, 'src/main.ts')], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ISSUER: issuer },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(async () => {
    child.kill()
    if (child.exitCode === null) await once(child, 'exit')
  })
  child.stdout.setEncoding('utf8')
  let said = ''
  while (!said.includes('listens on')) {
    const [more] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
    assert.equal(typeof more, 'string', `it did not start: ${said}`)
    said += more
  }
  child.stdout.resume()
  return issuer
}

async function run(command: string, args: string[], cwd: string) {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  const [code] = await once(child, 'close')
  return { code, output }
}
