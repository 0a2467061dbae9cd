import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { newId } from '../../src/db/ids.ts'
import type { Row } from '../../src/db/tables.ts'
import { openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
const { db } = house.deps

const API = 'https://api.chat.example/'
const FILES = 'https://files.chat.example/v1'
let count = 0

const { body: owner } = await house.admin('POST', '/users', {})
const newAgent = async () => {
  const { body, text } = await house.admin('POST', '/agents', {
    name: 'Planner',
    purpose: 'Plans',
    owner_id: owner.id,
    expires_at: new Date(house.clock.now.getTime() + 86_400_000).toISOString(),
    token_endpoint_auth_method: 'client_secret_basic',
  })
  assert.ok(body.id, text)
  return body.id as string
}
const newAudience = async (body: object = {}) => {
  const answer = await house.admin('POST', '/audiences', {
    issuer: `https://auth-${++count}.chat.example`,
    name: 'Chat',
    profile: 'idjag',
    resources: [
      {
        identifier: API,
        scopes: [{ name: 'chat.read' }, { name: 'chat.write' }],
        authorization_details_types: [{ type: 'message', description: 'Send one' }],
      },
      {
        identifier: FILES,
        scopes: [{ name: 'files.read' }],
        authorization_details_types: ['export'],
      },
    ],
    ...body,
  })
  assert.ok(answer.body.id, answer.text)
  return answer.body.id as string
}
const newPair = async () => ({ agent_id: await newAgent(), audience_id: await newAudience() })
type Pair = Awaited<ReturnType<typeof newPair>>
const pathOf = ({ agent_id, audience_id }: Pair) =>
  `/agents/${agent_id}/entitlements/${audience_id}`
const put = (of: Pair, body: object = {}) =>
  house.admin('PUT', pathOf(of), { scopes: ['chat.read'], consent: 'user', ...body })

test('the first PUT makes an entitlement, the next one replaces what it says, and the log has it (IJ-43)', async () => {
  const of = await newPair()
  const made = await put(of, {
    client_id: 'orbit-planner',
    scopes: ['chat.read', 'files.read'],
    resources: ['HTTPS://api.chat.example', FILES],
    expires_at: '2099-01-01T00:00:00Z',
  })
  assert.equal(made.status, 201, made.text)
  const now = house.clock.now.toISOString()
  assert.deepEqual(made.body, {
    id: made.body.id,
    tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA',
    ...of,
    client_id: 'orbit-planner',
    scopes: ['chat.read', 'files.read'],
    resources: [API, FILES],
    authorization_details_types: null,
    consent: 'user',
    expires_at: '2099-01-01T00:00:00.000Z',
    status: 'active',
    created_at: now,
    updated_at: now,
    ended_at: null,
  })
  house.wait(1)
  const changed = await put(of)
  assert.equal(changed.status, 200, changed.text)
  assert.deepEqual(changed.body, {
    ...made.body,
    client_id: null,
    scopes: ['chat.read'],
    resources: null,
    expires_at: null,
    updated_at: house.clock.now.toISOString(),
  })
  house.wait(1)
  assert.deepEqual((await put(of)).body, changed.body)
  assert.deepEqual((await house.admin('GET', pathOf(of))).body, changed.body)
  const listed = await house.admin('GET', `/agents/${of.agent_id}/entitlements?status=active`)
  assert.deepEqual(listed.body, { data: [changed.body], next_cursor: null })
  const events = await db
    .selectFrom('audit_events')
    .select(['type', 'detail'])
    .where('agent_id', '=', of.agent_id)
    .where('type', 'like', 'entitlement.%')
    .orderBy('at')
    .execute()
  const entitlement_id = made.body.id
  assert.deepEqual(events, [
    { type: 'entitlement.granted', detail: { entitlement_id } },
    {
      type: 'entitlement.updated',
      detail: { entitlement_id, changed: ['client_id', 'scopes', 'resources', 'expires_at'] },
    },
  ])
})

test('nobody but an administrator says what an agent is called there, and the log says who did (IJ-43)', async () => {
  const { body: agent } = await house.admin('POST', '/agents', {
    name: 'Planner',
    purpose: 'Plans',
    owner_id: owner.id,
    expires_at: new Date(house.clock.now.getTime() + 86_400_000).toISOString(),
    token_endpoint_auth_method: 'client_secret_basic',
  })
  const of = { agent_id: agent.id, audience_id: await newAudience() }
  const { body: before } = await put(of, { client_id: 'orbit-planner' })
  const { body: reader } = await house.admin('POST', '/admin-keys', {
    name: 'reader',
    scopes: ['agents:read', 'audiences:read', 'audiences:write'],
    expires_at: new Date(house.clock.now.getTime() + 86_400_000).toISOString(),
  })
  const basic = Buffer.from(`${agent.client_id}:${agent.client_secret}`).toString('base64')
  for (const [authorization, status] of [
    [`Basic ${basic}`, 401],
    [`Bearer ${agent.client_secret}`, 401],
    [`Bearer ${reader.key}`, 403],
  ] as const) {
    const body = { scopes: ['chat.read'], consent: 'user', client_id: 'orbit-administrator' }
    const answer = await house.admin('PUT', pathOf(of), body, { authorization })
    assert.equal(answer.status, status, answer.text)
  }
  assert.deepEqual((await house.admin('GET', pathOf(of))).body, before)
  house.wait(1)
  await put(of, { client_id: 'orbit-scribe' })
  const written = await db
    .selectFrom('audit_events')
    .select(['type', 'actor_kind', 'actor_id', 'detail'])
    .where('agent_id', '=', agent.id)
    .where('type', 'like', 'entitlement.%')
    .orderBy('at', 'desc')
    .execute()
  const { id: entitlement_id } = before
  assert.deepEqual(written, [
    {
      type: 'entitlement.updated',
      actor_kind: 'admin',
      actor_id: 'environment',
      detail: { entitlement_id, changed: ['client_id'] },
    },
    {
      type: 'entitlement.granted',
      actor_kind: 'admin',
      actor_id: 'environment',
      detail: { entitlement_id },
    },
  ])
})

test('an entitlement may name the types of authorization details it allows (TX-15)', async () => {
  const of = await newPair()
  const types = async (body: object = {}) => {
    const { body: answer, text } = await put(of, body)
    assert.ok(answer.id, text)
    assert.deepEqual((await house.admin('GET', pathOf(of))).body, answer)
    return answer.authorization_details_types
  }
  const both = ['export', 'message']
  assert.deepEqual(await types({ authorization_details_types: both }), both)
  assert.deepEqual(await types({ authorization_details_types: [] }), [])
  assert.equal(await types({ authorization_details_types: null }), null)
  assert.deepEqual(await types({ authorization_details_types: ['message'] }), ['message'])
  assert.equal(await types(), null)
  const { detail } = await db
    .selectFrom('audit_events')
    .select('detail')
    .where('agent_id', '=', of.agent_id)
    .where('type', '=', 'entitlement.updated')
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirstOrThrow()
  assert.deepEqual(detail?.changed, ['authorization_details_types'])
})

const REFUSED: [why: string, body: object, pointer: string][] = [
  ['a scope that the audience does not know', { scopes: ['chat.read', 'chat.x'] }, '/scopes/1'],
  ['no scopes member', { scopes: undefined }, '/scopes'],
  ['a resource of somebody else', { resources: ['https://other.example/'] }, '/resources/0'],
  ['an empty list of resources', { resources: [] }, '/resources'],
  [
    'a type that the audience does not know',
    { authorization_details_types: ['message', 'loan'] },
    '/authorization_details_types/1',
  ],
  [
    'a type named twice',
    { authorization_details_types: ['message', 'message'] },
    '/authorization_details_types',
  ],
  ['an end that has passed', { expires_at: '2020-01-01T00:00:00Z' }, '/expires_at'],
  ['nobody to consent', { consent: undefined }, '/consent'],
  ['somebody else to consent', { consent: 'agent' }, '/consent'],
  ['an empty client_id', { client_id: '' }, '/client_id'],
  ['a client_id that no form could carry', { client_id: 'a\nb' }, '/client_id'],
  ['an unknown member', { scope: 'chat.read' }, '/scope'],
]
const pair = await newPair()
for (const [why, body, pointer] of REFUSED) {
  test(`an entitlement with ${why} is refused`, async () => {
    assertRefused(await put(pair, body), 422, 'validation_failed', pointer)
  })
}

test('the refusal of a scope names it', async () => {
  const { body } = await put(pair, { scopes: ['chat.x'] })
  assert.match(body.detail, /chat\.x/)
})

test('both parties must be there, not retired, and of one tenant', async () => {
  const of = await newPair()
  assertRefused(await put({ ...of, agent_id: 'agt_unknown' }), 404, 'not_found')
  assertRefused(await put({ ...of, audience_id: 'aud_unknown' }), 404, 'not_found')
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
  const elsewhere = await newAudience({ tenant_id: tenant.id })
  assertRefused(await put({ ...of, audience_id: elsewhere }), 422, 'validation_failed')
  await house.admin('POST', `/audiences/${of.audience_id}/retire`, {})
  assertRefused(await put(of), 409, 'invalid_transition')
  const other = await newPair()
  await house.admin('POST', `/agents/${other.agent_id}/retire`, {})
  assertRefused(await put(other), 409, 'invalid_transition')
})

test('an ended entitlement stays on record, and a new one can be made', async () => {
  const of = await newPair()
  const { body: made } = await put(of)
  assert.equal((await house.admin('DELETE', pathOf(of))).status, 204)
  assert.equal((await house.admin('DELETE', pathOf(of))).status, 204)
  const list = `/agents/${of.agent_id}/entitlements`
  const ended = await house.admin('GET', `${list}?status=ended&audience_id=${of.audience_id}`)
  const now = house.clock.now.toISOString()
  const shown = { ...made, status: 'ended', ended_at: now, updated_at: now }
  assert.deepEqual(ended.body.data, [shown])
  assert.deepEqual((await house.admin('GET', pathOf(of))).body, shown)
  const again = await put(of)
  assert.equal(again.status, 201)
  assert.notEqual(again.body.id, made.id)
  assert.deepEqual((await house.admin('GET', pathOf(of))).body, again.body)
  assertRefused(await house.admin('GET', pathOf(await newPair())), 404, 'not_found')
  assertRefused(await house.admin('DELETE', pathOf(await newPair())), 404, 'not_found')
  assertRefused(await house.admin('GET', '/agents/agt_unknown/entitlements'), 404, 'not_found')
})

test('an entitlement past its end is shown as ended', async () => {
  const of = await newPair()
  const soon = new Date(house.clock.now.getTime() + 60_000).toISOString()
  assert.equal((await put(of, { expires_at: soon })).body.status, 'active')
  house.wait(60)
  assert.equal((await house.admin('GET', pathOf(of))).body.status, 'ended')
  const list = `/agents/${of.agent_id}/entitlements`
  assert.equal((await house.admin('GET', `${list}?status=active`)).body.data.length, 0)
  assert.equal((await house.admin('GET', `${list}?status=ended`)).body.data.length, 1)
})

test('two PUTs at once make one entitlement', async () => {
  const of = await newPair()
  const answers = await Promise.all([put(of), put(of), put(of)])
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 200, 201])
  assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1)
})

