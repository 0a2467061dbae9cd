import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })

test('the default tenant is there from the start', async () => {
  const { status, body } = await house.admin('GET', '/tenants')
  assert.equal(status, 200)
  assert.deepEqual(
    body.data.map((tenant: { name: string }) => tenant.name),
    ['Default'],
  )
  assert.equal(body.next_cursor, null)
})

test('a tenant is made, read and listed', async () => {
  house.wait(1)
  const made = await house.admin('POST', '/tenants', { name: 'Orbit' })
  assert.equal(made.status, 201, made.text)
  assert.deepEqual(made.body, {
    id: made.body.id,
    name: 'Orbit',
    status: 'active',
    created_at: house.clock.now.toISOString(),
  })
  assert.match(made.body.id, /^ten_[\w-]{22}$/)
  assert.deepEqual((await house.admin('GET', `/tenants/${made.body.id}`)).body, made.body)
  const listed = await house.admin('GET', '/tenants?status=active&limit=1')
  assert.deepEqual(listed.body.data, [made.body])
})

test('a tenant is suspended and resumed, each with an event', async () => {
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Comet' })
  const suspended = await house.admin('PATCH', `/tenants/${tenant.id}`, { status: 'suspended' })
  assert.equal(suspended.status, 200, suspended.text)
  assert.equal(suspended.body.status, 'suspended')
  const resumed = await house.admin('PATCH', `/tenants/${tenant.id}`, {
    status: 'active',
    name: 'Comet & Co',
  })
  assert.equal(resumed.body.status, 'active')
  assert.equal(resumed.body.name, 'Comet & Co')
  const events = await house.deps.db
    .selectFrom('audit_events')
    .select(['type', 'detail'])
    .where('tenant_id', '=', tenant.id)
    .where('type', 'like', 'tenant.%')
    .orderBy('xid')
    .execute()
  assert.deepEqual(events.map(({ type }) => type).sort(), [
    'tenant.created',
    'tenant.resumed',
    'tenant.suspended',
    'tenant.updated',
  ])
  assert.doesNotMatch(JSON.stringify(events), /Comet/)
})

test('an unknown tenant is not found', async () => {
  assertRefused(await house.admin('GET', '/tenants/ten_unknown'), 404, 'not_found')
  assertRefused(await house.admin('PATCH', '/tenants/ten_unknown', { name: 'x' }), 404, 'not_found')
})

test('a tenant needs a name, and nothing that is not known', async () => {
  assertRefused(await house.admin('POST', '/tenants', {}), 422, 'validation_failed', '/name')
  assertRefused(
    await house.admin('POST', '/tenants', { name: '  ' }),
    422,
    'validation_failed',
    '/name',
  )
  assertRefused(
    await house.admin('POST', '/tenants', { name: 'x', colour: 'red' }),
    422,
    'validation_failed',
    '/colour',
  )
})
