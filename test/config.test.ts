import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError, loadConfig } from '../src/config.ts'

const KEY = '0123456789abcdef0123456789abcdef'
const KEK = Buffer.alloc(32, 1).toString('base64')
const RIGHT = {
  DATABASE_URL: 'postgres://agent@db.orbit.example/agent',
  ADMIN_API_KEY: KEY,
  KEY_ENCRYPTION_KEY: KEK,
}
const ALGS =
  /SIGNING_ALGS must be some of ES256, RS256, EdDSA, PS256, ES384, comma-separated, ES256 and RS256 among/
const PUBLIC = { ISSUER: 'https://id.orbit.example' }

const REFUSED: [what: string, settings: Record<string, string | undefined>, word: RegExp][] = [
  ['an issuer that is no URL', { ISSUER: 'orbit' }, /ISSUER must be a URL/],
  ['an issuer with a path', { ISSUER: 'https://orbit.example/id' }, /ISSUER must be an origin/],
  ['an issuer with a slash', { ISSUER: 'https://orbit.example/' }, /ISSUER must be an origin/],
  ['an issuer in capitals', { ISSUER: 'https://Orbit.example' }, /ISSUER must be an origin/],
  ['an http issuer (FL-01)', { ISSUER: 'http://orbit.example' }, /ISSUER must be https/],
  ['a port that is none', { PORT: '70000' }, /PORT must be a number/],
  [
    'a database of another kind',
    { DATABASE_URL: 'mysql://h/d' },
    /DATABASE_URL must be a postgres/,
  ],
  ['a database URL that is none', { DATABASE_URL: 'postgres://[x' }, /DATABASE_URL must be a post/],
  [
    'a migration URL without the other',
    { MIGRATION_DATABASE_URL: 'postgres://h/d', DATABASE_URL: undefined },
    /MIGRATION_DATABASE_URL needs DATABASE_URL/,
  ],
  ['a short admin key', { ADMIN_API_KEY: 'short' }, /ADMIN_API_KEY must have at least 32/],
  [
    'an admin key with spaces',
    { ADMIN_API_KEY: ' '.repeat(40) },
    /ADMIN_API_KEY must be printable/,
  ],
  ['no admin key', { ADMIN_API_KEY: undefined }, /ADMIN_API_KEY is required with DATABASE_URL/],
  ['an algorithm that nobody signs with', { SIGNING_ALGS: 'ES256,RS256,HS256' }, ALGS],
  ['algorithms without RS256 (DS-25)', { SIGNING_ALGS: 'ES256,EdDSA' }, ALGS],
  ['algorithms without ES256 (DS-25)', { SIGNING_ALGS: 'RS256' }, ALGS],
  ['an algorithm named twice', { SIGNING_ALGS: 'ES256,RS256,ES256' }, ALGS],
  ['an algorithm without a name', { SIGNING_ALGS: 'ES256,RS256,' }, ALGS],
  ['an algorithm in small letters', { SIGNING_ALGS: 'es256,RS256' }, ALGS],
  ['a short encryption key', { KEY_ENCRYPTION_KEY: 'c2hvcnQ=' }, /KEY_ENCRYPTION_KEY must be 32/],
  [
    'an encryption key of which one part is wrong',
    { KEY_ENCRYPTION_KEY: `${KEK},nonsense` },
    /KEY_ENCRYPTION_KEY must be 32/,
  ],
  ['no encryption key', { KEY_ENCRYPTION_KEY: undefined }, /KEY_ENCRYPTION_KEY is required/],
  ['a proxy that is no address', { TRUST_PROXY: '10.0.0.1,proxy' }, /TRUST_PROXY must be IP/],
  ['http for a public issuer', { ...PUBLIC, ALLOW_LOOPBACK_HTTP: 'on' }, /ALLOW_LOOPBACK_HTTP=on/],
  ['no limits for a public issuer', { ...PUBLIC, RATE_LIMITS: 'off' }, /RATE_LIMITS=off is acc/],
  ['limits that are neither', { RATE_LIMITS: 'some' }, /RATE_LIMITS must be one of on, off/],
  ['an endless ID-JAG (IJ-04)', { ID_JAG_LIFETIME: '301' }, /ID_JAG_LIFETIME must .* 60 to 300/],
  ['an ID-JAG of no time (IJ-04)', { ID_JAG_LIFETIME: '59' }, /ID_JAG_LIFETIME must .* 60 to 300/],
  ['an ID token of no time', { ID_TOKEN_LIFETIME: '0' }, /ID_TOKEN_LIFETIME must be a whole/],
  ['half a session', { SESSION_LIFETIME: '1.5' }, /SESSION_LIFETIME must be a whole number/],
  ['a refresh token for days', { REFRESH_TOKEN_LIFETIME: '30d' }, /REFRESH_TOKEN_LIFETIME must/],
  ['a key set for ever', { JWKS_CEILING: '604801' }, /JWKS_CEILING must be .* to 604800/],
  ['a log level that is none', { LOG_LEVEL: 'loud' }, /LOG_LEVEL must be one of fatal, error/],
  ['a log format that is none', { LOG_FORMAT: 'xml' }, /LOG_FORMAT must be one of json, pretty/],
]

