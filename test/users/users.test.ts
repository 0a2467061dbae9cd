import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { changeUser } from '../../src/users/change.ts'
import { hashPassword, TooBusy, verifyPassword } from '../../src/users/password.ts'
import { openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
const { db } = house.deps

const addUser = async (body: object) => {
  const { status, body: user, text } = await house.admin('POST', '/users', body)
  assert.equal(status, 201, text)
  return user
}
const passwordOf = (id: string) =>
  db.selectFrom('user_passwords').select('hash').where('user_id', '=', id).executeTakeFirst()

test('a user is added with verified contacts, and says who vouched for them', async () => {
  const user = await addUser({
    email: 'Kim@Orbit.example',
    email_verified: true,
    phone_number: '+4915123456789',
    name: 'Kim Reyes',
    external_id: 'emp-1',
  })
  const now = house.clock.now.toISOString()
  assert.deepEqual(user, {
    id: user.id,
    tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA',
    email: 'Kim@Orbit.example',
    email_verified: true,
    email_verified_at: now,
    email_verified_by: 'environment',
    phone_number: '+4915123456789',
    phone_number_verified: false,
    phone_verified_at: null,
    phone_verified_by: null,
    name: 'Kim Reyes',
    external_id: 'emp-1',
    status: 'active',
    created_at: now,
    updated_at: now,
    deleted_at: null,
  })
  assert.match(user.id, /^usr_[\w-]{22}$/)
  assert.deepEqual((await house.admin('GET', `/users/${user.id}`)).body, user)
})

test('nothing about a user is required', async () => {
  const user = await addUser({})
  assert.equal(user.email, null)
  assert.equal(user.email_verified, false)
})

test('an address or an external id is one user’s in a tenant, whatever its case', async () => {
  await addUser({ email: 'lee@orbit.example', external_id: 'emp-2' })
  assertRefused(
    await house.admin('POST', '/users', { email: 'LEE@orbit.example' }),
    409,
    'already_exists',
    '/email',
  )
  assertRefused(
    await house.admin('POST', '/users', { external_id: 'emp-2' }),
    409,
    'already_exists',
    '/external_id',
  )
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
  await addUser({ email: 'lee@orbit.example', external_id: 'emp-2', tenant_id: tenant.id })
  const other = await addUser({ email: 'max@orbit.example' })
  assertRefused(
    await house.admin('PATCH', `/users/${other.id}`, { email: 'Lee@orbit.example' }),
    409,
    'already_exists',
    '/email',
  )
})

const REFUSED: [why: string, body: object, pointer: string][] = [
  ['an address without @', { email: 'kim' }, '/email'],
  ['an address with two @', { email: 'kim@a@orbit.example' }, '/email'],
  ['an address with a space', { email: 'kim reyes@orbit.example' }, '/email'],
  ['an address with a control character', { email: 'kim\n@orbit.example' }, '/email'],
  ['an address with an invisible character', { email: 'kim\u202e@orbit.example' }, '/email'],
  ['an address that is too long', { email: `${'k'.repeat(250)}@o.example` }, '/email'],
  ['a verified address that is not there', { email_verified: true }, '/email_verified'],
  [
    'a verified number that is not there',
    { phone_number_verified: true },
    '/phone_number_verified',
  ],
  ['a truth that is a text', { email: 'k@o.example', email_verified: 'true' }, '/email_verified'],
  ['a number that is not E.164', { phone_number: '0151 234' }, '/phone_number'],
  ['a short password', { password: '1234567' }, '/password'],
  ['a very long password', { password: 'x'.repeat(1025) }, '/password'],
  ['an unknown tenant', { tenant_id: 'ten_unknown' }, '/tenant_id'],
  ['an unknown member', { mail: 'kim@orbit.example' }, '/mail'],
  ['an empty name', { name: '' }, '/name'],
  ['a name with a line break', { name: 'Kim\nReyes' }, '/name'],
  ['U+0000', { name: 'Kim\0' }, '/name'],
  ['half a surrogate pair', { external_id: 'emp-\ud800' }, '/external_id'],
]
for (const [why, body, pointer] of REFUSED) {
  test(`a user with ${why} is refused`, async () => {
    assertRefused(await house.admin('POST', '/users', body), 422, 'validation_failed', pointer)
  })
}

test('U+0000 in a path or a query never reaches the database', async () => {
  assertRefused(await house.admin('GET', '/users/usr_%00'), 404, 'not_found')
  assertRefused(await house.admin('GET', '/users?email=%00'), 422, 'validation_failed', '/email')
})

test('users are found by address, external id, status and tenant', async () => {
  const user = await addUser({ email: 'Find@Orbit.example', external_id: 'find-me' })
  for (const query of ['email=fIND@orbit.example', 'external_id=find-me']) {
    const { body } = await house.admin('GET', `/users?${query}&tenant_id=${user.tenant_id}`)
    assert.deepEqual(body.data, [user])
  }
  assert.deepEqual((await house.admin('GET', '/users?status=deleted')).body.data, [])
  assertRefused(await house.admin('GET', '/users?statu=active'), 422, 'validation_failed')
})

test('a list is walked page by page, newest first, each user once', async () => {
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Pages' })
  const made: string[] = []
  for (let index = 0; index < 5; index += 1) {
    if (index % 2 === 0) house.wait(1)
    made.push((await addUser({ tenant_id: tenant.id })).id)
  }
  const seen: string[] = []
  let cursor = ''
  do {
    const { body } = await house.admin('GET', `/users?tenant_id=${tenant.id}&limit=2${cursor}`)
    seen.push(...body.data.map(({ id }: { id: string }) => id))
    cursor = body.next_cursor && `&cursor=${body.next_cursor}`
  } while (cursor)
  assert.equal(seen.length, 5)
  assert.deepEqual([...seen].sort(), [...made].sort())
  assert.equal(seen.at(-1) === made[0] || seen.at(-1) === made[1], true)
  assertRefused(await house.admin('GET', '/users?cursor=x'), 422, 'validation_failed', '/cursor')
  assertRefused(await house.admin('GET', '/users?limit=201'), 422, 'validation_failed', '/limit')
})

test('the same Idempotency-Key adds one user; another body is a conflict', async () => {
  const key = { 'idempotency-key': 'add-once' }
  const body = { email: 'once@orbit.example', password: 'correct horse' }
  const first = await house.admin('POST', '/users', body, key)
  const second = await house.admin('POST', '/users', body, key)
  assert.equal(second.status, 201)
  assert.deepEqual(second.body, first.body)
  assertRefused(
    await house.admin('POST', '/users', { ...body, name: 'Other' }, key),
    409,
    'idempotency_conflict',
  )
})

test('a retried addition holds no personal data, and answers with the user as they are by then', async () => {
  const key = { 'idempotency-key': 'add-and-erase' }
  const body = { email: 'erased@orbit.example', phone_number: '+4915123456780', name: 'Gone Soon' }
  const { id } = (await house.admin('POST', '/users', body, key)).body
  const kept = await house.deps.db.selectFrom('idempotency_keys').selectAll().execute()
  assert.doesNotMatch(JSON.stringify(kept), /erased@|4915123456780|Gone Soon/)
  await house.admin('PATCH', `/users/${id}`, { status: 'deleted' })
  const again = await house.admin('POST', '/users', body, key)
  assert.equal(again.status, 201, again.text)
  const { status, email, phone_number, name } = again.body
  assert.deepEqual(
    [again.body.id, status, email, phone_number, name],
    [id, 'deleted', null, null, null],
  )
})

test('a patch changes what it names, null clears, the rest stays', async () => {
  const user = await addUser({ email: 'patch@orbit.example', name: 'Pat', external_id: 'p-1' })
  house.wait(1)
  const { status, body, text } = await house.admin('PATCH', `/users/${user.id}`, {
    name: null,
    external_id: 'p-2',
  })
  assert.equal(status, 200, text)
  assert.deepEqual(body, {
    ...user,
    name: null,
    external_id: 'p-2',
    updated_at: house.clock.now.toISOString(),
  })
})

test('a changed address starts unverified unless it is vouched for as well', async () => {
  const user = await addUser({ email: 'old@orbit.example', email_verified: true })
  const patch = async (body: object) => {
    const answer = await house.admin('PATCH', `/users/${user.id}`, body)
    assert.equal(answer.status, 200, answer.text)
    return answer.body
  }
  house.wait(1)
  assert.equal((await patch({ email: 'old@orbit.example' })).email_verified_at, user.created_at)
  const changed = await patch({ email: 'new@orbit.example' })
  assert.equal(changed.email_verified, false)
  assert.equal(changed.email_verified_by, null)
  const vouched = await patch({ email: 'newer@orbit.example', email_verified: true })
  assert.equal(vouched.email_verified_at, house.clock.now.toISOString())
  assert.equal((await patch({ email_verified: false })).email_verified, false)
  await patch({ email_verified: true })
  const cleared = await patch({ email: null })
  assert.equal(cleared.email, null)
  assert.equal(cleared.email_verified, false)
  assertRefused(
    await house.admin('PATCH', `/users/${user.id}`, { email_verified: true }),
    422,
    'validation_failed',
    '/email_verified',
  )
})

test('a password is kept as an argon2id hash and never shown, logged or audited', async () => {
  const password = 'correct horse battery staple'
  const user = await addUser({ email: 'pw@orbit.example', password })
  const kept = await passwordOf(user.id)
  assert.match(kept?.hash ?? '', /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  assert.equal(await verifyPassword(kept?.hash, password), true)
  assert.equal(await verifyPassword(kept?.hash, 'another'), false)
  assert.doesNotMatch(JSON.stringify(user), /password|argon2|correct horse/)
  assert.doesNotMatch(house.logs.join(''), /correct horse|argon2id/)
  const events = await db.selectFrom('audit_events').selectAll().execute()
  assert.doesNotMatch(JSON.stringify(events), /correct horse|argon2id|orbit\.example/)
})

test('a password is changed, and taken away by null', async () => {
  const user = await addUser({ password: 'the first one' })
  const admin = { id: 'environment', scopes: ['*'] }
  const change = (password: string | null) =>
    db.transaction().execute((tx) => changeUser(tx, house.deps, user.id, { password }, admin))
  assert.equal((await change('the second one')).passwordChanged, true)
  assert.equal(await verifyPassword((await passwordOf(user.id))?.hash, 'the second one'), true)
  assert.equal((await change(null)).passwordChanged, true)
  assert.equal(await passwordOf(user.id), undefined)
  assert.equal((await change(null)).passwordChanged, false)
})

test('a deleted user leaves a tombstone without contacts and credentials, for good', async () => {
  const user = await addUser({
    email: 'gone@orbit.example',
    email_verified: true,
    phone_number: '+4915123456780',
    phone_number_verified: true,
    name: 'Gone',
    external_id: 'gone',
    password: 'correct horse',
  })
  assertRefused(
    await house.admin('PATCH', `/users/${user.id}`, { status: 'deleted', name: 'Still here' }),
    422,
    'validation_failed',
    '/name',
  )
  const { status, body, text } = await house.admin('PATCH', `/users/${user.id}`, {
    status: 'deleted',
  })
  assert.equal(status, 200, text)
  const { revocation_id: _, ...tombstone } = body
  const now = house.clock.now.toISOString()
  assert.deepEqual(tombstone, {
    id: user.id,
    tenant_id: user.tenant_id,
    email: null,
    email_verified: false,
    email_verified_at: null,
    email_verified_by: null,
    phone_number: null,
    phone_number_verified: false,
    phone_verified_at: null,
    phone_verified_by: null,
    name: null,
    external_id: null,
    status: 'deleted',
    created_at: user.created_at,
    updated_at: now,
    deleted_at: now,
  })
  assert.equal(await passwordOf(user.id), undefined)
  const again = await house.admin('PATCH', `/users/${user.id}`, { status: 'deleted' })
  assert.equal(again.status, 200)
  for (const patch of [{ status: 'active' }, { name: 'Back' }, { password: 'correct horse' }]) {
    assertRefused(await house.admin('PATCH', `/users/${user.id}`, patch), 409, 'invalid_transition')
  }
  await addUser({ email: 'gone@orbit.example', external_id: 'gone' })
})

test('an unknown user is not found', async () => {
  for (const id of ['usr_unknown', 'x'.repeat(100), '%27%20or%201=1']) {
    assertRefused(await house.admin('GET', `/users/${id}`), 404, 'not_found')
  }
  assertRefused(await house.admin('PATCH', '/users/usr_unknown', { name: 'x' }), 404, 'not_found')
})

test('the audit log names what changed, by whom, and no value', async () => {
  const user = await addUser({ name: 'Secret Name' })
  await house.admin('PATCH', `/users/${user.id}`, { name: 'Other Name', status: 'suspended' })
  const events = await db
    .selectFrom('audit_events')
    .select(['type', 'actor_kind', 'actor_id', 'detail'])
    .where('user_id', '=', user.id)
    .where('type', 'like', 'user.%')
    .orderBy('type')
    .execute()
  const by = { actor_kind: 'admin', actor_id: 'environment' }
  assert.deepEqual(events, [
    { type: 'user.created', ...by, detail: null },
    { type: 'user.suspended', ...by, detail: null },
    { type: 'user.updated', ...by, detail: { changed: ['name'] } },
  ])
})

test('an unknown user’s password takes as long to refuse, and is refused', async () => {
  assert.equal(await verifyPassword(undefined, 'correct horse'), false)
})

test('two ways to write a password are one password', async () => {
  assert.equal(
    await verifyPassword(await hashPassword('caf\u00e9 crème'), 'cafe\u0301 crème'),
    true,
  )
})

test('beyond what it can do and what may wait, a password check says that it is too busy', async () => {
  const answers = await Promise.allSettled(
    Array.from({ length: 40 }, () => verifyPassword(undefined, 'correct horse')),
  )
  const refused = answers.filter((answer) => answer.status === 'rejected')
  assert.equal(refused.length, 40 - 2 - 32)
  for (const { reason } of refused) assert.ok(reason instanceof TooBusy)
  assert.equal(await verifyPassword(undefined, 'correct horse'), false)
})
