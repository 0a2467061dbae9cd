// What an audience's record means for the ID-JAGs that are made for it.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { type Answer, openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import { type Story, tellStory } from '../support/story.ts'

const house = await openHouse({ after })

function claimsOf(answer: Answer): Record<string, unknown> {
  assert.equal(answer.status, 200, answer.text)
  return decodeJwt(answer.body.access_token)
}
const patch = async (audience: { id: string }, body: object) => {
  const answer = await house.admin('PATCH', `/audiences/${audience.id}`, body)
  assert.equal(answer.status, 200, answer.text)
}
const account = ({ user, audience }: Story, body: object) =>
  house.admin('PUT', `/users/${user.id}/audience-accounts/${audience.id}`, body)

test('an alias asks for an audience, and the aud is its issuer (TX-06)', async () => {
  const aliases = ['urn:example:paperclip', 'https://paperclip.example']
  const story = await tellStory(house, { audience: { aliases } })
  await story.delegate()
  for (const audience of [...aliases, story.audience.issuer]) {
    assert.equal(claimsOf(await story.exchange({ audience })).aud, story.audience.issuer)
  }
  // Aliases are compared as they are: no slash more or less.
  for (const audience of ['URN:example:paperclip', 'https://paperclip.example/']) {
    const refused = [400, 'invalid_target', 'unknown_audience'] as const
    await assertRefusal(house, () => story.exchange({ audience }), [...refused])
  }
})

test('an alias that changes hands leads to its new audience from then on', async () => {
  const alias = 'urn:example:moving'
  const [first, second] = [
    await tellStory(house, { audience: { aliases: [alias] } }),
    await tellStory(house),
  ]
  await first.delegate()
  await second.delegate()
  assert.equal(claimsOf(await first.exchange({ audience: alias })).aud, first.audience.issuer)
  await patch(first.audience, { aliases: [] })
  await patch(second.audience, { aliases: [alias] })
  assert.equal(claimsOf(await second.exchange({ audience: alias })).aud, second.audience.issuer)
  const stranger = () => first.exchange({ audience: alias })
  await assertRefusal(house, stranger, [400, 'invalid_target', 'no_entitlement'])
})

test('one alias in two tenants means an audience in each', async () => {
  const alias = 'urn:example:everywhere'
  const story = await tellStory(house, { audience: { aliases: [alias] } })
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
  const there = { tenant_id: tenant.id }
  const answer = await house.admin('POST', '/audiences', {
    ...there,
    issuer: 'https://elsewhere.example',
    name: 'Elsewhere',
    profile: 'idjag',
    resources: [],
    aliases: [alias],
  })
  assert.equal(answer.status, 201, answer.text)
  await story.delegate()
  assert.equal(claimsOf(await story.exchange({ audience: alias })).aud, story.audience.issuer)
})

test('the account there is told to an audience that asks for it, and no other (IJ-36, IJ-10)', async () => {
  const story = await tellStory(house, { audience: { claims: ['aud_sub', 'aud_tenant'] } })
  const told = async () => {
    const { aud_sub, aud_tenant } = claimsOf(await story.exchange())
    return { aud_sub, aud_tenant }
  }
  const nothing = { aud_sub: undefined, aud_tenant: undefined }
  await story.delegate()
  assert.deepEqual(await told(), nothing)
  await account(story, { aud_sub: 'kim-1027' })
  assert.deepEqual(await told(), { aud_sub: 'kim-1027', aud_tenant: undefined })
  await account(story, { aud_sub: 'kim-1028', aud_tenant: 'orbit' })
  assert.deepEqual(await told(), { aud_sub: 'kim-1028', aud_tenant: 'orbit' })
  await patch(story.audience, { claims: [] })
  assert.deepEqual(await told(), nothing)
  await patch(story.audience, { claims: ['aud_tenant'] })
  assert.deepEqual(await told(), { aud_sub: undefined, aud_tenant: 'orbit' })
  await house.admin('DELETE', `/users/${story.user.id}/audience-accounts/${story.audience.id}`)
  assert.deepEqual(await told(), nothing)
})