for (const [what, settings, word] of REFUSED) {
  test(`refuses ${what}, and says what would be right`, () => {
    const refused = (error: unknown) => {
      assert.ok(error instanceof ConfigError)
      assert.match(error.message, word)
      assert.ok(!error.message.includes(KEY) && !error.message.includes(KEK))
      return true
    }
    assert.throws(() => loadConfig({ ...RIGHT, ...settings }), refused)
  })
}

test('says all that is wrong at once', () => {
  assert.throws(
    () => loadConfig({ ISSUER: 'orbit', PORT: 'x', LOG_LEVEL: 'loud' }),
    /ISSUER must .*; PORT must .*; LOG_LEVEL must /,
  )
})

test('needs no setting at all: then the database is the embedded one', () => {
  const config = loadConfig({})
  assert.equal(config.issuer, 'http://localhost:4000')
  assert.equal(config.host, '127.0.0.1')
  assert.equal(config.port, 4000)
  assert.equal(config.databaseUrl, undefined)
  assert.equal(config.allowLoopbackHttp, true)
  assert.equal(config.rateLimits, true)
})

test('takes proxies as addresses and blocks of both families', () => {
  const { trustProxy } = loadConfig({ TRUST_PROXY: '10.0.0.1, 10.1.0.0/16,fd00::/8,::1' })
  assert.deepEqual(trustProxy, ['10.0.0.1', '10.1.0.0/16', 'fd00::/8', '::1'])
  for (const wrong of ['proxy', '10.0.0.0/33', '10.0.0.0/0', 'fd00::/129', '10.0.0.0/8/8']) {
    assert.throws(() => loadConfig({ TRUST_PROXY: wrong }), /TRUST_PROXY must be IP/, wrong)
  }
})

test('takes several encryption keys, newest first', () => {
  const older = Buffer.alloc(32, 2)
  const value = `${KEK}, ${older.toString('base64')}`
  const { keyEncryptionKeys } = loadConfig({ ...RIGHT, KEY_ENCRYPTION_KEY: value })
  assert.deepEqual(keyEncryptionKeys, [Buffer.alloc(32, 1), older])
})

test('what is signed with is all there is, or what was chosen, in one order (DS-25)', () => {
  const algsOf = (SIGNING_ALGS?: string) => loadConfig({ ...RIGHT, SIGNING_ALGS }).signingAlgs
  const all = ['ES256', 'RS256', 'EdDSA', 'PS256', 'ES384']
  assert.deepEqual(algsOf(), all)
  assert.deepEqual(algsOf(''), all)
  assert.deepEqual(algsOf(all.toReversed().join(',')), all)
  assert.deepEqual(algsOf('RS256, ES256'), ['ES256', 'RS256'])
  assert.deepEqual(algsOf('PS256,RS256,ES256'), ['ES256', 'RS256', 'PS256'])
})
