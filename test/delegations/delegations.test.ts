import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { openHouse } from '../support/house.ts'
import {
  API,
  CATALOGUE_WITH_TYPES,
  FILES,
  makeParties,
  makeUser,
  type Parties,
} from '../support/parties.ts'

const house = await openHouse({ after })
const { db } = house.deps

const body = ({ user_id, agent_id, audience_id }: Parties, changes: object = {}) => ({
  user_id,
  agent_id,
  audience_id,
  scopes: ['chat.read'],
  mode: 'always',
  ...changes,
})
const make = (of: Parties, changes: object = {}) =>
  house.admin('POST', '/delegations', body(of, changes))

async function made(of: Parties, changes: object = {}) {
  const answer = await make(of, changes)
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}

const list = async (query: Record<string, string>) => {
  const answer = await house.admin('GET', `/delegations?${new URLSearchParams(query)}`)
  assert.equal(answer.status, 200, answer.text)
  return answer.body.data
}

const events = (delegation_id: string) =>
  db
    .selectFrom('audit_events')
    .select(['type', 'actor_kind', 'actor_id', 'detail'])
    .where('delegation_id', '=', delegation_id)
    .orderBy('id')
    .execute()

/** The member that a refusal points to. */
async function refused(of: Parties, changes: object, pointer: string, code = 'validation_failed') {
  const answer = await make(of, changes)
  assert.equal(answer.status, 422, answer.text)
  assert.equal(answer.body.type, `/problems/${code}`)
  assert.equal(answer.body.errors[0].pointer, pointer)
}

