import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { openHouse } from '../support/house.ts'
import { makeParties, makeUser } from '../support/parties.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
const { db } = house.deps

const of = await makeParties(house)
const { agent_id: actor_id } = await makeParties(house)
const { agent_id, user_id, audience_id } = of
const pair = { agent_id, actor_id }

const permit = (body: object, headers?: Record<string, string>) =>
  house.admin('POST', '/actor-permissions', body, headers)
async function permitted(body: object) {
  const answer = await permit(body)
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const end = (id: string) => house.admin('DELETE', `/actor-permissions/${id}`)
const idsOf = async (query: Record<string, string>) => {
  const path = `/actor-permissions?${new URLSearchParams(query)}`
  const { body, text } = await house.admin('GET', path)
  assert.ok(body.data, text)
  return body.data.map(({ id }: { id: string }) => id)
}
const inSeconds = (seconds: number) =>
  new Date(house.clock.now.getTime() + seconds * 1000).toISOString()

describe('an actor permission', () => {
  test('says which agent may act for which, for whom, where and how far (TX-19)', async () => {
    const body = { ...pair, user_id, audience_id, scopes: ['chat.read', 'x:y'] }
    const made = await permitted({ ...body, expires_at: inSeconds(60), reason: 'Sub-agent' })
    assert.match(made.id, /^apm_[\w-]{22}$/)
    assert.deepEqual(made, {
      id: made.id,
      tenant_id: of.tenant_id,
      ...body,
      reason: 'Sub-agent',
      status: 'active',
      created_at: house.clock.now.toISOString(),
      created_by: 'environment',
      expires_at: inSeconds(60),
      ended_at: null,
    })
  })

  test('without bounds is for any user, at any audience, with any scope', async () => {
    const made = await permitted(pair)
    const { user_id, audience_id, scopes, expires_at, reason } = made
    assert.deepEqual([user_id, audience_id, scopes, expires_at, reason], Array(5).fill(null))
  })

  test('is for one direction: the other is another permission', async () => {
    const one = await makeParties(house)
    const other = await makeParties(house)
    const there = await permitted({ agent_id: one.agent_id, actor_id: other.agent_id })
    const back = await permitted({ agent_id: other.agent_id, actor_id: one.agent_id })
    assert.deepEqual(await idsOf({ agent_id: one.agent_id }), [there.id])
    assert.deepEqual(await idsOf({ actor_id: one.agent_id }), [back.id])
  })

  test('may stand beside others of the same pair', async () => {
    const pair = { agent_id: (await makeParties(house)).agent_id, actor_id }
    const made: string[] = []
    for (const bounds of [{ user_id }, { audience_id }, { user_id, scopes: ['chat.read'] }, {}]) {
      house.wait(1)
      made.unshift((await permitted({ ...pair, ...bounds })).id)
    }
    assert.deepEqual(await idsOf(pair), made)
    assert.deepEqual(await idsOf({ ...pair, limit: '2' }), made.slice(0, 2))
  })

  test('is the same one for the same Idempotency-Key', async () => {
    const headers = { 'idempotency-key': 'one-permission' }
    const [first, again] = [await permit(pair, headers), await permit(pair, headers)]
    assert.equal(again.status, 201)
    assert.deepEqual(again.body, first.body)
    const other = await permit({ ...pair, user_id }, headers)
    assertRefused(other, 409, 'idempotency_conflict')
  })

  test('ends once, leaves its row, and is in the audit log without its reason', async () => {
    const made = await permitted({ ...pair, user_id, audience_id, reason: 'Kim asked for it' })
    house.wait(1)
    assert.equal((await end(made.id)).status, 204)
    house.wait(1)
    assert.equal((await end(made.id)).status, 204)
    const { status, ended_at } = (
      await house.admin('GET', `/actor-permissions?agent_id=${agent_id}`)
    ).body.data.find(({ id }: { id: string }) => id === made.id)
    assert.equal(status, 'ended')
    assert.equal(ended_at, inSeconds(-1))
    const events = await db
      .selectFrom('audit_events')
      .select(['type', 'actor_id', 'agent_id', 'user_id', 'audience_id', 'detail'])
      .where('type', 'like', 'actor_permission.%')
      .orderBy('at')
      .orderBy('type')
      .execute()
    const detail = { actor_permission_id: made.id, actor_id }
    const event = { actor_id: 'environment', agent_id, user_id, audience_id, detail }
    assert.deepEqual(
      events.filter((one) => one.detail?.actor_permission_id === made.id),
      [
        { type: 'actor_permission.created', ...event },
        { type: 'actor_permission.ended', ...event },
      ],
    )
  })

  test('past its end has expired', async () => {
    const pair = { agent_id, actor_id: (await makeParties(house)).agent_id }
    const made = await permitted({ ...pair, expires_at: inSeconds(60) })
    assert.deepEqual(await idsOf({ ...pair, status: 'active' }), [made.id])
    house.wait(60)
    assert.deepEqual(await idsOf({ ...pair, status: 'active' }), [])
    assert.deepEqual(await idsOf({ ...pair, status: 'expired' }), [made.id])
  })

  test('that never was cannot be ended, nor one of another kind', async () => {
    assertRefused(await end('apm_unknown'), 404, 'not_found')
    const block = await house.admin('POST', '/blocks', { agent_id, reason: 'Ticket 4711' })
    assertRefused(await end(block.body.id), 404, 'not_found')
  })
})

const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
const here = { tenant_id: tenant.id as string }
const owner = await makeUser(house, here)
const elsewhere = await makeParties(house, {
  user: here,
  agent: { ...here, owner_id: owner.id },
  audience: here,
  entitlement: here,
})
const retired = await makeParties(house, {
  agent: { status: 'retired' },
  audience: { status: 'retired' },
})
const deleted = await makeUser(house, {
  status: 'deleted',
  deleted_at: house.clock.now,
  email: null,
  name: null,
})

const REFUSED: [why: string, body: object, pointer: string][] = [
  ['without an agent', { actor_id, agent_id: undefined }, '/agent_id'],
  ['without an actor', { actor_id: undefined }, '/actor_id'],
  ['of an agent for itself', { actor_id: agent_id }, '/actor_id'],
  ['for an unknown agent', { agent_id: 'agt_unknown' }, '/agent_id'],
  ['of an unknown actor', { actor_id: 'agt_unknown' }, '/actor_id'],
  ['for an unknown user', { user_id: 'usr_unknown' }, '/user_id'],
  ['at an unknown audience', { audience_id: 'aud_unknown' }, '/audience_id'],
  ["of another tenant's actor", { actor_id: elsewhere.agent_id }, '/actor_id'],
  ["for another tenant's user", { user_id: elsewhere.user_id }, '/user_id'],
  ["at another tenant's audience", { audience_id: elsewhere.audience_id }, '/audience_id'],
  ['for a retired agent', { agent_id: retired.agent_id }, '/agent_id'],
  ['of a retired actor', { actor_id: retired.agent_id }, '/actor_id'],
  ['for a deleted user', { user_id: deleted.id }, '/user_id'],
  ['at a retired audience', { audience_id: retired.audience_id }, '/audience_id'],
  ['with a scope that is two', { scopes: ['chat.read', 'a b'] }, '/scopes/1'],
  ['with a scope that no request can carry', { scopes: ['a"b'] }, '/scopes/0'],
  ['with no scope at all', { scopes: [] }, '/scopes'],
  ['with a scope twice', { scopes: ['a', 'a'] }, '/scopes'],
  ['with an end that has come', { expires_at: inSeconds(0) }, '/expires_at'],
  ['with an empty reason', { reason: '' }, '/reason'],
  ['with an unknown member', { resource: 'x' }, '/resource'],
]
for (const [why, body, pointer] of REFUSED) {
  test(`an actor permission ${why} is refused, and leaves nothing behind`, async () => {
    const before = await idsOf({ limit: '200' })
    assertRefused(await permit({ ...pair, ...body }), 422, 'validation_failed', pointer)
    assert.deepEqual(await idsOf({ limit: '200' }), before)
  })
}

test('the list of actor permissions refuses filters that it does not have', async () => {
  for (const query of ['user_id=x', 'status=gone', 'scopes=x']) {
    const answer = await house.admin('GET', `/actor-permissions?${query}`)
    assertRefused(answer, 422, 'validation_failed')
  }
})