const delegate = async (of: Pair, source: 'user' | 'policy', expires_at: Date | null = null) => {
  const { body: user } = await house.admin('POST', '/users', {})
  const id = newId('dlg')
  await db
    .insertInto('delegations')
    .values({
      id,
      user_id: user.id,
      ...of,
      scopes: ['chat.read'],
      claims: [],
      mode: 'always',
      source,
      sub_asserted: user.id,
      created_at: house.clock.now,
      expires_at,
    })
    .execute()
  return id
}
const delegation = (id: string): Promise<Row<'delegations'>> =>
  db.selectFrom('delegations').selectAll().where('id', '=', id).executeTakeFirstOrThrow()

test('what an administrator’s consent made follows the entitlement; what a user gave does not', async () => {
  const of = await newPair()
  await put(of, { consent: 'admin' })
  const byPolicy = await delegate(of, 'policy')
  const byUser = await delegate(of, 'user')
  await put(of, { consent: 'admin', scopes: ['files.read'], resources: [FILES] })
  const followed = await delegation(byPolicy)
  assert.deepEqual([followed.scopes, followed.resources], [['files.read'], [FILES]])
  const kept = await delegation(byUser)
  assert.deepEqual([kept.scopes, kept.resources], [['chat.read'], null])
})

test('what an administrator’s consent made ends when the entitlement does', async () => {
  const of = await newPair()
  const inSeconds = (seconds: number) => new Date(house.clock.now.getTime() + seconds * 1000)
  await put(of, { consent: 'admin', expires_at: inSeconds(60).toISOString() })
  const byPolicy = await delegate(of, 'policy', inSeconds(60))
  const later = inSeconds(3600)
  await put(of, { consent: 'admin', expires_at: later.toISOString() })
  assert.deepEqual((await delegation(byPolicy)).expires_at, later)
  const sooner = inSeconds(5)
  await put(of, { consent: 'admin', expires_at: sooner.toISOString() })
  assert.deepEqual((await delegation(byPolicy)).expires_at, sooner)
  await put(of, { consent: 'admin' })
  assert.equal((await delegation(byPolicy)).expires_at, null)
})

