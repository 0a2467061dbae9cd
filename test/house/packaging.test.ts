// What can be said about the production shape without a container engine: that the files agree with
// one another, and that a program of the image would find everything it imports.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve, sep } from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadConfig } from '../../src/config.ts'

const root = resolve(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const manifest = JSON.parse(read('package.json'))

test('compose-env writes every variable that compose insists on', (t) => {
  const { env } = composeEnv(t)
  const compose = read('docker-compose.yml')
  const variables = [...compose.matchAll(/\$\{(\w+)(.*?)\}/g)]
  assert.ok(variables.length > 0)
  for (const [text, name, rest] of variables) {
    assert.equal(rest, ':?run npm run compose-env first', `${text} must stop compose when empty`)
    assert.ok(env[name ?? ''], `${name} is written and not empty`)
  }
  for (const name of Object.keys(env)) assert.match(compose, new RegExp(`\\$\\{${name}:`), name)
})

test('what the README says can be set reaches the replicas, but for what compose itself decides', () => {
  const compose = read('docker-compose.yml')
  const settings = /^x-settings:.*\n((?: {2}.*\n)+)/m.exec(compose)?.[1] ?? ''
  const given = [...settings.matchAll(/^ {2}([A-Z_]+):/gm)].map(([, name]) => name)
  const table = read('README.md').split('## Settings')[1]?.split('\n## ')[0] ?? ''
  const documented = [...table.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([A-Z_]+)`/g)].map(([, name = '']) => name),
  )
  const decided = ['HOST', 'PORT', 'DATA_DIR', 'MIGRATION_DATABASE_URL', 'TEST_DATABASE_URL']
  const expected = documented.filter((name) => !decided.includes(name))
  assert.deepEqual([...given].sort(), [...expected, 'NODE_EXTRA_CA_CERTS'].sort())
})

test('compose-env makes secrets that the settings accept and that fit into connection URLs', (t) => {
  const { env } = composeEnv(t)
  const url = `postgres://agent_idp_app:${env.DB_APP_PASSWORD}@postgres:5432/agent_idp`
  const config = loadConfig({ ...env, DATABASE_URL: url })
  assert.equal(config.adminApiKey, env.ADMIN_API_KEY)
  assert.equal(config.keyEncryptionKeys?.length, 1)
  for (const name of ['ADMIN_API_KEY', 'POSTGRES_PASSWORD', 'DB_OWNER_PASSWORD', 'DB_APP_PASSWORD'])
    assert.match(env[name] ?? '', /^[\w-]{43}$/, name)
})

test('compose-env: no secret is used twice, in one file or in two', (t) => {
  const secrets = [composeEnv(t), composeEnv(t)].flatMap(secretsOf)
  assert.equal(secrets.length, 10)
  assert.equal(new Set(secrets).size, 10)
})

test('compose-env says where the file is, and no secret', (t) => {
  const { run, path, ...written } = composeEnv(t)
  assert.equal(run.status, 0)
  assert.ok(run.stdout.includes(path))
  for (const secret of secretsOf(written)) assert.ok(!(run.stdout + run.stderr).includes(secret))
})

test('compose-env keeps the file from everyone else', {
  skip: process.platform === 'win32',
}, (t) => {
  assert.equal(statSync(composeEnv(t).path).mode & 0o777, 0o600)
})

test('compose-env never overwrites', (t) => {
  const { dir, path } = composeEnv(t)
  const before = readFileSync(path, 'utf8')
  const again = runComposeEnv(dir)
  assert.equal(again.status, 1)
  assert.match(again.stderr, /exists and stays as it is/)
  assert.equal(readFileSync(path, 'utf8'), before)
})

test('compose-env lets the proxy serve an https issuer to everyone, a loopback one to this machine', (t) => {
  const cases = [
    ['http://localhost:4000', 'http://:4000', '127.0.0.1:4000:4000'],
    ['http://127.0.0.1:8080', 'http://:8080', '127.0.0.1:8080:8080'],
    ['http://[::1]:4000', 'http://:4000', '[::1]:4000:4000'],
    ['https://idp.example.com', 'https://idp.example.com', '443:443'],
    ['https://idp.example.com:8443', 'https://idp.example.com:8443', '8443:8443'],
    ['https://localhost:8443', 'https://localhost:8443', '127.0.0.1:8443:8443'],
  ]
  for (const [issuer = '', site, publish] of cases) {
    const { env } = composeEnv(t, '--issuer', issuer)
    assert.deepEqual([env.ISSUER, env.PROXY_SITE, env.PROXY_PUBLISH], [issuer, site, publish])
  }
})

test('compose-env refuses an issuer that the server would refuse, and writes nothing', (t) => {
  const refused = [
    'http://idp.example.com',
    'http://localhost.example.com',
    'https://idp.example.com/',
    'https://idp.example.com/tenant',
    'https://idp.example.com?a=b',
    'https://me@idp.example.com',
    'https://IDP.example.com',
    'ftp://localhost',
    'idp.example.com',
  ]
  for (const issuer of refused) {
    const dir = emptyFolder(t)
    assert.equal(runComposeEnv(dir, '--issuer', issuer).status, 1, issuer)
    assert.ok(!existsSync(join(dir, '.env')), issuer)
  }
})

test('only the proxy is reachable from outside, and the replicas are locked down', () => {
  const compose = read('docker-compose.yml')
  const services = compose.slice(
    compose.indexOf('\nservices:'),
    compose.indexOf('\nnetworks:\n  front'),
  )
  const blocks = new Map(
    services.split(/^ {2}(?=[\w-]+:)/m).map((block) => [block.slice(0, block.indexOf(':')), block]),
  )
  const published = [...blocks].filter(([, block]) => /^ {4}(ports|network_mode):/m.test(block))
  assert.deepEqual(
    published.map(([name]) => name),
    ['proxy'],
  )
  for (const name of ['replica-1', 'replica-2'])
    assert.equal(blocks.get(name)?.trim(), `${name}: *replica`)
  assert.match(compose, /x-replica: &replica\n {2}<<: \*hardened\n/)
  assert.match(blocks.get('migrate') ?? '', /<<: \*hardened\n/)
  const hardened = compose.slice(compose.indexOf('x-hardened'), compose.indexOf('x-settings'))
  assert.match(hardened, /read_only: true/)
  assert.match(hardened, /cap_drop: \[ALL\]/)
  assert.match(hardened, /no-new-privileges:true/)
})

test('a replica connects as a role that is not the owner, and never learns the owner', () => {
  const compose = read('docker-compose.yml')
  assert.match(compose, /\bDATABASE_URL: postgres:\/\/agent_idp_app:/)
  const owner = [...compose.matchAll(/MIGRATION_DATABASE_URL: postgres:\/\/agent_idp_owner:/g)]
  assert.equal(owner.length, 1)
  const migrate = compose.indexOf('\n  migrate:')
  const [{ index = 0 } = {}] = owner
  assert.ok(index > migrate && index < compose.indexOf('\n  replica-1:'))
})

test('the addresses of the compose network agree', () => {
  const compose = read('docker-compose.yml')
  const proxy = /ipv4_address: ([\d.]+)/.exec(compose)?.[1]
  assert.ok(proxy)
  assert.match(compose, new RegExp(`TRUST_PROXY: ${proxy.replaceAll('.', '\\.')}\n`))
})

test('the image is built from files that are there, pinned, and runs as nobody in particular', () => {
  const dockerfile = read('Dockerfile')
  assert.match(dockerfile, /^ARG NODE_IMAGE=node:24\.\d+\.\d+-bookworm-slim$/m)
  const sources = copied()
  assert.ok(sources.includes('src') && sources.includes('migrations'))
  for (const source of sources) assert.ok(existsSync(join(root, source)), source)
  const lastStage = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))
  assert.match(lastStage, /^USER [1-9]\d*:[1-9]\d*$/m)
  assert.match(lastStage, /^HEALTHCHECK [^\n]*\\\n[^\n]*\/livez/m)
  assert.match(lastStage, /^CMD \["node", "src\/main\.ts"\]$/m)
  assert.match(lastStage, /HOST=0\.0\.0\.0/)
})

