import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { beginFamily } from '../../src/sessions/rotate.ts'
import { openHouse } from '../support/house.ts'
import { makeParties, type Parties, signedIn } from '../support/parties.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
const { db } = house.deps

async function delegated(changes: Parameters<typeof makeParties>[1] = {}) {
  const of = await makeParties(house, changes)
  const { user_id, agent_id, audience_id } = of
  const made = await house.admin('POST', '/delegations', {
    user_id,
    agent_id,
    audience_id,
    scopes: ['chat.read'],
    mode: 'always',
  })
  assert.equal(made.status, 201, made.text)
  return of
}

async function delegation({ user_id }: Parties) {
  const [row] = (await house.admin('GET', `/delegations?user_id=${user_id}`)).body.data
  return row
}

const revocation = async (id: string) => (await house.admin('GET', `/revocations/${id}`)).body

for (const to of ['suspend', 'retire'] as const) {
  const status = `${to}ed`.replace('ee', 'e')

  test(`to ${to} an agent is a revocation by agent`, async () => {
    const of = await delegated()
    const { status: code, body } = await house.admin('POST', `/agents/${of.agent_id}/${to}`, {
      reason: 'Misbehaves',
    })
    assert.equal(code, 200)
    assert.equal(body.id, of.agent_id)
    assert.equal(body.status, status)
    const revoked = await revocation(body.revocation_id)
    assert.equal(revoked.agent_id, of.agent_id)
    assert.equal(revoked.reason, 'Misbehaves')
    assert.equal(revoked.delegations_revoked, 1)
    const row = await delegation(of)
    assert.equal(row.status, 'revoked')
    assert.equal(row.end_reason, body.revocation_id)
  })

  test(`to ${to} an audience is a revocation by audience`, async () => {
    const of = await delegated()
    const { body } = await house.admin('POST', `/audiences/${of.audience_id}/${to}`)
    assert.equal(body.id, of.audience_id)
    assert.equal(body.status, status)
    assert.equal((await revocation(body.revocation_id)).audience_id, of.audience_id)
    assert.equal((await delegation(of)).status, 'revoked')
  })
}

describe('an agent', () => {
  test('is suspended again without complaint', async () => {
    const of = await delegated()
    const suspend = () => house.admin('POST', `/agents/${of.agent_id}/suspend`, {})
    await suspend()
    const again = await suspend()
    assert.equal(again.status, 200, again.text)
    assert.equal(again.body.status, 'suspended')
  })

  test('gets no delegation back by being resumed', async () => {
    const of = await delegated()
    await house.admin('POST', `/agents/${of.agent_id}/suspend`)
    const { body } = await house.admin('POST', `/agents/${of.agent_id}/resume`)
    assert.equal(body.status, 'active')
    assert.ok(!('revocation_id' in body))
    assert.equal((await delegation(of)).status, 'revoked')
  })

  test('that asked to be enrolled may act once approved', async () => {
    const of = await makeParties(house, { agent: { status: 'requested' } })
    const { body } = await house.admin('POST', `/agents/${of.agent_id}/approve`, {})
    assert.equal(body.status, 'active')
  })

  test('cannot be resumed once retired', async () => {
    const { agent_id } = await makeParties(house, { agent: { status: 'retired' } })
    const answer = await house.admin('POST', `/agents/${agent_id}/resume`, {})
    assertRefused(answer, 409, 'invalid_transition')
  })

  test('that is unknown is not found, and nothing is revoked', async () => {
    assertRefused(await house.admin('POST', '/agents/agt_none/suspend', {}), 404, 'not_found')
    assertRefused(await house.admin('POST', '/audiences/aud_none/retire', {}), 404, 'not_found')
  })

  test('is not moved by a body with unknown members', async () => {
    const { agent_id } = await makeParties(house)
    const answer = await house.admin('POST', `/agents/${agent_id}/suspend`, { why: 'x' })
    assertRefused(answer, 422, 'validation_failed')
  })
})

describe('an audience', () => {
  test('gets no delegation back by being resumed', async () => {
    const of = await delegated()
    await house.admin('POST', `/audiences/${of.audience_id}/suspend`)
    const { body } = await house.admin('POST', `/audiences/${of.audience_id}/resume`, {})
    assert.equal(body.status, 'active')
    assert.equal((await delegation(of)).status, 'revoked')
  })
})

