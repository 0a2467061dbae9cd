import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createStory } from '../../src/demo/print.ts'
import type { RelyingApp } from '../../src/demo/relying-app.ts'
import { walk } from '../../src/demo/walk.ts'

const MAIN = fileURLToPath(new URL('../../src/demo/main.ts', import.meta.url))

/** A word of each step, in the order in which they are told. */
const STEPS = [
  'enrols a user',
  'enrols it with the public half',
  'becomes an audience',
  'is entitled',
  'to sign in',
  'redeems the code',
  'refused, for the user has not allowed it',
  'allows it',
  'It asks again: an ID-JAG',
  'can verify it',
  'redeems it at the relying app',
  'calls the API',
  'each counts once',
  'keeps it for later',
  'ends all that the agent may do',
  'is told',
  'the access token is refused',
  'it was made before',
  'reads that the app was told',
  'to sign in again',
  'nothing is allowed any longer',
]

test('tells the whole story, twice on one DATA_DIR, and shows no secret', async (t) => {
  const dataDir = await makeDataDir(t)
  for (const run of ['first', 'second']) {
    const { code, output } = await demo(t, ['--once'], { DATA_DIR: dataDir, PORT: '0' })
    assert.equal(code, 0, `the ${run} run failed:\n${output}`)

    const told = [...output.matchAll(/^\d+\. (.+)$/gm)].map(([, title]) => title ?? '')
    assert.equal(told.length, STEPS.length)
    for (const [at, step] of STEPS.entries()) assert.ok(told[at]?.includes(step), told[at])
    assert.match(output, /"typ": "oauth-id-jag\+jwt"/, 'the ID-JAG is shown decoded')
    assert.match(output, /"client_id": "notes-agent"/)
    assert.match(output, /"typ": "secevent\+jwt"/, 'and the event')
    assert.match(
      output,
      /events: {"delivered":1,"pending":0,"failed":0}/,
      'that it arrived (TV-90)',
    )
    assert.match(output, /seconds_to_last_acknowledgement: \d/)

    assert.doesNotMatch(output, /eyJ[\w-]+\.[\w-]+\.[\w-]+/, 'a token was shown')
    const adminKey = (await readFile(join(dataDir, 'admin-api-key'), 'utf8')).trim()
    assert.ok(!output.includes(adminKey), 'the admin key was shown')
    for (const [line] of output.matchAll(
      /^ *(?:\w*(?:token|secret|assertion)|password|code): .*$/gm,
    ))
      assert.match(line, /: <hidden>$/)
  }
})

test('stays up for a look around, until it is told to stop', async (t) => {
  const dataDir = await makeDataDir(t)
  const { child, output } = start(t, [], { DATA_DIR: dataDir, PORT: '0' })
  await told(child, output, 'Ctrl-C stops both.')

  const [question = ''] = /^ +http:\S+\/consent\/int_\S+$/m.exec(output()) ?? []
  const page = await fetch(question.trim(), { redirect: 'manual' })
  assert.equal(page.status, 303, 'the question waits for its user, who has to sign in')
  assert.match(output(), /^Sign in as \S+ with the password \S+$/m)
  assert.ok(output().includes(join(dataDir, 'admin-api-key')))

  child.kill('SIGINT')
  assert.deepEqual(await once(child, 'close'), [0, null])
})

test('says in words that a port is taken', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.after(() => taken.close())
  const issuer = `http://localhost:${portOf(taken)}`
  const env = { DATA_DIR: await makeDataDir(t), ISSUER: issuer }
  const { code, output } = await demo(t, ['--once'], env)
  assert.equal(code, 1)
  assert.match(output, /address already in use .* Choose free ports: ISSUER=/)
})

test('refuses a setting that cannot be, in words', async (t) => {
  const env = { DATA_DIR: await makeDataDir(t), ISSUER: 'http://127.0.0.1:1/path' }
  const { code, output } = await demo(t, ['--once'], env)
  assert.equal(code, 1)
  assert.match(output, /The demo cannot start: ISSUER must be an origin alone/)
})

test('a step that does not do what it should ends the story', async (t) => {
  const broken = createHttpServer((_request, response) => response.writeHead(500).end('{}'))
  broken.listen(0, '127.0.0.1')
  await once(broken, 'listening')
  t.after(() => broken.close())
  const lines: string[] = []
  const story = createStory((line) => lines.push(line))
  const app = { issuer: 'http://localhost:1' } as RelyingApp
  const issuer = `http://127.0.0.1:${portOf(broken)}`
  await assert.rejects(walk(story, { issuer, adminKey: 'adk_secret', app }), {
    name: 'StepFailed',
    message: /\/users answered 500/,
  })
  assert.equal(story.current(), '1. An administrator enrols a user')
  assert.ok(!lines.join('\n').includes('adk_secret'))
})

async function makeDataDir(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'agent-idp-demo-'))
  // Under root the database belongs to an account that could not enter it otherwise, and would lie elsewhere.
  await chmod(folder, 0o711)
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return join(folder, 'data')
}

/** Runs it to its end. */
async function demo(t: TestContext, args: string[], env: NodeJS.ProcessEnv) {
  const { child, output } = start(t, args, env)
  const [code] = await once(child, 'close')
  return { code, output: output() }
}

function start(t: TestContext, args: string[], env: NodeJS.ProcessEnv) {
  const { PATH, HOME, TMPDIR, LANG } = process.env
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH, HOME, TMPDIR, LANG, DEMO_APP_PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.after(() => child.kill())
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      said += text
    })
  }
  return { child, output: () => said }
}

/** Resolves when it has said so; rejects when it ends before. */
async function told(child: ChildProcess, output: () => string, words: string): Promise<void> {
  const ended = once(child, 'close')
  while (!output().includes(words)) {
    const more = child.stdout ? once(child.stdout, 'data') : ended
    const outcome = await Promise.race([more, ended.then(() => 'ended')])
    if (outcome === 'ended') assert.fail(`it ended before "${words}":\n${output()}`)
  }
}

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
