// Signing keys from a terminal: `npm run keys`, against a server that listens.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { KEY_SLOTS } from '../../src/keys/schedule.ts'
import { ADMIN_KEY } from '../support/house.ts'
import { openHttpHouse } from '../support/http-house.ts'
import { freePort } from '../support/server-process.ts'
import { type Ran, runCommand } from './run-command.ts'

const house = await openHttpHouse({ after }, { JWKS_CEILING: '3600' })
const ISSUER = house.config.issuer
const SLOTS = KEY_SLOTS.length
const KID = /[\w-]{43}/

const keys = (args: string[], changes: Record<string, string | undefined> = {}) =>
  runCommand('keys', args, { ISSUER, ADMIN_API_KEY: ADMIN_KEY, ...changes })

/** As if all keys had been published for long enough. */
async function age(): Promise<void> {
  const published_at = new Date(house.clock.now.getTime() - 4e6)
  await house.deps.db
    .updateTable('signing_keys')
    .set({ published_at })
    .where('status', 'in', ['active', 'next'])
    .execute()
}

async function listed(): Promise<{ kid: string; purpose: string; alg: string; status: string }[]> {
  return (await house.admin('GET', '/keys?limit=200')).body.data
}

const kidOf = async (purpose: string, alg: string, status: string): Promise<string> =>
  (await listed()).find(
    (key) => key.purpose === purpose && key.alg === alg && key.status === status,
  )?.kid ?? assert.fail(`no ${status} key`)

function assertDone({ code, out, err }: Ran): string {
  assert.equal(err, '')
  assert.equal(code, 0, out)
  return out
}

function assertFailed({ code, out, err }: Ran, expected: number, words: RegExp): void {
  assert.match(err, words)
  assert.match(err, /^keys: /)
  assert.doesNotMatch(err, /\n\s+at |node:internal/, 'a stack')
  assert.equal(out, '')
  assert.equal(code, expected)
}

test('list: what signs, then what will, by purpose and algorithm', async () => {
  const [header = '', ...rows] = assertDone(await keys(['list']))
    .trimEnd()
    .split('\n')
  assert.match(header, /^PURPOSE +ALG +STATUS +PUBLISHED +PRIVATE KEY +NEXT STEP +KID$/)
  assert.equal(rows.length, 2 * SLOTS)
  const shown = rows.map((row) => row.split(/ {2,}/))
  const names = shown.map(([purpose, alg, status]) => `${purpose} ${alg} ${status}`)
  assert.deepEqual(names, names.toSorted())
  assert.deepEqual(names.slice(0, 2), ['id_jag ES256 active', 'id_jag ES256 next'])
  for (const [, , status, published, custody, step, kid] of shown) {
    assert.match(published ?? '', /^\d+ s ago$/)
    assert.equal(custody, 'local')
    assert.match(step ?? '', status === 'active' ? /^retire in 30 d$/ : /^activate in 30 d$/)
    assert.match(kid ?? '', KID)
  }
})

test('list --json: what the admin API says of each', async () => {
  const shown = JSON.parse(assertDone(await keys(['list', '--json'])))
  assert.deepEqual(shown, await listed())
})

test('rotate: too early says when, and changes nothing', async () => {
  const before = await listed()
  const refused = await keys(['rotate'])
  assertFailed(refused, 1, /\(\d{4}-\d\d-\d\dT[\d:.]+Z\)/)
  const [, ready = ''] = /\((.*)\)/.exec(refused.err) ?? []
  const early = await house.admin('POST', '/keys/rotate', {})
  assert.equal(ready, early.body.ready_at)
  assert.deepEqual(await listed(), before)
})

test('rotate: the chosen keys, or all; retired ones are listed, and removed ones with --all', async () => {
  await age()
  const next = await kidOf('id_jag', 'ES256', 'next')
  const out = assertDone(await keys(['rotate', '--alg', 'ES256', '--purpose', 'id_jag']))
  assert.match(out, new RegExp(`^id_jag +ES256 +active .*${next}$`, 'm'))
  assert.equal(out.match(/ retired /g)?.length, 1)
  await age()
  const all = JSON.parse(assertDone(await keys(['rotate', '--json'])))
  assert.equal(all.length, 3 * SLOTS + 1)

  const { kid } = (await listed()).find(({ status }) => status === 'retired') ?? assert.fail()
  await house.deps.db
    .updateTable('signing_keys')
    .set({ status: 'removed', removed_at: house.clock.now })
    .where('kid', '=', kid)
    .execute()
  assert.ok(!assertDone(await keys(['list'])).includes(kid))
  assert.match(
    assertDone(await keys(['list', '--all'])),
    new RegExp(`^\\w+ +\\w+ +removed .*${kid}$`, 'm'),
  )
})

