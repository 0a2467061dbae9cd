// What stands in the way whatever the user says, and what an audience demands of the sign-in and the key.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import { type Story, tellStory } from '../support/story.ts'

const house = await openHouse({ after })
/** Told up to where the user has signed in. */
async function newStory(options: Parameters<typeof tellStory>[1] = {}): Promise<Story> {
  const story = await tellStory(house, options)
  await story.signIn()
  return story
}

const DENIED: [number, string, string] = [400, 'access_denied', 'denied_by_rule']

async function block(members: object) {
  const { status, text, body } = await house.admin('POST', '/blocks', {
    reason: 'under review',
    ...members,
  })
  assert.equal(status, 201, text)
  return body.id as string
}

const named: [string, (story: Story) => object][] = [
  ['the user', ({ user }) => ({ user_id: user.id })],
  ['the agent', ({ agent }) => ({ agent_id: agent.id })],
  ['the audience', ({ audience }) => ({ audience_id: audience.id })],
  ['user and agent', ({ user, agent }) => ({ user_id: user.id, agent_id: agent.id })],
  ['user and audience', ({ user, audience }) => ({ user_id: user.id, audience_id: audience.id })],
  [
    'agent and audience',
    ({ agent, audience }) => ({ agent_id: agent.id, audience_id: audience.id }),
  ],
  [
    'all three',
    ({ user, agent, audience }) => ({
      user_id: user.id,
      agent_id: agent.id,
      audience_id: audience.id,
    }),
  ],
]

for (const [what, members] of named) {
  test(`a block of ${what} forbids, whatever the user said, until it ends (TX-16, TV-73)`, async () => {
    const story = await newStory()
    await story.delegate()
    assert.equal((await story.exchange()).status, 200)
    const id = await block(members(story))
    await assertRefusal(house, () => story.exchange(), DENIED)
    assert.equal((await house.admin('DELETE', `/blocks/${id}`)).status, 204)
    assert.equal((await story.exchange()).status, 200, 'the delegation is as it was')
  })
}

test('a block forbids nothing that it does not name (TX-16)', async () => {
  const story = await newStory()
  const other = await newStory()
  await story.delegate()
  for (const members of [
    { user_id: other.user.id },
    { agent_id: other.agent.id },
    { audience_id: other.audience.id },
    { user_id: story.user.id, agent_id: other.agent.id },
    { user_id: story.user.id, audience_id: other.audience.id },
    { agent_id: story.agent.id, audience_id: other.audience.id },
    { user_id: other.user.id, agent_id: story.agent.id, audience_id: story.audience.id },
  ]) {
    await block(members)
  }
  assert.equal((await story.exchange()).status, 200)
})

test('a block holds until its end, and the longest of several counts (TX-16)', async () => {
  const story = await newStory()
  await story.delegate()
  const until = (seconds: number) => new Date(house.clock.now.getTime() + seconds * 1000)
  await block({ user_id: story.user.id, expires_at: until(60).toISOString() })
  await block({ agent_id: story.agent.id, expires_at: until(120).toISOString() })
  house.wait(119)
  await assertRefusal(house, () => story.exchange(), DENIED)
  house.wait(1)
  assert.equal((await story.exchange()).status, 200)
  await block({ user_id: story.user.id })
  await block({ user_id: story.user.id, expires_at: until(60).toISOString() })
  house.wait(61)
  await assertRefusal(house, () => story.exchange(), DENIED)
})

test('a block asks no user, and makes no policy delegation (TX-60)', async () => {
  const story = await newStory()
  await block({ agent_id: story.agent.id })
  const answer = await assertRefusal(house, () => story.exchange(), DENIED)
  assert.equal('interaction_uri' in answer.body, false)
  const byPolicy = await newStory({ entitlement: { consent: 'admin' } })
  await block({ agent_id: byPolicy.agent.id })
  await assertRefusal(house, () => byPolicy.exchange(), DENIED)
  const query = `agent_id=${byPolicy.agent.id}`
  assert.deepEqual((await house.admin('GET', `/delegations?${query}`)).body.data, [])
})

test('a wrong target or scope is told before a block (TX-60)', async () => {
  const story = await newStory()
  await block({ agent_id: story.agent.id })
  await assertRefusal(house, () => story.exchange({ audience: 'https://nowhere.example' }), [
    400,
    'invalid_target',
    'unknown_audience',
  ])
  await assertRefusal(house, () => story.exchange({ scope: 'admin' }), [
    400,
    'invalid_scope',
    'scope_not_in_catalogue',
  ])
})

test('an audience that asks for stronger sign-ins says which, and how fresh (TX-50)', async () => {
  const story = await newStory({
    audience: { acr_values: ['phr', 'phrh'], max_auth_age: 3600 },
  })
  await story.delegate()
  const answer = await assertRefusal(house, () => story.exchange(), [
    400,
    'insufficient_user_authentication',
    'weak_authentication',
  ])
  assert.equal(answer.body.acr_values, 'phr phrh')
  assert.equal('max_age' in answer.body, false)
  const { refresh_token } = await story.signIn()
  house.wait(3301)
  const stale = await story.exchange({
    subject_token: refresh_token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:refresh_token',
  })
  assert.equal(stale.body.error, 'insufficient_user_authentication', stale.text)
  assert.equal(stale.body.acr_values, 'phr phrh')
  assert.equal(stale.body.max_age, 3300)
})

test('an audience that takes key-bound assertions alone says so to a request without proof (DP-08)', async () => {
  const story = await newStory({ audience: { dpop_required: true } })
  await story.delegate()
  await assertRefusal(house, () => story.exchange(), [400, 'invalid_request', 'dpop_required'])
  await assertRefusal(house, () => story.exchange({ scope: 'admin' }), [
    400,
    'invalid_scope',
    'scope_not_in_catalogue',
  ])
})

test('a request that is refused all the same makes no policy delegation (TX-60)', async () => {
  const story = await newStory({
    entitlement: { consent: 'admin' },
    audience: { acr_values: ['phr'] },
  })
  const weak = [400, 'insufficient_user_authentication', 'weak_authentication'] as const
  // assertRefusal sees to it that no delegation is left.
  await assertRefusal(house, () => story.exchange(), weak)
  const { id } = await story.delegate()
  await house.admin('DELETE', `/delegations/${id}`)
  // Stopped, it is the user who has to be asked, and that comes first.
  await assertRefusal(house, () => story.exchange(), [
    400,
    'interaction_required',
    'delegation_revoked',
  ])
})
