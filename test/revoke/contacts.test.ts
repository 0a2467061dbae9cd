// A new address is asked about where services find accounts by it (IJ-38).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { replacedContacts } from '../../src/users/contact.ts'
import { openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import { type Story, tellStory } from '../support/story.ts'

const house = await openHouse({ after })

/** A story whose user has said yes on the consent page. */
async function allowed(audience: object, user: object = {}) {
  const story = await tellStory(house, { audience, user })
  await story.signIn()
  await allow(story, (await story.exchange()).body)
  return story
}

async function allow(story: Story, { interaction_uri }: { interaction_uri: string }) {
  const page = await story.browser.get(new URL(interaction_uri).pathname)
  const choice = { decision: 'allow', mode: 'always', scope: 'docs.read' }
  const decided = await story.browser.submit(page, choice)
  assert.equal(decided.status, 200, decided.text)
  return page.text
}

async function told(story: Story) {
  const answer = await story.exchange()
  assert.equal(answer.status, 200, answer.text)
  const { sub, email, phone_number } = decodeJwt(answer.body.access_token)
  return { sub, email, phone_number }
}

let count = 0
const newAddress = () => `moved-${++count}@orbit.example`
async function change({ user }: Story, body: object) {
  const answer = await house.admin('PATCH', `/users/${user.id}`, body)
  assert.equal(answer.status, 200, answer.text)
}
const claimsOf = async ({ user }: Story) =>
  (await house.admin('GET', `/delegations?user_id=${user.id}&status=active`)).body.data[0].claims
const asked = (story: Story) =>
  assertRefusal(house, () => story.exchange(), [
    400,
    'interaction_required',
    'claims_not_delegated',
  ])

for (const profile of ['authmd-0.1', 'authmd-0.2', 'authmd-head']) {
  test(`a new e-mail address is asked about before an ${profile} audience is told; the sub stays (IJ-38)`, async () => {
    const story = await allowed({ profile })
    const before = await told(story)
    assert.equal(before.email, story.user.email)
    const email = newAddress()
    await change(story, { email, email_verified: true })
    assert.deepEqual(await claimsOf(story), ['phone'])
    const page = await allow(story, (await asked(story)).body)
    assert.ok(page.includes(`Your e-mail address: ${email}`))
    assert.deepEqual(await told(story), { ...before, email })
  })
}

test('a new address changes nothing at a plain audience, which is told it, for the same sub', async () => {
  const story = await allowed({ claims: ['email'] })
  const before = await told(story)
  assert.equal(before.email, story.user.email)
  const email = newAddress()
  await change(story, { email, email_verified: true })
  assert.deepEqual(await told(story), { ...before, email })
})

test('a new phone number is asked about likewise, and an address that was not changed is still told', async () => {
  const phone = { phone_number: '+33612345678', phone_number_verified: true }
  const story = await allowed({ profile: 'authmd-0.2' }, phone)
  const before = await told(story)
  assert.equal(before.phone_number, phone.phone_number)
  await change(story, { phone_number: '+33612345679' })
  assert.deepEqual(await told(story), { ...before, phone_number: undefined })
  await change(story, { phone_number_verified: true })
  await asked(story)
})

test('taken away and given anew, or changed before it is verified, an address is asked about', async () => {
  const steps = [
    [{ email: null }, (email: string) => ({ email, email_verified: true })],
    [{ email_verified: false }, (email: string) => ({ email, email_verified: true })],
    [{ email: newAddress() }, () => ({ email_verified: true })],
  ] as const
  for (const [first, second] of steps) {
    const story = await allowed({ profile: 'authmd-0.2' })
    await change(story, first)
    await change(story, second(newAddress()))
    await asked(story)
  }
})

test('what is not another address asks nobody', async () => {
  const story = await allowed({ profile: 'authmd-0.2' })
  await change(story, { name: 'Kim R.', phone_number: '+33612345670', phone_number_verified: true })
  const email = story.user.email.toUpperCase()
  await change(story, { email, email_verified: true })
  assert.deepEqual(await told(story), {
    sub: story.user.id,
    email,
    phone_number: '+33612345670',
  })
})

for (const source of ['admin', 'policy']) {
  test(`what was allowed by ${source} follows the administrator who changed the address`, async () => {
    const story = await tellStory(house, {
      audience: { profile: 'authmd-0.2' },
      entitlement: { consent: source === 'policy' ? 'admin' : 'user' },
    })
    if (source === 'admin') await story.delegate()
    const before = await told(story)
    const email = newAddress()
    await change(story, { email, email_verified: true })
    assert.deepEqual(await told(story), { ...before, email })
  })
}

test('the log says which claims were withdrawn, from which delegation, and no address', async () => {
  const story = await allowed({ profile: 'authmd-0.2' })
  const email = newAddress()
  await change(story, { email, email_verified: true })
  const [delegation] = (await house.admin('GET', `/delegations?user_id=${story.user.id}`)).body.data
  const events = await house.deps.db
    .selectFrom('audit_events')
    .selectAll()
    .where('type', '=', 'delegation.updated')
    .where('user_id', '=', story.user.id)
    .execute()
  assert.equal(events.length, 1)
  const [event] = events
  assert.equal(event?.delegation_id, delegation.id)
  assert.equal(event?.audience_id, story.audience.id)
  assert.equal(event?.actor_kind, 'admin')
  assert.deepEqual(event?.detail, { by: 'contact_changed', claims_withdrawn: ['email'] })
  assert.doesNotMatch(JSON.stringify(events), /orbit\.example/)
})

test('which contacts were replaced', () => {
  const none = { email: null, phone_number: null }
  const some = { email: 'kim@orbit.example', phone_number: '+33612345678' }
  assert.deepEqual(replacedContacts(none, some), [])
  assert.deepEqual(replacedContacts(some, some), [])
  assert.deepEqual(replacedContacts(some, none), ['email', 'phone'])
  assert.deepEqual(replacedContacts(some, { ...some, email: 'KIM@orbit.example' }), [])
  assert.deepEqual(replacedContacts(some, { ...some, email: 'lee@orbit.example' }), ['email'])
  assert.deepEqual(replacedContacts(some, { ...some, phone_number: '+33612345679' }), ['phone'])
})