test('an entitlement that ran out is not revived: a new one is made, and nothing rests on it', async () => {
  const of = await newPair()
  const end = new Date(house.clock.now.getTime() + 60_000)
  const { body: old } = await put(of, { consent: 'admin', expires_at: end.toISOString() })
  const byUser = await delegate(of, 'user')
  const byPolicy = await delegate(of, 'policy', end)
  house.wait(60)

  // What is refused ends nothing.
  assertRefused(await put(of, { scopes: ['chat.x'] }), 422, 'validation_failed')
  assert.equal((await delegation(byUser)).status, 'active')

  const { status, body } = await put(of, { consent: 'admin' })
  assert.equal(status, 201)
  assert.notEqual(body.id, old.id)
  assert.equal(body.created_at, house.clock.now.toISOString())
  const revoked = await delegation(byUser)
  assert.deepEqual([revoked.status, revoked.end_reason], ['revoked', 'entitlement_ended'])
  assert.equal((await delegation(byPolicy)).status, 'expired')
  const row = await db
    .selectFrom('entitlements')
    .select(['ended_at', 'expires_at'])
    .where('id', '=', old.id)
    .executeTakeFirstOrThrow()
  assert.deepEqual(row, { ended_at: house.clock.now, expires_at: end })
  const events = await db
    .selectFrom('audit_events')
    .select(['type', 'detail'])
    .where('agent_id', '=', of.agent_id)
    .where('at', '=', house.clock.now)
    .orderBy('type')
    .execute()
  assert.deepEqual(events, [
    { type: 'delegation.revoked', detail: { by: 'entitlement_ended' } },
    { type: 'entitlement.ended', detail: { entitlement_id: old.id, end_reason: 'expired' } },
    { type: 'entitlement.granted', detail: { entitlement_id: body.id } },
  ])
})

