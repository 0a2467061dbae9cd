// Agents that act for others, when they are stopped: what they had a part in is told of, nothing is minted with them
// while that is on its way, and nobody is permitted to act any more (rule 4, GR-07, EV-14, TX-19).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { TOKEN_TYPE } from '../../src/oauth/names.ts'
import { openHouse } from '../support/house.ts'
import { clientAssertion, newAgent, newUser, type StoryAgent, tellStory } from '../support/story.ts'
import { ENDPOINT, scenes } from './minted.ts'

const house = await openHouse({ after })
const { eventsAt, arrive, act, revoke } = scenes(house)

/** An agent of somebody else has acted for the client of a mint. */
async function acted({ audience = {}, user = {} } = {}) {
  const story = await tellStory(house, {
    user,
    audience: { events_endpoint: ENDPOINT, ...audience },
  })
  await story.delegate()
  await story.signIn()
  const boss = await newUser(house, user)
  const actor = await newAgent(house, boss)
  const permit = async (members = {}) =>
    (await act('POST', '/actor-permissions', {
      ...{ agent_id: story.agent.id, actor_id: actor.id },
      ...members,
    })) as { id: string }
  const token = (of: StoryAgent, claims = {}) =>
    clientAssertion(house, of, {
      client_id: story.agent.client_id,
      ...claims,
      header: { typ: 'actor-token+jwt' },
    })
  const withToken = (actor_token: string) =>
    story.exchange({ actor_token, actor_token_type: TOKEN_TYPE.jwt })
  const withActor = async () => withToken(await token(actor))
  const permission = await permit()
  const answer = await withActor()
  assert.equal(answer.status, 200, answer.text)
  house.wait(1)
  return { story, boss, actor, permission, permit, token, withToken, withActor }
}

const explain = async ({ story, actor }: Awaited<ReturnType<typeof acted>>) =>
  act('POST', '/explain', {
    ...{ agent_id: story.agent.id, user_id: story.user.id, audience: story.audience.issuer },
    ...{ scope: 'docs.read', actor_id: actor.id },
  })

for (const event_names_agent of [true, false]) {
  const which = event_names_agent ? 'one that is told of the agent' : 'one that is told of all'
  test(`with an actor that was revoked nothing is minted while its event waits, at ${which} (EV-14)`, async () => {
    const scene = await acted({ audience: { event_names_agent } })
    const revoked = await revoke({ agent_id: scene.actor.id })
    assert.equal(revoked.events_queued, 1)
    const [event] = await eventsAt(scene.story)
    assert.equal(event?.agent_id, event_names_agent ? scene.actor.id : null)
    // Somebody permits it again at once: still the late event would end what is minted now.
    await scene.permit()
    const answer = await scene.withActor()
    assert.deepEqual([answer.status, answer.body.error], [503, 'temporarily_unavailable'])
    assert.match(String(answer.headers['retry-after']), /^[1-9]\d?$/)
    const why = await explain(scene)
    assert.deepEqual([why.reason, why.missing[0].record], ['revocation_pending', event?.id])
    assert.equal((await scene.story.exchange()).status, event_names_agent ? 200 : 503)
    await arrive(scene.story)
    assert.equal((await scene.withActor()).status, 200)
  })
}

test('an event about an actor that is queued while the ID-JAG is signed keeps it from being recorded (EV-14)', async () => {
  const scene = await acted({ audience: { event_names_agent: true } })
  await revoke({ agent_id: scene.actor.id })
  await arrive(scene.story)
  await scene.permit()
  const { keys } = house.deps
  const { sign } = keys
  keys.sign = async (...what) => {
    keys.sign = sign
    await house.deps.db
      .updateTable('event_deliveries')
      .set({ status: 'queued', delivered_at: null, next_attempt_at: house.clock.now })
      .where('audience_id', '=', scene.story.audience.id)
      .execute()
    return sign(...what)
  }
  assert.equal((await scene.withActor()).status, 503)
  assert.equal(keys.sign, sign, 'it came so far')
})