test('rotate: what no key is for is refused in words', async () => {
  assertFailed(await keys(['rotate', '--alg', 'RS256', '--purpose', 'seal']), 1, /not used/)
  assertFailed(await keys(['rotate', '--alg', 'HS256']), 1, /alg/)
})

test('compromise: the keys are dropped, and a person is told what has ended and what has not', async () => {
  const [one, two] = [
    await kidOf('id_jag', 'ES256', 'active'),
    await kidOf('id_token', 'RS256', 'active'),
  ]
  const out = assertDone(await keys(['compromise', one, two, '--reason', 'found in a repository']))
  for (const kid of [one, two]) assert.match(out, new RegExp(`^${kid} is dropped\\.$`, 'm'))
  assert.match(out, /signs nothing with the key/)
  assert.match(out, /Sessions ended: 0; events signed anew: 0; events queued: 0\./)
  assert.doesNotMatch(out, /goes on by itself/)
  const rows = await house.deps.db
    .selectFrom('signing_keys')
    .select(['status', 'compromise_reason'])
    .where('kid', 'in', [one, two])
    .execute()
  for (const row of rows) {
    assert.deepEqual(row, { status: 'compromised', compromise_reason: 'found in a repository' })
  }
  assert.ok(!assertDone(await keys(['list'])).includes(one))
  assert.match(assertDone(await keys(['list', '--all'])), new RegExp(`compromised .*${one}`))
})

test('compromise: each relying app is named, with whether it was told', async () => {
  const made = await house.admin('POST', '/audiences', {
    issuer: 'https://ledger.example',
    name: 'Ledger',
    profile: 'idjag',
    resources: [{ identifier: 'https://api.ledger.example/', scopes: [{ name: 'x' }] }],
  })
  assert.equal(made.status, 201, made.text)
  const out = assertDone(await keys(['compromise', await kidOf('id_jag', 'PS256', 'active')]))
  assert.match(out, /^ +tell +Ledger +https:\/\/ledger\.example$/m)
  const kid = await kidOf('id_jag', 'PS256', 'active')
  const json = JSON.parse(assertDone(await keys(['compromise', kid, '--json'])))
  assert.deepEqual([json.kid, json.complete, json.audiences[0].told], [kid, true, false])
})

test('compromise: one that cannot be dropped does not save the others', async () => {
  const kid = await kidOf('id_jag', 'ES384', 'active')
  const unknown = 'A'.repeat(43)
  const { code, out, err } = await keys(['compromise', unknown, kid])
  assert.equal(code, 1)
  assert.match(err, new RegExp(`^keys: ${unknown}: There is no signing key`))
  assert.match(out, new RegExp(`^${kid} is dropped`))
})

test('compromise: a kid may begin as an option does', async () => {
  for (const kid of [`-${'A'.repeat(42)}`, `--${'A'.repeat(41)}`, `-e${'A'.repeat(40)}-`]) {
    for (const args of [[kid], ['--', kid]]) {
      assertFailed(await keys(['compromise', ...args]), 1, /There is no signing key/)
    }
  }
  const short = await keys(['compromise', `-${'A'.repeat(41)}`])
  assertFailed(short, 2, /npm run keys/)
})

test('rewrap: says how much, and which value of KEY_ENCRYPTION_KEY is left', async () => {
  const out = assertDone(await keys(['rewrap']))
  assert.match(
    out,
    /^0 private keys, 0 proofs and 0 headers of streams were put under the key [0-9a-f]{12}\./,
  )
  const json = JSON.parse(assertDone(await keys(['rewrap', '--json'])))
  assert.deepEqual([json.private_keys, json.proofs], [0, 0])
})

