import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { openHouse } from '../support/house.ts'
import { makeParties, makeUser, type Parties } from '../support/parties.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
const { db } = house.deps

const of = await makeParties(house)
const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
const here = { tenant_id: tenant.id as string }
const owner = await makeUser(house, here)
const elsewhere = await makeParties(house, {
  user: here,
  agent: { ...here, owner_id: owner.id },
  audience: here,
  entitlement: here,
})

const block = (body: object, headers?: Record<string, string>) =>
  house.admin('POST', '/blocks', { reason: 'Ticket 4711', ...body }, headers)
async function blocked(body: object) {
  const answer = await block(body)
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const end = (id: string) => house.admin('DELETE', `/blocks/${id}`)
const list = (query: Record<string, string> = {}) =>
  house.admin('GET', `/blocks?${new URLSearchParams(query)}`)
const idsOf = async (query: Record<string, string>) => {
  const { body, text } = await list(query)
  assert.ok(body.data, text)
  return body.data.map(({ id }: { id: string }) => id)
}
const inSeconds = (seconds: number) =>
  new Date(house.clock.now.getTime() + seconds * 1000).toISOString()
const eventsOf = async (id: string) => {
  const events = await db
    .selectFrom('audit_events')
    .select(['type', 'actor_kind', 'actor_id', 'tenant_id'])
    .select(['user_id', 'agent_id', 'audience_id', 'detail'])
    .where('type', 'like', 'block.%')
    .orderBy('at')
    .orderBy('type')
    .execute()
  return events.filter(({ detail }) => detail?.block_id === id)
}

describe('a block', () => {
  test('says what it forbids, why and until when (TX-16)', async () => {
    const { user_id, agent_id, audience_id } = of
    const made = await blocked({ user_id, agent_id, audience_id, expires_at: inSeconds(60) })
    assert.match(made.id, /^blk_[\w-]{22}$/)
    assert.deepEqual(made, {
      id: made.id,
      tenant_id: of.tenant_id,
      user_id,
      agent_id,
      audience_id,
      reason: 'Ticket 4711',
      status: 'active',
      created_at: house.clock.now.toISOString(),
      created_by: 'environment',
      expires_at: inSeconds(60),
      ended_at: null,
    })
    assert.deepEqual((await list({ user_id })).body.data, [made])
  })

  for (const names of [['user_id'], ['agent_id'], ['audience_id'], ['agent_id', 'audience_id']]) {
    test(`may name ${names.join(' and ')} alone: the rest is any`, async () => {
      const named = Object.fromEntries(names.map((name) => [name, of[name as keyof Parties]]))
      const { user_id, agent_id, audience_id, expires_at } = await blocked(named)
      const none = { user_id: null, agent_id: null, audience_id: null }
      assert.deepEqual({ user_id, agent_id, audience_id }, { ...none, ...named })
      assert.equal(expires_at, null)
    })
  }

  test('belongs to the tenant of what it names', async () => {
    const made = await blocked({ audience_id: elsewhere.audience_id })
    assert.equal(made.tenant_id, tenant.id)
    assert.equal((await eventsOf(made.id))[0]?.tenant_id, tenant.id)
  })

  test('may name what is stopped already', async () => {
    const user = await makeUser(house, { status: 'suspended' })
    await blocked({ user_id: user.id })
    const { agent_id } = await makeParties(house, { agent: { status: 'retired' } })
    await blocked({ agent_id })
  })

  test('may be made of the same names again', async () => {
    const user_id = (await makeUser(house)).id
    const ids = [await blocked({ user_id }), await blocked({ user_id })].map(({ id }) => id)
    assert.deepEqual((await idsOf({ user_id })).toSorted(), ids.toSorted())
  })

  test('is the same one for the same Idempotency-Key', async () => {
    const user_id = (await makeUser(house)).id
    const headers = { 'idempotency-key': 'one-block' }
    const [first, again] = [await block({ user_id }, headers), await block({ user_id }, headers)]
    assert.equal(again.status, 201)
    assert.deepEqual(again.body, first.body)
    assert.equal((await idsOf({ user_id })).length, 1)
    assertRefused(await block({ user_id, reason: 'Another' }, headers), 409, 'idempotency_conflict')
  })

  test('is in the audit log when it is made and when it ends, without its reason', async () => {
    const { user_id, audience_id } = of
    const made = await blocked({ user_id, audience_id, reason: 'Kim lost the laptop' })
    house.wait(1)
    await end(made.id)
    await end(made.id)
    const event = {
      actor_kind: 'admin',
      actor_id: 'environment',
      tenant_id: of.tenant_id,
      user_id,
      agent_id: null,
      audience_id,
      detail: { block_id: made.id },
    }
    assert.deepEqual(await eventsOf(made.id), [
      { type: 'block.created', ...event },
      { type: 'block.ended', ...event },
    ])
  })
})

describe('the end of a block', () => {
  test('leaves its row, and comes once', async () => {
    const user_id = (await makeUser(house)).id
    const made = await blocked({ user_id })
    const answer = await end(made.id)
    assert.equal(answer.status, 204)
    assert.equal(answer.text, '')
    const ended = { ...made, status: 'ended', ended_at: house.clock.now.toISOString() }
    house.wait(1)
    assert.equal((await end(made.id)).status, 204)
    assert.deepEqual((await list({ user_id })).body.data, [ended])
  })

  test('may come by itself, and by hand after that', async () => {
    const user_id = (await makeUser(house)).id
    const made = await blocked({ user_id, expires_at: inSeconds(60) })
    house.wait(59)
    assert.deepEqual(await idsOf({ user_id, status: 'active' }), [made.id])
    assert.deepEqual(await idsOf({ user_id, status: 'expired' }), [])
    house.wait(1)
    assert.deepEqual(await idsOf({ user_id, status: 'active' }), [])
    assert.deepEqual((await list({ user_id, status: 'expired' })).body.data, [
      { ...made, status: 'expired' },
    ])
    assert.equal((await end(made.id)).status, 204)
    assert.deepEqual(await idsOf({ user_id, status: 'expired' }), [])
    assert.deepEqual(await idsOf({ user_id, status: 'ended' }), [made.id])
  })

  test('is refused for one that never was', async () => {
    for (const id of ['blk_unknown', 'apm_AAAAAAAAAAAAAAAAAAAAAA', '%00', of.user_id]) {
      assertRefused(await end(id), 404, 'not_found')
    }
  })
})

const REFUSED: [why: string, body: object, pointer: string][] = [
  ['that names nothing', {}, ''],
  ['of an unknown user', { user_id: 'usr_unknown' }, '/user_id'],
  ['of an unknown agent', { user_id: of.user_id, agent_id: 'agt_unknown' }, '/agent_id'],
  ['of an unknown audience', { agent_id: of.agent_id, audience_id: 'aud_x' }, '/audience_id'],
  ['of an agent named as a user', { user_id: of.agent_id }, '/user_id'],
  ['of an empty id', { user_id: '' }, '/user_id'],
  ['of null', { user_id: of.user_id, agent_id: null }, '/agent_id'],
  [
    "of another tenant's agent",
    { user_id: of.user_id, agent_id: elsewhere.agent_id, audience_id: of.audience_id },
    '/agent_id',
  ],
  [
    "of another tenant's audience",
    { user_id: of.user_id, agent_id: of.agent_id, audience_id: elsewhere.audience_id },
    '/audience_id',
  ],
  ['without a reason', { user_id: of.user_id, reason: undefined }, '/reason'],
  ['with an empty reason', { user_id: of.user_id, reason: '' }, '/reason'],
  ['with a blank reason', { user_id: of.user_id, reason: '  ' }, '/reason'],
  ['with a reason that turns its text', { user_id: of.user_id, reason: 'a\u202eb' }, '/reason'],
  ['with an end that has come', { user_id: of.user_id, expires_at: inSeconds(0) }, '/expires_at'],
  ['with an end on no calendar', { user_id: of.user_id, expires_at: 'soon' }, '/expires_at'],
  ['with a tenant, which follows', { user_id: of.user_id, tenant_id: of.tenant_id }, '/tenant_id'],
  ['with an unknown member', { user_id: of.user_id, scopes: ['x'] }, '/scopes'],
]
for (const [why, body, pointer] of REFUSED) {
  test(`a block ${why} is refused, and leaves nothing behind`, async () => {
    const before = await idsOf({ limit: '200' })
    assertRefused(await block(body), 422, 'validation_failed', pointer)
    assert.deepEqual(await idsOf({ limit: '200' }), before)
  })
}

describe('the list of blocks', () => {
  test('is filtered by what they name and by status', async () => {
    const { user_id, agent_id, audience_id } = await makeParties(house)
    const one = await blocked({ user_id, agent_id })
    house.wait(1)
    const two = await blocked({ agent_id, audience_id })
    await end(two.id)
    assert.deepEqual(await idsOf({ agent_id }), [two.id, one.id])
    assert.deepEqual(await idsOf({ user_id }), [one.id])
    assert.deepEqual(await idsOf({ audience_id }), [two.id])
    assert.deepEqual(await idsOf({ agent_id, user_id }), [one.id])
    assert.deepEqual(await idsOf({ agent_id, status: 'active' }), [one.id])
    assert.deepEqual(await idsOf({ agent_id, status: 'ended' }), [two.id])
    assert.deepEqual(await idsOf({ user_id: 'usr_nobody' }), [])
  })

  test('comes in pages, newest first', async () => {
    const { agent_id } = await makeParties(house)
    const made: string[] = []
    for (let at = 0; at < 5; at += 1) {
      // Two of one instant: their ids decide.
      if (at % 2) house.wait(1)
      made.push((await blocked({ agent_id })).id)
    }
    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { body, text } = await list({ agent_id, limit: '2', ...(cursor && { cursor }) })
      assert.ok(body.data.length <= 2, text)
      seen.push(...body.data.map(({ id }: { id: string }) => id))
      cursor = body.next_cursor
    }
    assert.deepEqual(seen, await idsOf({ agent_id }))
    assert.deepEqual(seen.toSorted(), made.toSorted())
  })

  test('refuses what it does not know', async () => {
    assertRefused(await list({ status: 'gone' }), 422, 'validation_failed', '/status')
    assertRefused(await list({ reason: 'x' }), 422, 'validation_failed')
    assertRefused(await list({ cursor: 'x' }), 422, 'validation_failed', '/cursor')
    assertRefused(await list({ limit: '201' }), 422, 'validation_failed', '/limit')
  })
})