test('the build context holds what the image copies and nothing else', () => {
  const lines = read('.dockerignore')
    .split('\n')
    .filter((line) => line && !line.startsWith('#'))
  assert.equal(lines[0], '*')
  const admitted = lines.slice(1).map((line) => line.replace(/^!/, ''))
  assert.deepEqual(admitted.toSorted(), [...new Set(copied())].toSorted())
})

test('what the image runs imports only what the image has', () => {
  const inImage = copied().map((source) => join(root, source))
  const dependencies = Object.keys(manifest.dependencies)
  for (const folder of ['src', 'migrations'])
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      // The demo brings the relying app's side, with libraries of its own; the image has no use for it.
      if (!file.endsWith('.ts') || (folder === 'src' && file.startsWith(`demo${sep}`))) continue
      const path = join(root, folder, file)
      for (const specifier of imports(readFileSync(path, 'utf8'))) {
        const where = `${folder}/${file} imports ${specifier}`
        if (specifier.startsWith('.')) {
          const target = resolve(dirname(path), specifier)
          assert.ok(
            inImage.some((source) => target === source || target.startsWith(source + sep)),
            where,
          )
        } else if (!specifier.startsWith('node:')) {
          const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
          assert.ok(dependencies.includes(name), where)
        }
      }
    }
})

