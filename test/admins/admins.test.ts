import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { hashSecret } from '../../src/oauth/secret.ts'
import { ADMIN_KEY, openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })

const tomorrow = () => new Date(house.clock.now.getTime() + 86_400_000).toISOString()
const makeKey = async (scopes: string[], body: object = {}) => {
  const answer = await house.admin('POST', '/admin-keys', {
    name: 'a key',
    scopes,
    expires_at: tomorrow(),
    ...body,
  })
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const withKey = (key: string, method: string, path: string, body?: unknown) =>
  house.admin(method, path, body, { authorization: `Bearer ${key}` })

test('a key is shown once, kept as a hash, and opens what its scopes say', async () => {
  const made = await makeKey(['users:read'], { name: 'reader' })
  assert.match(made.key, /^adk_[\w-]{43}$/)
  const { key, ...shown } = made
  assert.deepEqual(shown, {
    id: made.id,
    name: 'reader',
    scopes: ['users:read'],
    status: 'active',
    created_at: house.clock.now.toISOString(),
    created_by: 'environment',
    expires_at: tomorrow(),
    ended_at: null,
  })
  const row = await house.deps.db
    .selectFrom('admin_keys')
    .selectAll()
    .where('id', '=', made.id)
    .executeTakeFirstOrThrow()
  assert.deepEqual(row.key_hash, hashSecret(key))
  assert.equal((await withKey(key, 'GET', '/users')).status, 200)
  const listed = await house.admin('GET', '/admin-keys')
  assert.deepEqual(listed.body.data[0], shown)
  assert.doesNotMatch(house.logs.join(''), new RegExp(key))
})

test('a scope opens nothing else: writing is not reading', async () => {
  const { key } = await makeKey(['users:write'])
  assertRefused(await withKey(key, 'GET', '/users'), 403, 'insufficient_scope')
  assertRefused(await withKey(key, 'GET', '/agents'), 403, 'insufficient_scope')
  assert.equal((await withKey(key, 'POST', '/users', {})).status, 201)
})

const STRANGERS: [who: string, authorization: string | undefined][] = [
  ['nothing', undefined],
  ['an unknown key', 'Bearer adk_unknown'],
  ['another scheme', `Basic ${Buffer.from(`admin:${ADMIN_KEY}`).toString('base64')}`],
  ['a part of the key', `Bearer ${ADMIN_KEY.slice(0, -1)}`],
  ['more than the key', `Bearer ${ADMIN_KEY}x`],
  ['an empty key', 'Bearer '],
]
for (const [who, authorization] of STRANGERS) {
  test(`${who} instead of a key is refused before the body is looked at`, async () => {
    const answer = await house.inject({
      method: 'POST',
      url: '/admin/v1/users',
      headers: { 'content-type': 'application/json', ...(authorization ? { authorization } : {}) },
      payload: '{"unknown": ',
    })
    assertRefused(answer, 401, 'unauthenticated')
    assert.match(String(answer.headers['www-authenticate']), /^Bearer/)
  })
}

test('the scheme may be written in any case', async () => {
  const answer = await house.admin('GET', '/users', undefined, {
    authorization: `bearer ${ADMIN_KEY}`,
  })
  assert.equal(answer.status, 200)
})

test('a key that has run out opens nothing and is listed as ended', async () => {
  const { id, key } = await makeKey(['users:read'], {
    expires_at: new Date(house.clock.now.getTime() + 60_000).toISOString(),
  })
  const ended = async () => {
    const { body } = await house.admin('GET', '/admin-keys?status=ended')
    return body.data.some((one: { id: string }) => one.id === id)
  }
  house.wait(59)
  assert.equal((await withKey(key, 'GET', '/users')).status, 200)
  assert.equal(await ended(), false)
  house.wait(1)
  assertRefused(await withKey(key, 'GET', '/users'), 401, 'unauthenticated')
  assert.equal(await ended(), true)
})

test('an ended key opens nothing, at once; ending it again is no fault', async () => {
  const { id, key } = await makeKey(['users:read'])
  assert.equal((await house.admin('DELETE', `/admin-keys/${id}`)).status, 204)
  assertRefused(await withKey(key, 'GET', '/users'), 401, 'unauthenticated')
  const again = await house.admin('DELETE', `/admin-keys/${id}`)
  assert.equal(again.status, 204)
  assert.equal(again.text, '')
  assertRefused(await house.admin('DELETE', '/admin-keys/adm_unknown'), 404, 'not_found')
  const { body } = await house.admin('GET', '/admin-keys?status=active')
  assert.equal(
    body.data.some((one: { id: string }) => one.id === id),
    false,
  )
})

test('a key makes only keys that hold no more than itself', async () => {
  const { id, key } = await makeKey(['admin-keys:write', 'users:read'])
  const ask = (scopes: string[]) =>
    withKey(key, 'POST', '/admin-keys', { name: 'child', scopes, expires_at: tomorrow() })
  assertRefused(await ask(['users:read', 'users:write']), 403, 'insufficient_scope')
  assertRefused(await ask(['*']), 403, 'insufficient_scope')
  const child = await ask(['users:read'])
  assert.equal(child.status, 201)
  assert.equal(child.body.created_by, id)
})

const nextMinute = () => new Date(house.clock.now.getTime() + 60_000).toISOString()
const endingsOf = async (ids: string[]) => {
  const rows = await house.deps.db
    .selectFrom('audit_events')
    .select('detail')
    .where('type', '=', 'admin_key.ended')
    .execute()
  const details = rows.map(({ detail }) => detail)
  return ids.flatMap((id) => details.filter((detail) => detail?.admin_key_id === id))
}

test('a key makes no key that outlives it', async () => {
  const maker = await makeKey(['admin-keys:write'], { expires_at: nextMinute() })
  const ask = (expires_at: string) =>
    withKey(maker.key, 'POST', '/admin-keys', {
      name: 'child',
      scopes: ['admin-keys:write'],
      expires_at,
    })
  const refused = await ask(tomorrow())
  assertRefused(refused, 422, 'validation_failed', '/expires_at')
  assert.match(refused.text, /later than the key that makes it/)
  assert.equal((await ask(maker.expires_at)).status, 201)
})

test('ending a key ends the keys it made, and theirs', async () => {
  const make = async (key: string, body: object = {}) => {
    const scopes = ['admin-keys:write', 'users:read']
    const all = { name: 'child', scopes, expires_at: tomorrow(), ...body }
    return (await withKey(key, 'POST', '/admin-keys', all)).body
  }
  const first = await make(ADMIN_KEY)
  const second = await make(first.key)
  const third = await make(second.key)
  const over = await make(first.key, { expires_at: nextMinute() })
  const stranger = await make(ADMIN_KEY)
  house.wait(60)
  assert.equal((await house.admin('DELETE', `/admin-keys/${first.id}`)).status, 204)
  for (const { key } of [first, second, third]) {
    assertRefused(await withKey(key, 'GET', '/users'), 401, 'unauthenticated')
  }
  assert.equal((await withKey(stranger.key, 'GET', '/users')).status, 200)
  const ids = [first, second, third, over, stranger].map(({ id }) => id)
  assert.deepEqual(await endingsOf(ids), [
    { admin_key_id: first.id },
    { admin_key_id: second.id, ended_with: first.id },
    { admin_key_id: third.id, ended_with: first.id },
  ])
})

test('a key that ends while it makes another leaves none behind', async () => {
  const maker = await makeKey(['admin-keys:write'])
  const call = withKey(maker.key, 'POST', '/admin-keys', {
    name: 'child',
    scopes: ['admin-keys:write'],
    expires_at: tomorrow(),
  })
  const [made] = await Promise.all([call, house.admin('DELETE', `/admin-keys/${maker.id}`)])
  if (made.status !== 201) return assertRefused(made, 401, 'unauthenticated')
  assertRefused(await withKey(made.body.key, 'POST', '/admin-keys', {}), 401, 'unauthenticated')
})

test('a key ends only keys that hold no more than itself', async () => {
  const { key } = await makeKey(['admin-keys:write'])
  const other = await makeKey(['admin-keys:write', 'users:read'])
  const end = (id: string) => withKey(key, 'DELETE', `/admin-keys/${id}`)
  assertRefused(await end(other.id), 403, 'insufficient_scope')
  assert.equal((await withKey(other.key, 'GET', '/users')).status, 200)
  assert.equal((await end((await makeKey(['admin-keys:write'])).id)).status, 204)
})

test('a retried creation answers with the same key’s record, without the key', async () => {
  const body = { name: 'once', scopes: ['*'], expires_at: tomorrow() }
  const headers = { 'idempotency-key': 'one-admin-key' }
  const first = await house.admin('POST', '/admin-keys', body, headers)
  const second = await house.admin('POST', '/admin-keys', body, headers)
  const { key, ...rest } = first.body
  assert.match(key, /^adk_/)
  assert.equal(second.status, 201)
  assert.deepEqual(second.body, rest)
})

test('what a key is made of is checked', async () => {
  const ask = (body: object) =>
    house.admin('POST', '/admin-keys', {
      name: 'k',
      scopes: ['users:read'],
      expires_at: tomorrow(),
      ...body,
    })
  const wrong: [object, string][] = [
    [{ scopes: ['users:delete'] }, '/scopes/0'],
    [{ scopes: [] }, '/scopes'],
    [{ expires_at: house.clock.now.toISOString() }, '/expires_at'],
    [{ expires_at: '2027-01-01' }, '/expires_at'],
    [{ expires_at: '2028-12-31T23:59:60Z' }, '/expires_at'],
    [{ expires_at: undefined }, '/expires_at'],
    [{ name: '' }, '/name'],
  ]
  for (const [body, pointer] of wrong) {
    assertRefused(await ask(body), 422, 'validation_failed', pointer)
  }
})

test('who made and ended a key is in the audit log', async () => {
  const { id } = await makeKey(['users:read'])
  await house.admin('DELETE', `/admin-keys/${id}`)
  const events = await house.deps.db
    .selectFrom('audit_events')
    .select(['type', 'actor_kind', 'actor_id', 'detail'])
    .where('type', 'like', 'admin_key.%')
    .execute()
  const mine = events.filter(({ detail }) => detail?.admin_key_id === id)
  assert.deepEqual(mine.map(({ type }) => type).sort(), ['admin_key.created', 'admin_key.ended'])
  for (const { actor_kind, actor_id } of mine) {
    assert.deepEqual([actor_kind, actor_id], ['admin', 'environment'])
  }
})
