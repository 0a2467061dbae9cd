import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openHouse } from '../support/house.ts'
import { entitle, tellStory } from '../support/story.ts'

const house = await openHouse({ after })

/** Consents to what the refusal of an exchange asked, as its user. */
async function allowOnce(story: Awaited<ReturnType<typeof tellStory>>, scope: string) {
  const asked = await story.exchange({ scope })
  assert.equal(asked.body.error, 'interaction_required', asked.text)
  const page = await story.browser.get(new URL(asked.body.interaction_uri).pathname)
  const decided = await story.browser.submit(page, { decision: 'allow', mode: 'once', scope })
  assert.ok(decided.status < 400, decided.text)
}

test('what a user narrowed by a consent of their own is not widened again by a policy mint', async () => {
  const of = { consent: 'admin', scopes: ['docs.read'] }
  const story = await tellStory(house, { entitlement: of })
  await story.signIn()
  assert.equal((await story.exchange()).status, 200)
  // Narrowed by hand, so that the user is asked; the answer replaces it and is spent by one mint.
  const policy = await house.admin('GET', `/delegations?user_id=${story.user.id}`)
  const replaced = policy.body.data[0]
  await house.deps.db
    .updateTable('delegations')
    .set({ scopes: [] })
    .where('id', '=', replaced.id)
    .execute()
  await allowOnce(story, 'docs.read')
  assert.equal((await story.exchange()).status, 200)

  const again = await story.exchange()
  assert.equal(again.body.error, 'interaction_required', again.text)
  const { body } = await house.admin('GET', `/delegations?user_id=${story.user.id}`)
  const listed: { source: string; status: string }[] = body.data
  assert.deepEqual(listed.map(({ source, status }) => `${source} ${status}`).sort(), [
    'policy revoked',
    'user consumed',
  ])

  // A later entitlement begins anew.
  await house.admin('DELETE', `/agents/${story.agent.id}/entitlements/${story.audience.id}`)
  house.wait(1)
  await entitle(house, story.agent, story.audience, of)
  assert.equal((await story.exchange()).status, 200)
})

test('a consent of the user that came before any policy delegation bars none', async () => {
  const story = await tellStory(house, { entitlement: { consent: 'user' } })
  await story.signIn()
  await allowOnce(story, 'docs.read')
  assert.equal((await story.exchange()).status, 200)
  house.wait(1)
  await entitle(house, story.agent, story.audience, { consent: 'admin' })
  assert.equal((await story.exchange()).status, 200)
})

test('an entitlement renewed in the moment in which it is found run out makes delegations anew', async () => {
  const of = { consent: 'admin', scopes: ['docs.read'] }
  const end = new Date(house.clock.now.getTime() + 3_600_000)
  const story = await tellStory(house, { entitlement: { ...of, expires_at: end.toISOString() } })
  await story.signIn()
  assert.equal((await story.exchange()).status, 200)
  await story.delegate({ mode: 'always' })
  house.clock.now = end
  await story.signIn()
  assert.equal((await story.exchange()).body.error, 'invalid_target')
  await entitle(house, story.agent, story.audience, of)
  assert.equal((await story.exchange()).status, 200)
})

test('what was asked under an entitlement that ran out is not answered under its successor', async () => {
  const end = new Date(house.clock.now.getTime() + 60_000)
  const story = await tellStory(house, { entitlement: { expires_at: end.toISOString() } })
  const asked = await story.exchange()
  const page = await story.browser.get(new URL(asked.body.interaction_uri).pathname)
  house.clock.now = end
  await entitle(house, story.agent, story.audience)
  await story.browser.submit(page, { decision: 'allow', mode: 'always', scope: 'docs.read' })
  const { body } = await house.admin('GET', `/delegations?user_id=${story.user.id}`)
  assert.deepEqual(body.data, [])
  const again = await story.exchange()
  assert.equal(again.body.error, 'interaction_required', again.text)
  assert.notEqual(again.body.interaction_uri, asked.body.interaction_uri)
})