for (const kind of ['agent', 'audience'] as const) {
  test(`the ${kind} that is stopped once more says why it was, if anybody says; twice is no harm`, async () => {
    const of = await makeParties(house)
    const path = `/${kind}s/${of[`${kind}_id`]}`
    const move = (verb: string, body = {}) => house.admin('POST', `${path}/${verb}`, body)
    for (const verb of ['suspend', 'retire']) {
      const [first, again, silent] = [
        await move(verb, {}),
        await move(verb, { reason: 'Key leaked' }),
        await move(verb),
      ]
      assert.equal(first.body.status_reason, null)
      assert.equal(again.body.status_reason, 'Key leaked')
      assert.notEqual(again.body.revocation_id, first.body.revocation_id)
      assert.deepEqual([silent.status, silent.body.status_reason], [200, 'Key leaked'])
    }
  })
}

describe('a user', () => {
  for (const status of ['suspended', 'deleted']) {
    test(`loses everything when ${status}`, async () => {
      const of = await delegated()
      const page = await signedIn(house, of)
      assert.equal((await page.get('/account')).status, 200)
      const { body } = await house.admin('PATCH', `/users/${of.user_id}`, { status })
      assert.equal(body.status, status)
      assert.equal((await revocation(body.revocation_id)).user_id, of.user_id)
      assert.equal((await delegation(of)).status, 'revoked')
      assert.equal((await page.get('/account')).status, 303)
      const session = await db
        .selectFrom('sessions')
        .select('end_reason')
        .where('id', '=', page.session_id)
        .executeTakeFirstOrThrow()
      assert.equal(session.end_reason, body.revocation_id)
    })
  }

  test('with a new password is signed out everywhere, and keeps the delegations', async () => {
    const of = await delegated()
    const page = await signedIn(house, of)
    const { id } = await beginFamily(
      db,
      { ...pick(of), session_id: page.session_id, scope: ['openid'] },
      { now: house.deps.now(), lifetime: 3600, withToken: true },
    )
    const { body } = await house.admin('PATCH', `/users/${of.user_id}`, {
      password: 'another long password',
    })
    assert.ok(!('revocation_id' in body))
    assert.equal((await page.get('/account')).status, 303)
    const family = await db
      .selectFrom('refresh_token_families')
      .select('end_reason')
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
    assert.equal(family.end_reason, 'password_changed')
    assert.equal((await delegation(of)).status, 'active')
  })

  test('with a new name stays signed in', async () => {
    const of = await delegated()
    const page = await signedIn(house, of)
    const { body } = await house.admin('PATCH', `/users/${of.user_id}`, { name: 'Kim R.' })
    assert.equal(body.name, 'Kim R.')
    assert.equal((await page.get('/account')).status, 200)
    assert.equal((await delegation(of)).status, 'active')
  })

  test('that is unknown is not found', async () => {
    const answer = await house.admin('PATCH', '/users/usr_none', { status: 'suspended' })
    assertRefused(answer, 404, 'not_found')
  })
})

describe('a tenant', () => {
  test('loses everything when suspended, and gets none of it back', async () => {
    const made = await house.admin('POST', '/tenants', { name: 'Paused' })
    const here = { tenant_id: made.body.id as string }
    const owner = await house.admin('POST', '/users', { name: 'Owner', ...here })
    const of = await delegated({
      user: here,
      agent: { ...here, owner_id: owner.body.id },
      audience: here,
      entitlement: here,
    })
    const path = `/tenants/${here.tenant_id}`
    const { body } = await house.admin('PATCH', path, { status: 'suspended' })
    assert.equal(body.status, 'suspended')
    assert.equal((await revocation(body.revocation_id)).tenant_id, here.tenant_id)
    assert.equal((await house.admin('PATCH', path, { status: 'active' })).body.status, 'active')
    assert.equal((await delegation(of)).status, 'revoked')
  })

  test('can be renamed', async () => {
    const made = await house.admin('POST', '/tenants', { name: 'Before' })
    const { body } = await house.admin('PATCH', `/tenants/${made.body.id}`, { name: 'After' })
    assert.equal(body.name, 'After')
    assert.ok(!('revocation_id' in body))
  })
})

const pick = ({ tenant_id, agent_id, user_id }: Parties) => ({ tenant_id, agent_id, user_id })
