import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openHouse } from '../support/house.ts'
import { entitle, newAgent, tellStory } from '../support/story.ts'

const house = await openHouse({ after })

test('whatever an administrator or a user does is written down with the id of its request', async () => {
  const story = await tellStory(house, { entitlement: { consent: 'admin' } })
  const { user, owner, agent, audience } = story
  const act = async (method: string, path: string, body?: object) => {
    const answer = await house.admin(method, path, body)
    assert.ok(answer.status < 300, `${method} ${path} ${answer.text}`)
    return answer.body
  }
  // Ended by its user, then asked again, granted and denied.
  await story.signIn()
  assert.equal((await story.exchange()).status, 200)
  const account = await story.browser.get('/account')
  await story.browser.submit(account, { csrf: csrfOf(account.text) })
  for (const decision of ['allow', 'deny']) {
    const asked = await story.exchange({ scope: decision === 'allow' ? 'docs.read' : 'docs.write' })
    const page = await story.browser.get(new URL(asked.body.interaction_uri).pathname)
    const scope = decision === 'allow' ? { scope: 'docs.read' } : {}
    await story.browser.submit(page, { decision, mode: 'always', ...scope })
  }
  const delegation = await story.delegate()
  await act('DELETE', `/delegations/${delegation.id}`)
  await entitle(house, agent, audience, { consent: 'user' })
  await act('DELETE', `/agents/${agent.id}/entitlements/${audience.id}`)
  await act('PATCH', `/agents/${agent.id}`, { purpose: 'reads' })
  const other = await newAgent(house, owner, { token_endpoint_auth_method: 'client_secret_post' })
  const credential = await act('POST', `/agents/${other.id}/credentials`, {})
  await act('DELETE', `/agents/${other.id}/credentials/${credential.id}`)
  for (const [what, id] of [
    ['agents', agent.id],
    ['audiences', audience.id],
  ]) {
    for (const to of ['suspend', 'resume', 'retire']) await act('POST', `/${what}/${id}/${to}`)
  }
  await act('PATCH', `/users/${user.id}`, { password: null })
  for (const status of ['suspended', 'active', 'deleted']) {
    await act('PATCH', `/users/${user.id}`, { status })
  }
  const tenant = await act('POST', '/tenants', { name: 'Other' })
  await act('PATCH', `/tenants/${tenant.id}`, { name: 'Another' })
  await act('PATCH', `/tenants/${tenant.id}`, { status: 'suspended' })
  await act('PATCH', `/tenants/${tenant.id}`, { status: 'active' })
  await act('POST', '/revocations', { owner_id: owner.id, reason: 'left' })
  const key = await act('POST', '/admin-keys', {
    name: 'x',
    scopes: ['users:read'],
    expires_at: new Date(house.clock.now.getTime() + 60_000).toISOString(),
  })
  await act('DELETE', `/admin-keys/${key.id}`)
  house.wait(2 * 86_400)
  await act('POST', '/keys/rotate', {})

  const rows = await house.deps.db
    .selectFrom('audit_events')
    .select(['type', 'request_id'])
    .where('actor_kind', 'in', ['admin', 'user'])
    .execute()
  const types = new Set(rows.map(({ type }) => type))
  assert.ok(types.size > 25, [...types].sort().join(' '))
  const without = rows.filter(({ request_id }) => request_id === null)
  assert.deepEqual([...new Set(without.map(({ type }) => type))].sort(), [])
})

const csrfOf = (text: string) => /name="csrf" value="([^"]+)"/.exec(text)?.[1]
