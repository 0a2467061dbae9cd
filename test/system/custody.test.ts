/**
 * DS-27: the whole journey with private keys in a token. Then everything that the database holds and all the
 * memory of the server is searched for them, by somebody who has opened the token with its PIN. The same search
 * finds the keys of a server that keeps them itself.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { createLocalJWKSet, jwtVerify } from 'jose'
import type pg from 'pg'
import { openPool } from '../../src/db/pool.ts'
import type { HeldKey } from '../../src/keys/custody.ts'
import { openPrivateKey } from '../../src/keys/private-key-envelope.ts'
import { SIGNING_ALGS, type SigningAlg } from '../../src/oauth/signing-alg.ts'
import { testDatabase } from '../support/postgres.ts'
import {
  assertBelong,
  findNeedles,
  needlesOf,
  type PrivateParts,
  privateParts,
} from '../support/private-parts.ts'
import { searchMemory } from '../support/process-memory.ts'
import {
  databaseSettings,
  runToEnd,
  type ServerProcess,
  startProcess,
} from '../support/server-process.ts'
import { hasEnded, hostsOf, makeToken, type SoftToken } from '../support/soft-hsm.ts'
import { privateKeysIn } from '../support/soft-hsm-keys.ts'
import { type Story, tellStory } from '../support/story.ts'

type Key = HeldKey & { status: string; public_jwk: Record<string, unknown> }

test('with keys in a token, private keys are neither in the database nor in the memory of the server', async (t) => {
  const token = makeToken(t)
  const { server, pool } = await openServer(t, inToken(token))
  await liveThrough(server)

  const keys = await listKeys(pool)
  const opened = privateKeysIn(token)
  assert.equal(opened.size, keys.length, 'the private keys of retired ones are destroyed')
  const parts = new Map(
    keys.map(({ kid, reference, public_jwk }) => {
      const [, id = ''] = /^pkcs11:([0-9a-f]{32})$/.exec(reference) ?? []
      const secret = opened.get(id)
      assert.ok(secret, reference)
      assertBelong(secret, public_jwk)
      return [kid, secret]
    }),
  )

  const text = await textOf(pool)
  const pid = server.child.pid as number
  // What is there, both searches find.
  const known = keys.flatMap((key) => needlesOf(key.kid, publicPart(key)))
  for (const found of [findNeedles(text, known), searchMemory(pid, known).found]) {
    for (const { kid } of keys) assert.ok([...found].some((name) => name.startsWith(kid)))
  }
  const needles = [...parts].flatMap(([kid, of]) => needlesOfKey(kid, of))
  assert.deepEqual([...findNeedles(text, needles)], [])
  const { found, bytes } = searchMemory(pid, needles)
  assert.deepEqual([...found], [])
  assert.ok(!server.output().includes(token.pin))
  t.diagnostic(`${needles.length} needles in ${bytes} bytes of memory, ${text.length} of database`)
  assert.equal(await server.stop(), 0)
})

test('the same search finds every key that a server keeps in its own memory, and none in its database', async (t) => {
  const { server, pool, kek } = await openServer(t, {})
  await liveThrough(server)

  const keys = await listKeys(pool)
  const text = await textOf(pool)
  const active = keys.filter(({ status }) => status === 'active')
  assert.equal(active.length, 2 * SIGNING_ALGS.length + 1)
  const parts = new Map(
    active.map((key) => {
      const jwk = openPrivateKey([kek], key, key.reference).export({ format: 'jwk' })
      const secret = privateParts(jwk as Record<string, unknown>)
      assertBelong(secret, key.public_jwk)
      return [key.kid, secret]
    }),
  )
  const needles = [...parts].flatMap(([kid, of]) => needlesOfKey(kid, of))
  assert.deepEqual([...findNeedles(text, needles)], [])
  const { found } = searchMemory(server.child.pid as number, needles)
  for (const { kid, purpose, alg } of active) {
    const forms = [...found].filter((name) => name.startsWith(kid))
    assert.ok(forms.length > 0, `the key for ${purpose} by ${alg} is found`)
  }
  assert.equal(await server.stop(), 0)
})

test('after a change of KEY_CUSTODY rotations bring the keys into the token, and no token fails', async (t) => {
  const token = makeToken(t)
  const first = await openServer(t, {})
  const [story] = (await makeStories(first.server, ['ES256'])) as [Story]
  const before = await exchangeAndVerify(first.server, story)
  assert.equal(await first.server.stop(), 0)

  // Where the first one was: the story goes on without noticing.
  const server = await startProcess(t, {
    ...first.settings,
    PORT: String(first.server.port),
    ...inToken(token),
  })
  for (const custodies of [['local'], ['local', 'pkcs11'], ['pkcs11']]) {
    const keys = await listKeys(first.pool)
    const found = keys.map(({ reference }) =>
      reference.startsWith('pkcs11:') ? 'pkcs11' : 'local',
    )
    assert.deepEqual([...new Set(found)].toSorted(), custodies)
    const kids = await exchangeAndVerify(server, story)
    assert.equal(kids[0] === before[0], custodies[0] === 'local' && custodies.length === 1)
    if (custodies[0] === 'local') await rotate(server)
  }
  assert.equal(privateKeysIn(token).size, 2 * (2 * SIGNING_ALGS.length + 1))
  assert.equal(await server.stop(), 0)
})

test('a server goes on when the host of its token is killed, and leaves none behind when it stops', async (t) => {
  const token = makeToken(t)
  const { server } = await openServer(t, inToken(token))
  const [story] = (await makeStories(server, ['ES256'])) as [Story]
  await exchangeAndVerify(server, story)
  const pid = server.child.pid as number
  for (const _ of [1, 2]) {
    const [host] = hostsOf(pid) as [number]
    process.kill(host, 'SIGKILL')
    await hasEnded(host)
    // Until the server has heard of it, it may say that it cannot sign for now.
    for (;;) {
      const { status, text } = await story.exchange()
      if (status === 200) break
      assert.equal(status, 503, text)
      assert.match(text, /temporarily_unavailable/)
    }
  }
  const [host] = hostsOf(pid) as [number]
  assert.equal(await server.stop(), 0)
  assert.deepEqual(hostsOf(pid), [])
  await hasEnded(host)
})

test('a server that cannot open its token says why in a line, without the PIN', async (t) => {
  const token = makeToken(t)
  const database = await testDatabase(t)
  const settings = { ...databaseSettings(), ...inToken(token), DATABASE_URL: database.url }
  const refusals: [string, RegExp][] = [
    [token.setting.replace(token.pinFile, '/nowhere/pin'), /pin-source cannot be read \(ENOENT\)/],
    [
      `${token.setting.replace(/&pin.*/, '')}&pin-value=hunter2`,
      /CKR_PIN_INCORRECT: the PIN is wrong/,
    ],
    [token.setting.replace('agent-idp', 'another'), /no token fits .* "agent-idp" \(serial/],
    [token.setting.replace('.so', '.none'), /module cannot be loaded: check module-path/],
    [`${token.setting}&pin-value=hunter2`, /KEY_CUSTODY: .* pin-source or pin-value, not both/],
  ]
  for (const [KEY_CUSTODY, says] of refusals) {
    const { code, output } = await runToEnd(t, { ...settings, KEY_CUSTODY })
    assert.equal(code, 1, output)
    const said = output.split('\n').filter((line) => !line.startsWith('{') && line !== '')
    assert.match(said.join('\n'), /^agent-idp cannot start: .*$/)
    assert.match(output, says)
    assert.ok(!output.includes('hunter2') && !output.includes(token.pin))
  }
})

test('what the search looks for is what PEM, JWK and hexadecimal text have of a key', () => {
  const secret = Buffer.from(Array.from({ length: 32 }, (_, index) => (index * 37 + 11) % 256))
  const needles = needlesOf('d', secret)
  const finds = (text: string | Buffer) => findNeedles(Buffer.from(text), needles).size > 0
  for (const before of [0, 1, 2, 3, 16, 17, 35]) {
    const der = Buffer.concat([Buffer.alloc(before, 0xa5), secret, Buffer.alloc(before, 0x5a)])
    const texts = (['base64', 'base64url', 'hex'] as const).map((form) => der.toString(form))
    for (const text of texts) assert.ok(finds(text), `${text}, ${before} bytes before it`)
    assert.ok(finds(der) && finds(Buffer.from(der).reverse()))
  }
  assert.ok(!finds(secret.subarray(1)))
  assert.ok(!finds(secret.subarray(0, 31).toString('hex')))
})

const inToken = ({ setting }: SoftToken) => ({
  KEY_CUSTODY: setting,
  SOFTHSM2_CONF: process.env.SOFTHSM2_CONF,
})

/** On a database of its own, with keys that may be rotated after seconds: no reading takes so long. */
async function openServer(t: TestContext, settings: Record<string, string | undefined>) {
  const database = await testDatabase(t)
  const { pool, db } = openPool(database.connection, () => undefined)
  t.after(() => db.destroy())
  const given = { ...databaseSettings(), DATABASE_URL: database.url, JWKS_CEILING: '5' }
  const server = await startProcess(t, { ...given, ...settings })
  const kek = Buffer.from(given.KEY_ENCRYPTION_KEY, 'base64')
  return { server, pool, kek, settings: { ...given, ISSUER: server.config.issuer } }
}

/** Sign-in, exchange and verification by every algorithm, before a rotation and after it. */
async function liveThrough(server: ServerProcess): Promise<void> {
  const stories = await makeStories(server, SIGNING_ALGS)
  const before = await Promise.all(stories.map((story) => exchangeAndVerify(server, story)))
  await rotate(server)
  const after = await Promise.all(stories.map((story) => exchangeAndVerify(server, story)))
  for (const [index, kids] of before.entries()) {
    for (const [which, kid] of kids.entries()) assert.notEqual(after[index]?.[which], kid)
  }
}

async function makeStories(server: ServerProcess, algs: readonly SigningAlg[]): Promise<Story[]> {
  const stories = await Promise.all(
    algs.map((alg) =>
      tellStory(server, {
        agent: { id_token_signed_response_alg: alg },
        audience: { id_jag_signing_alg: alg },
      }),
    ),
  )
  for (const story of stories) await story.delegate()
  return stories
}

/** The `kid`s that an ID token and an ID-JAG are signed by, as anybody verifies them. */
async function exchangeAndVerify(server: ServerProcess, story: Story): Promise<string[]> {
  const { id_token } = await story.signIn()
  const minted = await story.exchange()
  assert.equal(minted.status, 200, minted.text)
  const { body } = await server.inject({ method: 'GET', url: '/.well-known/jwks.json' })
  const keys = createLocalJWKSet(body)
  const kids: string[] = []
  for (const [token, audience] of [
    [id_token, story.agent.client_id],
    [minted.body.access_token, story.audience.issuer],
  ]) {
    const { protectedHeader } = await jwtVerify(token, keys, { audience })
    kids.push(String(protectedHeader.kid))
  }
  return kids
}

async function rotate(server: ServerProcess): Promise<void> {
  for (;;) {
    const { status, body, text } = await server.admin('POST', '/keys/rotate', {})
    if (status === 200) return
    assert.equal(body?.type, '/problems/too_early', text)
    await pause(Math.max(20, new Date(body.ready_at).getTime() - Date.now()))
  }
}

/** Those that have a private part, once the retired ones have none any more. */
async function listKeys(pool: pg.Pool): Promise<Key[]> {
  for (;;) {
    const { rows } = await pool.query<Key>(
      `select kid, purpose, alg, status, public_jwk, private_key as reference
       from signing_keys where private_key is not null`,
    )
    if (rows.every(({ status }) => status === 'active' || status === 'next')) return rows
    await pause(50)
  }
}

/** Every row of every table, as text. */
async function textOf(pool: pg.Pool): Promise<Buffer> {
  const { rows: tables } = await pool.query(
    `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
     where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
  )
  assert.ok(tables.length > 10)
  const texts: string[] = []
  for (const { name } of tables) {
    const { rows } = await pool.query(`select t::text as text from ${name} t`)
    texts.push(...rows.map(({ text }) => text))
  }
  return Buffer.from(texts.join('\n'))
}

const publicPart = ({ public_jwk: { x, n } }: Key) => Buffer.from(String(x ?? n), 'base64url')

const needlesOfKey = (kid: string, parts: PrivateParts) =>
  Object.entries(parts).flatMap(([part, secret]) => needlesOf(`${kid}: ${part}`, secret))
