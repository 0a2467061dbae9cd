// Which account at a relying app is a user's (IJ-36).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { newId } from '../../src/db/ids.ts'
import { openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
const { db } = house.deps

let count = 0
const newUser = async (body: object = {}) => {
  const { status, body: user, text } = await house.admin('POST', '/users', body)
  assert.equal(status, 201, text)
  return user.id as string
}
const newAudience = async (body: object = {}) => {
  const answer = await house.admin('POST', '/audiences', {
    issuer: `https://auth-${++count}.chat.example`,
    name: 'Chat',
    profile: 'idjag',
    resources: [],
    ...body,
  })
  assert.equal(answer.status, 201, answer.text)
  return answer.body.id as string
}
const pathOf = (user: string, audience: string) => `/users/${user}/audience-accounts/${audience}`
const put = (user: string, audience: string, body: object) =>
  house.admin('PUT', pathOf(user, audience), body)
const list = async (user: string, query = '') => {
  const answer = await house.admin('GET', `/users/${user}/audience-accounts${query}`)
  assert.equal(answer.status, 200, answer.text)
  return answer.body
}
const eventsOf = (user: string) =>
  db
    .selectFrom('audit_events')
    .select(['type', 'audience_id', 'actor_id', 'detail'])
    .where('user_id', '=', user)
    .where('type', 'like', 'audience_account.%')
    .orderBy('id')
    .execute()
const versionOf = async (user: string) => {
  const { rows } = await sql`select xmin::text, updated_at from users where id = ${user}`.execute(
    db,
  )
  return rows[0]
}

test('an account is entered, replaced and forgotten, and the list shows it', async () => {
  const [user, audience] = [await newUser(), await newAudience()]
  const created_at = house.clock.now.toISOString()
  const first = await put(user, audience, { aud_sub: 'kim-1027', aud_tenant: 'orbit' })
  assert.equal(first.status, 201, first.text)
  const account = {
    user_id: user,
    audience_id: audience,
    aud_sub: 'kim-1027',
    aud_tenant: 'orbit',
    created_at,
    updated_at: created_at,
  }
  assert.deepEqual(first.body, account)
  assert.deepEqual((await list(user)).data, [account])

  house.wait(1)
  const again = await put(user, audience, { aud_sub: 'kim-1027', aud_tenant: 'orbit' })
  assert.equal(again.status, 200)
  assert.deepEqual(again.body, account, 'the same once more changes nothing')
  const updated_at = house.clock.now.toISOString()
  const second = await put(user, audience, { aud_sub: 'kim-1028' })
  assert.equal(second.status, 200)
  const changed = { ...account, aud_sub: 'kim-1028', aud_tenant: null, updated_at }
  assert.deepEqual(second.body, changed, 'what is left out is cleared')
  assert.deepEqual((await list(user)).data, [changed])

  for (let round = 0; round < 2; round += 1) {
    const gone = await house.admin('DELETE', pathOf(user, audience))
    assert.equal(gone.status, 204, gone.text)
  }
  assert.deepEqual(await list(user), { data: [], next_cursor: null })
  assert.equal((await put(user, audience, { aud_sub: 'kim-1027' })).status, 201)
})

test('the audit log says that an account changed and by whom, and not which it is', async () => {
  const [user, audience] = [await newUser(), await newAudience()]
  await put(user, audience, { aud_sub: 'telling-name', aud_tenant: 'telling-firm' })
  await put(user, audience, { aud_sub: 'telling-name', aud_tenant: 'telling-firm' })
  house.wait(1)
  await put(user, audience, { aud_sub: 'telling-name' })
  house.wait(1)
  await house.admin('DELETE', pathOf(user, audience))
  await house.admin('DELETE', pathOf(user, audience))
  const of = { audience_id: audience, actor_id: 'environment' }
  assert.deepEqual(await eventsOf(user), [
    { type: 'audience_account.created', ...of, detail: null },
    { type: 'audience_account.updated', ...of, detail: { changed: ['aud_tenant'] } },
    { type: 'audience_account.deleted', ...of, detail: null },
  ])
  const events = await db.selectFrom('audit_events').selectAll().execute()
  assert.doesNotMatch(JSON.stringify(events) + house.logs.join(''), /telling/)
})

test('an account names one user of its audience (IJ-36)', async () => {
  const [kim, lee] = [await newUser(), await newUser()]
  const [here, there] = [await newAudience(), await newAudience()]
  assert.equal((await put(kim, here, { aud_sub: 'one' })).status, 201)
  assertRefused(await put(lee, here, { aud_sub: 'one' }), 409, 'already_exists', '/aud_sub')
  assertRefused(
    await put(lee, here, { aud_sub: 'one', aud_tenant: null }),
    409,
    'already_exists',
    '/aud_sub',
  )
  for (const other of [{ aud_sub: 'one', aud_tenant: 'orbit' }, { aud_sub: 'One' }]) {
    assert.equal((await put(lee, here, other)).status < 300, true, 'another account')
  }
  assertRefused(await put(lee, here, { aud_sub: 'one' }), 409, 'already_exists', '/aud_sub')
  assert.equal((await put(lee, there, { aud_sub: 'one' })).status, 201, 'at another audience')
  await house.admin('DELETE', pathOf(kim, here))
  assert.equal((await put(lee, here, { aud_sub: 'one' })).status, 200, 'it is free')
})

test('each change gives the user’s row another version, so that an exchange under way notices', async () => {
  const [user, audience] = [await newUser(), await newAudience()]
  const seen = [await versionOf(user)]
  const changes = [
    () => put(user, audience, { aud_sub: 'a' }),
    () => put(user, audience, { aud_sub: 'b' }),
    () => house.admin('DELETE', pathOf(user, audience)),
  ]
  for (const change of changes) {
    house.wait(1)
    assert.ok((await change()).status < 300)
    const version = await versionOf(user)
    assert.notDeepEqual(version, seen.at(-1))
    seen.push(version)
  }
  await house.admin('DELETE', pathOf(user, audience))
  assert.deepEqual(await versionOf(user), seen.at(-1), 'what changes nothing leaves no trace')
})

test('a deleted user has no accounts, and gets none; the accounts are free', async () => {
  const [user, other, audience] = [await newUser(), await newUser(), await newAudience()]
  await put(user, audience, { aud_sub: 'freed' })
  assert.equal((await house.admin('PATCH', `/users/${user}`, { status: 'deleted' })).status, 200)
  const left = await db
    .selectFrom('audience_accounts')
    .selectAll()
    .where('user_id', '=', user)
    .execute()
  assert.deepEqual(left, [])
  assertRefused(await put(user, audience, { aud_sub: 'again' }), 409, 'invalid_transition')
  assert.equal((await put(other, audience, { aud_sub: 'freed' })).status, 201)
})

test('whom and where must exist, live, and be of one tenant', async () => {
  const [user, audience] = [await newUser(), await newAudience()]
  const body = { aud_sub: 'x' }
  assertRefused(await put('usr_unknown', audience, body), 404, 'not_found')
  assertRefused(await put(user, 'aud_unknown', body), 404, 'not_found')
  for (const [one, other] of [
    ['usr_unknown', audience],
    [user, 'aud_unknown'],
  ] as const) {
    assertRefused(await house.admin('DELETE', pathOf(one, other)), 404, 'not_found')
  }
  assertRefused(await house.admin('GET', '/users/usr_unknown/audience-accounts'), 404, 'not_found')
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
  const foreign = await newAudience({ tenant_id: tenant.id })
  assertRefused(await put(user, foreign, body), 422, 'validation_failed', '')
  await house.admin('POST', `/audiences/${audience}/retire`, {})
  assertRefused(await put(user, audience, body), 409, 'invalid_transition')
})

for (const [why, body, pointer] of [
  ['without a name', {}, '/aud_sub'],
  ['with an empty name', { aud_sub: '' }, '/aud_sub'],
  ['with a blank name', { aud_sub: ' ' }, '/aud_sub'],
  ['on two lines', { aud_sub: 'a\nb' }, '/aud_sub'],
  ['that is too long', { aud_sub: 'a'.repeat(256) }, '/aud_sub'],
  ['that is a number', { aud_sub: 7 }, '/aud_sub'],
  ['with U+0000', { aud_sub: 'a\0' }, '/aud_sub'],
  ['of an organisation without a name', { aud_sub: 'a', aud_tenant: '' }, '/aud_tenant'],
  ['with an unknown member', { aud_sub: 'a', email: 'kim@orbit.example' }, '/email'],
] as const) {
  test(`an account ${why} is refused`, async () => {
    const [user, audience] = [newId('usr'), newId('aud')]
    assertRefused(await put(user, audience, body), 422, 'validation_failed', pointer)
  })
}

test('accounts are for keys that may read or write users', async () => {
  const [user, audience] = [await newUser(), await newAudience()]
  const expires_at = new Date(house.clock.now.getTime() + 3_600_000).toISOString()
  const keyFor = async (scope: string) => {
    const made = await house.admin('POST', '/admin-keys', {
      name: scope,
      scopes: [scope],
      expires_at,
    })
    return { authorization: `Bearer ${made.body.key}` }
  }
  const [reader, writer] = [await keyFor('users:read'), await keyFor('users:write')]
  const listed = `/users/${user}/audience-accounts`
  assert.equal((await house.admin('GET', listed, undefined, reader)).status, 200)
  assertRefused(await house.admin('GET', listed, undefined, writer), 403, 'insufficient_scope')
  const at = pathOf(user, audience)
  const body = { aud_sub: 'x' }
  assertRefused(await house.admin('PUT', at, body, reader), 403, 'insufficient_scope')
  assertRefused(await house.admin('DELETE', at, undefined, reader), 403, 'insufficient_scope')
  assert.equal((await house.admin('PUT', at, body, writer)).status, 201)
  assert.equal((await house.admin('DELETE', at, undefined, writer)).status, 204)
})

test('the list is walked page by page, newest first', async () => {
  const user = await newUser()
  const made: string[] = []
  for (let index = 0; index < 5; index += 1) {
    if (index % 2 === 0) house.wait(1)
    const audience = await newAudience()
    await put(user, audience, { aud_sub: 'x' })
    made.push(audience)
  }
  const seen: string[] = []
  let cursor = ''
  do {
    const page = await list(user, `?limit=2${cursor}`)
    seen.push(...page.data.map((one: { audience_id: string }) => one.audience_id))
    cursor = page.next_cursor && `&cursor=${page.next_cursor}`
  } while (cursor)
  assert.deepEqual([...seen].sort(), [...made].sort())
  assert.equal(seen[0], made[4])
  assertRefused(
    await house.admin('GET', `/users/${user}/audience-accounts?cursor=x`),
    422,
    'validation_failed',
    '/cursor',
  )
})

test('of many users who are given one account at once, one has it', async () => {
  const audience = await newAudience()
  const users = await Promise.all(Array.from({ length: 5 }, () => newUser()))
  const answers = await Promise.all(users.map((user) => put(user, audience, { aud_sub: 'one' })))
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409, 409])
})
