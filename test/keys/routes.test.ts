import assert from 'node:assert/strict'
import { test } from 'node:test'
import { thumbprint } from '../../src/keys/public-jwk.ts'
import { KEY_SLOTS } from '../../src/keys/schedule.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { openHouse } from '../support/house.ts'

const MEMBERS = [
  'kid',
  'alg',
  'purpose',
  'status',
  'proven',
  'created_at',
  'published_at',
  'activated_at',
  'retired_at',
  'removed_at',
  'compromised_at',
  'compromise_reason',
  'next_step',
  'next_step_at',
  'custody',
  'key_encryption_keys',
  'public_jwk',
]
const SLOTS = KEY_SLOTS.length

type Key = { kid: string; alg: string; purpose: string; status: string; public_jwk: object }

test('lists every key without its private part', async (t) => {
  const house = await openHouse(t)
  const { status, body, text } = await house.admin('GET', '/keys')
  assert.equal(status, 200)
  assert.equal(body.next_cursor, null)
  assert.equal(body.data.length, 2 * SLOTS)
  for (const key of body.data) {
    assert.deepEqual(Object.keys(key).sort(), [...MEMBERS].sort())
    assert.equal(key.kid, thumbprint(key.public_jwk))
    assert.equal(key.proven, true)
    assert.equal(key.published_at, house.clock.now.toISOString())
    assert.equal(key.activated_at, key.status === 'active' ? key.published_at : null)
    for (const later of ['retired_at', 'removed_at', 'compromised_at', 'compromise_reason']) {
      assert.equal(key[later], null)
    }
    assert.equal(key.next_step, key.status === 'active' ? 'retire' : 'activate')
    assert.equal(key.next_step_at, addSeconds(house.clock.now, 30 * 86_400).toISOString())
    assert.equal(key.custody, 'local')
    assert.equal(key.key_encryption_keys.length, 1)
    assert.match(key.key_encryption_keys[0], /^[0-9a-f]{12}$/)
  }
  assert.doesNotMatch(text, /private|"d":/)

  const first = await house.admin('GET', '/keys?limit=15')
  const rest = await house.admin('GET', `/keys?limit=15&cursor=${first.body.next_cursor}`)
  assert.deepEqual([...first.body.data, ...rest.body.data], body.data)
  assert.equal(rest.body.next_cursor, null)
})

test('a rotation that comes too early says when to come again, and changes nothing', async (t) => {
  const house = await openHouse(t, { JWKS_CEILING: '3600' })
  const before = await house.admin('GET', '/keys')
  const early = await house.admin('POST', '/keys/rotate', {})
  assert.equal(early.status, 409)
  assert.equal(early.body.type, '/problems/too_early')
  assert.match(String(early.headers['content-type']), /^application\/problem\+json/)
  const ready = new Date(early.body.ready_at)
  assert.equal(ready.getTime() - house.clock.now.getTime(), 3600 * 1000)
  assert.deepEqual((await house.admin('GET', '/keys')).body, before.body)

  house.clock.now = ready
  const rotated = await house.admin('POST', '/keys/rotate')
  assert.equal(rotated.status, 200)
  assert.equal(rotated.body.data.length, 3 * SLOTS)
  const again = await house.admin('POST', '/keys/rotate', {})
  assert.equal(again.body.type, '/problems/too_early')
  house.clock.now = new Date(again.body.ready_at)
  assert.equal((await house.admin('POST', '/keys/rotate', {})).status, 200)
})

test('alg and purpose choose, and the JWKS shows the change at once', async (t) => {
  const house = await openHouse(t)
  house.wait(86_400)
  const before: Key[] = (await house.admin('GET', '/keys')).body.data
  const { body } = await house.admin('POST', '/keys/rotate', { alg: 'ES256', purpose: 'id_jag' })
  for (const { kid, alg, purpose, status } of body.data as Key[]) {
    const was = before.find((key) => key.kid === kid)?.status
    const chosen = alg === 'ES256' && purpose === 'id_jag'
    if (!chosen) assert.equal(status, was)
    else assert.equal(status, { active: 'retired', next: 'active', none: 'next' }[was ?? 'none'])
  }
  const { body: jwks } = await house.inject({ method: 'GET', url: '/.well-known/jwks.json' })
  assert.equal(jwks.keys.length, 2 * (SLOTS - 1) + 1)

  const events = await house.deps.db.selectFrom('audit_events').selectAll().execute()
  const [event] = events.filter(({ type }) => type === 'key.rotated')
  assert.equal(event?.actor_kind, 'admin')
  assert.equal(event?.actor_id, 'environment')
  const signer = (body.data as Key[]).find(
    ({ alg, purpose, status }) => alg === 'ES256' && purpose === 'id_jag' && status === 'active',
  )
  assert.equal(event?.detail?.kid, signer?.kid)
})

test('refuses what no key is for, members it does not know, and keys without the scope', async (t) => {
  const house = await openHouse(t)
  house.wait(86_400)
  const none = await house.admin('POST', '/keys/rotate', { alg: 'RS256', purpose: 'seal' })
  assert.deepEqual([none.status, none.body.type], [422, '/problems/unsupported_value'])
  const unknown = await house.admin('GET', '/keys?alg=RS256')
  assert.deepEqual([unknown.status, unknown.body.errors?.[0].pointer], [422, '/alg'])
  for (const body of [{ alg: 'HS256' }, { alg: 'none' }, { purpose: 'x' }, { kid: 'x' }, []]) {
    const refused = await house.admin('POST', '/keys/rotate', body)
    assert.deepEqual([refused.status, refused.body.type], [422, '/problems/validation_failed'])
  }
  const reader = await house.admin('POST', '/admin-keys', {
    name: 'reader',
    scopes: ['keys:read'],
    expires_at: new Date(house.clock.now.getTime() + 3_600_000).toISOString(),
  })
  const authorization = `Bearer ${reader.body.key}`
  assert.equal((await house.admin('GET', '/keys', undefined, { authorization })).status, 200)
  const refused = await house.admin('POST', '/keys/rotate', {}, { authorization })
  assert.deepEqual([refused.status, refused.body.type], [403, '/problems/insufficient_scope'])
  assert.equal((await house.inject({ method: 'GET', url: '/admin/v1/keys' })).status, 401)
})
