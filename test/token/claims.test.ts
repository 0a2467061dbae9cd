// What a relying app is told of a user, and that somebody allowed it.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { type Answer, openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import { entitle, type Story, tellStory } from '../support/story.ts'

const house = await openHouse({ after })

/** Of an ID-JAG, all that it says of the user beside `sub`. */
function told(answer: Answer) {
  assert.equal(answer.status, 200, answer.text)
  const names = ['email', 'phone_number', 'name', 'tenant', 'act']
  const claims: Record<string, unknown> = decodeJwt(answer.body.access_token)
  return Object.fromEntries(Object.entries(claims).filter(([name]) => names.includes(name)))
}

const wants = async (story: Story, claims: string[]) => {
  const answer = await house.admin('PATCH', `/audiences/${story.audience.id}`, { claims })
  assert.equal(answer.status, 200, answer.text)
}

/** The refusal of an exchange for want of the user's word. */
const asked = (story: Story, reason: string) =>
  assertRefusal(house, () => story.exchange(), [400, 'interaction_required', reason])

/** Answers as the user, at the page that a refusal leads to; gives the text of that page. */
async function allow(story: Story, refused: Answer) {
  const page = await story.browser.get(new URL(refused.body.interaction_uri).pathname)
  assert.equal(page.status, 200, page.text)
  const choice = { decision: 'allow', mode: 'always', scope: 'docs.read' }
  const decided = await story.browser.submit(page, choice)
  assert.equal(decided.status, 200, decided.text)
  return page.text
}

const liveClaims = async (story: Story) => {
  const query = `user_id=${story.user.id}&status=active`
  return (await house.admin('GET', `/delegations?${query}`)).body.data[0].claims
}

test('a claim that the app asks for later is shown to the user before it leaves', async () => {
  const story = await tellStory(house, { audience: { claims: ['name'] } })
  await story.signIn()
  await allow(story, await asked(story, 'no_delegation'))
  assert.deepEqual(told(await story.exchange()), { name: 'Kim' })
  assert.deepEqual(await liveClaims(story), ['name'])

  await wants(story, ['name', 'email', 'act'])
  const page = await allow(story, await asked(story, 'claims_not_delegated'))
  assert.ok(page.includes(`Your e-mail address: ${story.user.email}`))
  assert.deepEqual(told(await story.exchange()), {
    name: 'Kim',
    email: story.user.email,
    act: { sub: story.agent.id },
  })
  assert.deepEqual(await liveClaims(story), ['email', 'name', 'act'])
})

test('a claim that the app asks for no more does not leave, and asking again for it asks nobody', async () => {
  const story = await tellStory(house, { audience: { claims: ['name', 'email'] } })
  await story.signIn()
  await allow(story, await asked(story, 'no_delegation'))
  await wants(story, ['email'])
  assert.deepEqual(told(await story.exchange()), { email: story.user.email })
  await wants(story, ['email', 'name'])
  assert.deepEqual(told(await story.exchange()), { email: story.user.email, name: 'Kim' })
})

test('an address that is verified later leaves if the page named it, and is asked about if it did not', async () => {
  const story = await tellStory(house, {
    user: { email_verified: false, name: undefined },
    audience: { claims: ['email', 'name'] },
  })
  await story.signIn()
  const page = await allow(story, await asked(story, 'no_delegation'))
  assert.ok(page.includes('Your e-mail address, as soon as one is verified'))
  assert.ok(page.includes('Your name, as soon as it is known here'))
  assert.deepEqual(told(await story.exchange()), {})

  const user = `/users/${story.user.id}`
  await wants(story, ['email', 'name', 'phone'])
  // Nothing would leave that the user was not shown: nobody is asked.
  assert.deepEqual(told(await story.exchange()), {})
  await house.admin('PATCH', user, { email_verified: true })
  assert.deepEqual(told(await story.exchange()), { email: story.user.email })
  await house.admin('PATCH', user, { phone_number: '+33612345678', phone_number_verified: true })
  const again = await allow(story, await asked(story, 'claims_not_delegated'))
  assert.ok(again.includes('Your phone number: +33612345678'))
  assert.equal(told(await story.exchange()).phone_number, '+33612345678')
})

for (const source of ['admin', 'policy'] as const) {
  test(`what was allowed by ${source} tells what the app asked for then, until it is allowed anew`, async () => {
    const consent = source === 'policy' ? 'admin' : 'user'
    const story = await tellStory(house, {
      audience: { claims: ['name'] },
      entitlement: { consent },
    })
    await story.signIn()
    if (source === 'admin') await story.delegate()
    assert.deepEqual(told(await story.exchange()), { name: 'Kim' })
    await wants(story, ['name', 'email'])
    assert.deepEqual(told(await story.exchange()), { name: 'Kim' })
    assert.deepEqual(await liveClaims(story), ['name'])

    if (source === 'admin') await story.delegate()
    else {
      await house.admin('DELETE', `/agents/${story.agent.id}/entitlements/${story.audience.id}`)
      house.wait(1)
      await entitle(house, story.agent, story.audience, { consent })
    }
    assert.deepEqual(told(await story.exchange()), { name: 'Kim', email: story.user.email })
  })
}

test('an auth.md app is told the contacts that its profile implies, and the delegation says so', async () => {
  for (const consent of ['user', 'admin']) {
    const story = await tellStory(house, {
      audience: { profile: 'authmd-0.2' },
      entitlement: { client_id: undefined, consent },
    })
    await story.signIn()
    if (consent === 'user') await allow(story, await asked(story, 'no_delegation'))
    assert.deepEqual(told(await story.exchange()), { email: story.user.email })
    assert.deepEqual(await liveClaims(story), ['email', 'phone'])
  }
})