describe('a delegation made by an administrator', () => {
  test('says who may do what, where, and that an administrator said so', async () => {
    const of = await makeParties(house)
    const delegation = await made(of, { scopes: ['chat.read', 'chat.write'], resources: [API] })
    assert.match(delegation.id, /^dlg_/)
    assert.deepEqual(delegation, {
      id: delegation.id,
      user_id: of.user_id,
      agent_id: of.agent_id,
      audience_id: of.audience_id,
      scopes: ['chat.read', 'chat.write'],
      resources: [API],
      authorization_details: [],
      claims: [],
      mode: 'always',
      source: 'admin',
      offline: false,
      sub_asserted: of.user_id,
      text_version: null,
      status: 'active',
      created_at: house.clock.now.toISOString(),
      expires_at: null,
      consumed_at: null,
      revoked_at: null,
      end_reason: null,
      last_minted_at: null,
    })
    assert.deepEqual(await events(delegation.id), [
      {
        type: 'delegation.granted',
        actor_kind: 'admin',
        actor_id: 'environment',
        detail: { mode: 'always', source: 'admin' },
      },
    ])
  })

  test('covers every resource the entitlement allows when none is named', async () => {
    assert.equal((await made(await makeParties(house))).resources, null)
  })

  test("keeps a resource in the audience's own spelling", async () => {
    const of = await makeParties(house)
    const delegation = await made(of, { resources: ['HTTPS://CHAT.example/api'] })
    assert.deepEqual(delegation.resources, [API])
  })

  test('replaces the live one of the same three, and nothing is merged', async () => {
    const of = await makeParties(house)
    const first = await made(of, { scopes: ['chat.read', 'chat.write'] })
    house.wait(1)
    const second = await made(of, { scopes: ['files.read'] })
    assert.deepEqual(second.scopes, ['files.read'])
    const [now, before] = await list({ user_id: of.user_id })
    assert.equal(now.id, second.id)
    assert.equal(before.id, first.id)
    assert.equal(before.status, 'revoked')
    assert.equal(before.end_reason, 'replaced')
    assert.deepEqual(
      (await events(first.id)).map(({ type }) => type),
      ['delegation.granted'],
    )
    assert.deepEqual((await events(second.id))[0]?.detail, {
      mode: 'always',
      source: 'admin',
      replaces: first.id,
    })
  })

  test('finds one that ran out expired, not revoked', async () => {
    const of = await makeParties(house)
    const ends = new Date(house.clock.now.getTime() + 60_000).toISOString()
    const first = await made(of, { expires_at: ends })
    house.wait(60)
    await made(of)
    const [before] = await list({ user_id: of.user_id, status: 'expired' })
    assert.equal(before.id, first.id)
    assert.equal(before.revoked_at, null)
    assert.equal(before.end_reason, null)
  })

  test('is the same one for the same Idempotency-Key', async () => {
    const of = await makeParties(house)
    const send = () =>
      house.admin('POST', '/delegations', body(of), { 'idempotency-key': `once-${of.agent_id}` })
    const [first, again] = [await send(), await send()]
    assert.equal(again.status, 201)
    assert.deepEqual(again.body, first.body)
  })

  test('is one live one, however many are made at once', async () => {
    const of = await makeParties(house)
    const answers = await Promise.all(Array.from({ length: 8 }, () => make(of)))
    assert.deepEqual(
      answers.map(({ status }) => status),
      answers.map(() => 201),
    )
    assert.equal((await list({ user_id: of.user_id, status: 'active' })).length, 1)
    assert.equal((await list({ user_id: of.user_id, status: 'revoked' })).length, 7)
  })

  test('is refused for a scope outside the entitlement', async () => {
    const of = await makeParties(house, { entitlement: { scopes: ['chat.read'] } })
    await refused(of, { scopes: ['chat.read', 'chat.write'] }, '/scopes/1')
  })

  test('is refused for a scope that no resource of the audience has', async () => {
    const of = await makeParties(house, { entitlement: { scopes: ['chat.read', 'gone'] } })
    await refused(of, { scopes: ['gone'] }, '/scopes/0')
  })

  test('is refused for a scope of another resource than those named', async () => {
    await refused(
      await makeParties(house),
      { scopes: ['files.read'], resources: [API] },
      '/scopes/0',
    )
  })

  test('is refused for a resource that the audience does not have', async () => {
    const resources = [API, 'https://chat.example/other']
    await refused(await makeParties(house), { resources }, '/resources/1')
  })

  test('is refused for a resource outside the entitlement', async () => {
    const of = await makeParties(house, { entitlement: { resources: [API] } })
    await refused(of, { scopes: ['files.read'], resources: [FILES] }, '/resources/0')
  })

  test('is refused when its end is not in the future', async () => {
    await refused(
      await makeParties(house),
      { expires_at: house.clock.now.toISOString() },
      '/expires_at',
    )
  })

  const tomorrow = () => new Date(house.clock.now.getTime() + 86_400_000).toISOString()

  test('may outlive the session of its user, until its own end', async () => {
    const of = await makeParties(house)
    const expires_at = tomorrow()
    const delegation = await made(of, { offline: true, expires_at })
    assert.deepEqual([delegation.offline, delegation.expires_at], [true, expires_at])
    const [listed] = await list({ user_id: of.user_id })
    assert.equal(listed.offline, true)
    assert.deepEqual((await events(delegation.id))[0]?.detail, {
      mode: 'always',
      source: 'admin',
      offline: true,
    })
  })

  test('is refused when it is to outlive the session and has no end of its own', async () => {
    await refused(await makeParties(house), { offline: true }, '/expires_at')
  })

  test('is refused when it is to outlive the session of an agent without refresh tokens', async () => {
    const of = await makeParties(house, { agent: { grant_types: ['authorization_code'] } })
    await refused(of, { offline: true, expires_at: tomorrow() }, '/offline')
    assert.equal((await make(of, { offline: false })).status, 201)
  })

  const withTypes = (entitlement: object = {}) =>
    makeParties(house, { audience: { resources: CATALOGUE_WITH_TYPES }, entitlement })

  test("may hold authorization details, in the audience's own spelling (TX-15)", async () => {
    const of = await withTypes({ authorization_details_types: ['message'] })
    const message = {
      type: 'message',
      to: { name: 'Kim', tags: [1, 2.5, null] },
      actions: ['send'],
    }
    const locations = ['HTTPS://CHAT.example/api', API]
    const { authorization_details, id } = await made(of, {
      authorization_details: [message, { ...message, locations }],
    })
    assert.deepEqual(authorization_details, [message, { ...message, locations: [API] }])
    const [listed] = await list({ user_id: of.user_id })
    assert.equal(listed.id, id)
    assert.deepEqual(listed.authorization_details, authorization_details)
  })

  test('holds none when an empty list is given', async () => {
    const { authorization_details } = await made(await withTypes(), { authorization_details: [] })
    assert.deepEqual(authorization_details, [])
  })

  const MESSAGE = { type: 'message' }
  const BEYOND: [why: string, entitlement: object, changes: object][] = [
    ['a type that the audience does not know', {}, { authorization_details: [{ type: 'gone' }] }],
    [
      'a type that the named resource does not know',
      {},
      { scopes: ['files.read'], resources: [FILES], authorization_details: [MESSAGE] },
    ],
    [
      'a type of a resource that the entitlement does not let through',
      { resources: [FILES] },
      { scopes: ['files.read'], authorization_details: [MESSAGE] },
    ],
    [
      'a type that the entitlement does not allow',
      { authorization_details_types: ['export'] },
      { authorization_details: [MESSAGE] },
    ],
    [
      'any type where the entitlement allows none',
      { authorization_details_types: [] },
      { authorization_details: [MESSAGE] },
    ],
    [
      'a location elsewhere',
      {},
      { authorization_details: [{ ...MESSAGE, locations: ['https://other.example/'] }] },
    ],
    [
      'a location that does not know the type',
      {},
      { authorization_details: [{ ...MESSAGE, locations: [API, FILES] }] },
    ],
    [
      'a location that was not delegated',
      {},
      {
        resources: [API],
        authorization_details: [{ type: 'export', locations: [FILES] }],
      },
    ],
  ]
  for (const [why, entitlement, changes] of BEYOND) {
    test(`is refused for authorization details of ${why} (TX-15)`, async () => {
      const of = await withTypes(entitlement)
      await refused(of, changes, '/authorization_details/0')
      assert.equal((await list({ user_id: of.user_id })).length, 0)
    })
  }

  test('is refused for what is no entry of authorization details, which is named', async () => {
    const of = await withTypes()
    const first = { type: 'message' }
    for (const wrong of [
      { type: 'message', actions: 'send' },
      { type: 'message', locations: [] },
    ]) {
      await refused(of, { authorization_details: [first, wrong] }, '/authorization_details/1')
    }
    await refused(of, { authorization_details: [first, {}] }, '/authorization_details/1/type')
    await refused(of, { authorization_details: [first, 'x'] }, '/authorization_details/1')
    await refused(of, { authorization_details: first }, '/authorization_details')
    const long = Array.from({ length: 3 }, () => ({ ...first, text: 'x'.repeat(4000) }))
    await refused(of, { authorization_details: long }, '/authorization_details')
    const many = Array.from({ length: 21 }, () => first)
    await refused(of, { authorization_details: many }, '/authorization_details')
  })

  test('is refused without a live entitlement', async () => {
    const ended = await makeParties(house, { entitlement: { ended_at: house.clock.now } })
    await refused(ended, {}, '/audience_id')
    const past = await makeParties(house, { entitlement: { expires_at: house.clock.now } })
    await refused(past, {}, '/audience_id')
  })

  test('is refused for a user who is unknown or not active', async () => {
    const of = await makeParties(house)
    await refused(of, { user_id: 'usr_nobody' }, '/user_id')
    const suspended = await makeUser(house, { status: 'suspended' })
    await refused(of, { user_id: suspended.id }, '/user_id')
  })

  test('is refused for an agent that is unknown, not active or past its end', async () => {
    await refused(await makeParties(house), { agent_id: 'agt_nobody' }, '/agent_id')
    await refused(await makeParties(house, { agent: { status: 'suspended' } }), {}, '/agent_id')
    const past = await makeParties(house, { agent: { expires_at: house.clock.now } })
    await refused(past, {}, '/agent_id')
  })

  test('is refused for an agent without an active owner', async () => {
    const owner = await makeUser(house, { status: 'suspended' })
    const of = await makeParties(house, { agent: { owner_id: owner.id } })
    await refused(of, {}, '/agent_id', 'owner_inactive')
  })

  test('is refused for an audience that is unknown or not active', async () => {
    await refused(await makeParties(house), { audience_id: 'aud_nobody' }, '/audience_id')
    const retired = await makeParties(house, { audience: { status: 'retired' } })
    await refused(retired, {}, '/audience_id')
  })

  test('is refused for a user of another tenant', async () => {
    const of = await makeParties(house)
    const tenant = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
    const stranger = await makeUser(house, { tenant_id: tenant.body.id })
    await refused(of, { user_id: stranger.id }, '/agent_id')
  })

  test('is refused for a user of a suspended tenant', async () => {
    const of = await makeParties(house)
    const tenant = await house.admin('POST', '/tenants', { name: 'Paused' })
    await db
      .updateTable('tenants')
      .set({ status: 'suspended' })
      .where('id', '=', tenant.body.id)
      .execute()
    const stranger = await makeUser(house, { tenant_id: tenant.body.id })
    await refused(of, { user_id: stranger.id }, '/user_id')
  })

  test('is refused with members that are not known', async () => {
    const answer = await make(await makeParties(house), { sub: 'x' })
    assert.equal(answer.status, 422)
  })
})