test('every dependency has one exact version, and the lock file no address', () => {
  for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies'])
    for (const [name, version] of Object.entries<string>(manifest[kind]))
      assert.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, name)
  assert.ok(!read('package-lock.json').includes('"resolved"'))
})

test('the lock file is whole: npm ci refuses one that lacks a platform', () => {
  const { packages } = JSON.parse(read('package-lock.json'))
  for (const [path, entry] of Object.entries<Locked>(packages)) {
    for (const name of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies }))
      assert.ok(isLocked(packages, path, name), `${path || 'the project'} needs ${name}`)
    if (path) assert.ok(entry.integrity, `${path} has its hash`)
  }
})

test('secrets and data stay out of the repository', () => {
  const ignored = read('.gitignore').split('\n')
  assert.ok(ignored.includes('.env'))
  assert.ok(ignored.some((line) => ['data', 'data/', '/data', '/data/'].includes(line)))
})

type Locked = {
  integrity?: string
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

/** As Node.js looks packages up: beside the one that asks, then outwards. */
function isLocked(packages: Record<string, Locked>, from: string, name: string): boolean {
  for (let path = from; ; path = path.slice(0, Math.max(0, path.lastIndexOf('/node_modules/')))) {
    if (packages[path ? `${path}/node_modules/${name}` : `node_modules/${name}`]) return true
    if (!path) return false
  }
}

/** What the Dockerfile copies from the build context. */
function copied(): string[] {
  return read('Dockerfile')
    .split('\n')
    .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
    .flatMap((line) => line.split(/\s+/).slice(1, -1))
}

/** The specifiers that are looked up when a file is loaded; those of types are gone by then. */
function imports(source: string): string[] {
  const statements = source.matchAll(
    /^(?:import|export)\s+(?!type\b)(?:[\w*{}\s,$]+?from\s+)?'([^']+)'/gm,
  )
  return [...statements].map(([, specifier = '']) => specifier)
}

function composeEnv(t: TestContext, ...args: string[]) {
  const dir = emptyFolder(t)
  const run = runComposeEnv(dir, ...args)
  assert.equal(run.status, 0, run.stderr)
  const path = join(dir, '.env')
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  const env: Record<string, string> = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  return { run, dir, path, env }
}

function secretsOf({ env }: { env: Record<string, string> }): string[] {
  return Object.keys(env)
    .filter((name) => /KEY|PASSWORD/.test(name))
    .map((name) => env[name] ?? '')
}

function runComposeEnv(cwd: string, ...args: string[]) {
  const script = join(root, 'src/commands/compose-env.ts')
  return spawnSync(process.execPath, [script, ...args], { cwd, encoding: 'utf8' })
}

function emptyFolder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'agent-idp-packaging-'))
  t.after(() => rmSync(dir, { recursive: true }))
  return dir
}
