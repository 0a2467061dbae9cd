// One ID-JAG is for one relying app, and one app knows a user by one name, before and after an end.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import { TOKEN_TYPE, TYP } from '../../src/oauth/names.ts'
import { openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import { entitle, newAgent, newAudience, type Story, tellStory } from '../support/story.ts'

const house = await openHouse({ after })
const { db } = house.deps

const jwtOf = ({ status, text, body }: Awaited<ReturnType<Story['exchange']>>): string => {
  assert.equal(status, 200, text)
  return body.access_token
}

test('an ID-JAG is for one app: no other may take it, and it buys no second one (FL-03)', async () => {
  const story = await tellStory(house)
  const second = await newAudience(house, { issuer: 'https://second.example' })
  await entitle(house, story.agent, second)
  await story.delegate()
  await story.delegate({ audience_id: second.id })
  const idJag = jwtOf(await story.exchange())
  const { body: jwks } = await house.inject({ method: 'GET', url: '/.well-known/jwks.json' })
  const verifyAs = (audience: string) =>
    jwtVerify(idJag, createLocalJWKSet(jwks), {
      audience,
      typ: TYP.idJag,
      currentDate: house.clock.now,
    })
  await verifyAs(story.audience.issuer)
  await assert.rejects(verifyAs(second.issuer), /aud/)

  const again = { audience: second.issuer, subject_token: idJag }
  for (const [subject_token_type, refusal] of [
    [TOKEN_TYPE.idJag, [400, 'invalid_request', null]],
    [TOKEN_TYPE.jwt, [400, 'invalid_request', null]],
    [TOKEN_TYPE.idToken, [400, 'invalid_grant', 'bad_subject_token']],
    [TOKEN_TYPE.refreshToken, [400, 'invalid_grant', 'bad_subject_token']],
  ] as const) {
    await assertRefusal(house, () => story.exchange({ ...again, subject_token_type }), refusal)
  }
  const own = decodeJwt(jwtOf(await story.exchange({ audience: second.issuer })))
  assert.equal(own.aud, second.issuer)
  assert.notEqual(own.jti, decodeJwt(idJag).jti)
})

/** Ends the delegation, and has it allowed anew on the consent page. */
async function allowAnew(story: Story, end: () => Promise<unknown>): Promise<void> {
  await end()
  const refused = await story.exchange()
  assert.equal(refused.body.error, 'interaction_required', refused.text)
  const page = await story.browser.get(new URL(refused.body.interaction_uri).pathname)
  const choice = { decision: 'allow', mode: 'always', scope: 'docs.read' }
  const { status, text } = await story.browser.submit(page, choice)
  assert.equal(status, 200, text)
}

for (const subject_type of ['public', 'pairwise'] as const) {
  test(`after an end, what is allowed anew is for the same ${subject_type} sub (GR-10, IJ-34)`, async () => {
    const story = await tellStory(house, { audience: { subject_type } })
    const first = await story.delegate()
    const sub = decodeJwt(jwtOf(await story.exchange())).sub

    await allowAnew(story, () => house.admin('DELETE', `/delegations/${first.id}`))
    assert.equal(decodeJwt(jwtOf(await story.exchange())).sub, sub)

    const audience_id = story.audience.id
    await allowAnew(story, () =>
      house.admin('POST', '/revocations', { audience_id, reason: 'leak' }),
    )
    assert.equal(decodeJwt(jwtOf(await story.exchange())).sub, sub)
  })

  test(`whoever acts for a user, one app is told one ${subject_type} sub, and it is kept (IJ-34)`, async () => {
    const story = await tellStory(house, { audience: { subject_type } })
    const other = await newAgent(house, story.owner)
    await entitle(house, other, story.audience)
    await story.delegate()
    await story.delegate({ agent_id: other.id })
    const own = decodeJwt(jwtOf(await story.exchange()))
    const { id_token } = await story.signIn(other)
    const theirs = decodeJwt(jwtOf(await story.exchange({ subject_token: id_token }, other)))
    assert.equal(theirs.sub, own.sub)
    // What a revocation is told by: it has to be found when the user, the audience or the agent is gone.
    const kept = await db
      .selectFrom('delegations')
      .select('sub_asserted')
      .where('user_id', '=', story.user.id)
      .where('audience_id', '=', story.audience.id)
      .execute()
    assert.deepEqual(kept, [{ sub_asserted: own.sub }, { sub_asserted: own.sub }])
  })
}