describe('the list of delegations', () => {
  test('is filtered by user, agent, audience and the status that counts', async () => {
    const of = await makeParties(house)
    const other = await makeParties(house)
    const ends = new Date(house.clock.now.getTime() + 60_000).toISOString()
    const mine = await made(of, { expires_at: ends })
    await made(other)
    for (const name of ['user_id', 'agent_id', 'audience_id'] as const) {
      assert.deepEqual(
        (await list({ [name]: of[name] })).map(({ id }: { id: string }) => id),
        [mine.id],
      )
    }
    assert.equal((await list({ user_id: of.user_id, status: 'active' })).length, 1)
    house.wait(60)
    assert.equal((await list({ user_id: of.user_id, status: 'active' })).length, 0)
    const [expired] = await list({ user_id: of.user_id, status: 'expired' })
    assert.equal(expired.status, 'expired')
  })

  test('goes on where the page before ended', async () => {
    const of = await makeParties(house)
    const ids = []
    for (let at = 0; at < 5; at += 1) ids.unshift((await made(of)).id)
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const query = new URLSearchParams({
        user_id: of.user_id,
        limit: '2',
        ...(cursor && { cursor }),
      })
      const { body } = await house.admin('GET', `/delegations?${query}`)
      assert.ok(body.data.length <= 2)
      seen.push(...body.data.map(({ id }: { id: string }) => id))
      cursor = body.next_cursor
    }
    assert.deepEqual([...seen].sort(), [...ids].sort())
  })

  test('refuses a status that there is not', async () => {
    assert.equal((await house.admin('GET', '/delegations?status=gone')).status, 422)
  })
})