test('wrong usage says what would be right, asks nobody, and ends with 2', async () => {
  const nowhere = { ISSUER: `http://localhost:${await freePort()}` }
  for (const [args, words] of [
    [[], /what is to be done\?[\s\S]*npm run keys/],
    [['burn'], /there is no command burn[\s\S]*npm run keys/],
    [['list', '--colour'], /--colour[\s\S]*npm run keys/],
    [['list', '--url'], /--url/],
    [['rotate', 'x'], /rotate takes no kid/],
    [['compromise'], /compromise needs a kid/],
    [['list', '--url', 'nowhere'], /--url must be/],
    [['list', '--url', 'file:///etc/passwd'], /--url must be/],
  ] as [string[], RegExp][]) {
    assertFailed(await keys(args, nowhere), 2, words)
  }
  assert.match(assertDone(await keys(['--help'], nowhere)), /^npm run keys/)
})

test('a server that is not there, and settings that cannot be, are told in a line', async () => {
  const absent = `http://localhost:${await freePort()}`
  assertFailed(
    await keys(['list'], { ISSUER: absent }),
    1,
    new RegExp(`no server answers at ${absent}`),
  )
  const there = await keys(['list', '--url', `${ISSUER}/`], { ISSUER: absent })
  assert.match(assertDone(there), /^PURPOSE/)
  assertFailed(await keys(['list'], { PORT: 'x' }), 1, /PORT must be a number/)
})

test('a wrong admin key, or one that may not, is refused in words', async () => {
  assertFailed(await keys(['list'], { ADMIN_API_KEY: 'wrong'.repeat(8) }), 1, /admin key/i)
  const { body } = await house.admin('POST', '/admin-keys', {
    name: 'reader',
    scopes: ['keys:read'],
    expires_at: new Date(Date.now() + 3_600_000).toISOString(),
  })
  const reader = { ADMIN_API_KEY: body.key }
  assertDone(await keys(['list'], reader))
  assertFailed(await keys(['rewrap'], reader), 1, /keys:write/)
})

test('without ADMIN_API_KEY it takes the key that lies in DATA_DIR', async (t) => {
  const DATA_DIR = await mkdtemp(join(tmpdir(), 'agent-idp-keys-'))
  t.after(() => rm(DATA_DIR, { recursive: true, force: true }))
  const embedded = { ADMIN_API_KEY: undefined, DATA_DIR }
  assertFailed(await keys(['list'], embedded), 2, /set ADMIN_API_KEY: there is no .*admin-api-key/)
  await writeFile(join(DATA_DIR, 'admin-api-key'), `${ADMIN_KEY}\n`)
  assert.match(assertDone(await keys(['list'], embedded)), /^PURPOSE/)
})

test('nothing secret is printed', async () => {
  const kid = await kidOf('id_token', 'EdDSA', 'active')
  const printed = await Promise.all([
    keys(['list', '--all']),
    keys(['list', '--all', '--json']),
    keys(['compromise', kid, '--json']),
    keys(['rewrap']),
    keys(['rotate']),
  ])
  const rows = await house.deps.db.selectFrom('signing_keys').selectAll().execute()
  const secrets = rows.flatMap(({ private_key, proof }) => [private_key, proof]).concat(ADMIN_KEY)
  for (const { out, err } of printed) {
    for (const secret of secrets) if (secret) assert.ok(!(out + err).includes(secret))
    assert.doesNotMatch(out + err, /"d":|PRIVATE KEY-/)
  }
})

test('list --all: every key there ever was, however many pages of them', async () => {
  await sql`
    insert into signing_keys
    select (jsonb_populate_record(key, jsonb_build_object('kid', left(translate(n || key.kid, '-_', 'ab'), 43),
      'status', 'removed', 'removed_at', now(), 'private_key', null, 'created_at', date_trunc('second', now())))).*
    from signing_keys key, generate_series(10, 30) n where status = 'active'`.execute(house.deps.db)
  const shown = JSON.parse(assertDone(await keys(['list', '--all', '--json'])))
  const { count } = await house.deps.db
    .selectFrom('signing_keys')
    .select((eb) => eb.fn.countAll<string>().as('count'))
    .executeTakeFirstOrThrow()
  assert.ok(shown.length > 200)
  assert.equal(new Set(shown.map(({ kid }: { kid: string }) => kid)).size, Number(count))
})