test('two PUTs at once renew an entitlement that ran out once', async () => {
  const of = await newPair()
  const end = new Date(house.clock.now.getTime() + 60_000)
  const { body: old } = await put(of, { expires_at: end.toISOString() })
  house.wait(60)
  const answers = await Promise.all([put(of), put(of), put(of)])
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 200, 201])
  const ids = new Set(answers.map(({ body }) => body.id))
  assert.equal(ids.size, 1)
  assert.ok(!ids.has(old.id))
})

test('once users are to be asked, what the administrator’s consent made ends', async () => {
  const of = await newPair()
  await put(of, { consent: 'admin' })
  const byPolicy = await delegate(of, 'policy')
  const byUser = await delegate(of, 'user')
  await put(of, { consent: 'user' })
  const ended = await delegation(byPolicy)
  assert.deepEqual(
    [ended.status, ended.end_reason, ended.revoked_at],
    ['revoked', 'admin', house.clock.now],
  )
  assert.equal((await delegation(byUser)).status, 'active')
  const event = await db
    .selectFrom('audit_events')
    .select(['type', 'user_id', 'actor_id'])
    .where('delegation_id', '=', byPolicy)
    .executeTakeFirstOrThrow()
  assert.deepEqual(event, {
    type: 'delegation.revoked',
    user_id: ended.user_id,
    actor_id: 'environment',
  })
})