test('rules:write makes and ends, rules:read lists, and neither does what the other does', async () => {
  const keyFor = async (...scopes: string[]) => {
    const { body } = await house.admin('POST', '/admin-keys', {
      name: scopes.join(' '),
      scopes,
      expires_at: inSeconds(3600),
    })
    return { authorization: `Bearer ${body.key}`, id: body.id as string }
  }
  const { id: writerId, ...writer } = await keyFor('rules:write')
  const { id: _, ...reader } = await keyFor('rules:read')
  const { id: __, ...stranger } = await keyFor('delegations:write', 'delegations:read')
  const made = await block({ user_id: of.user_id }, writer)
  assert.equal(made.status, 201, made.text)
  assert.equal(made.body.created_by, writerId)
  for (const path of ['/blocks', '/actor-permissions']) {
    for (const headers of [reader, stranger]) {
      assertRefused(await house.admin('POST', path, {}, headers), 403, 'insufficient_scope')
      const ending = await house.admin('DELETE', `${path}/${made.body.id}`, undefined, headers)
      assertRefused(ending, 403, 'insufficient_scope')
    }
    assert.equal((await house.admin('GET', path, undefined, reader)).status, 200)
    for (const headers of [writer, stranger]) {
      assertRefused(await house.admin('GET', path, undefined, headers), 403, 'insufficient_scope')
    }
  }
  const ended = await house.admin('DELETE', `/blocks/${made.body.id}`, undefined, writer)
  assert.equal(ended.status, 204)
})
