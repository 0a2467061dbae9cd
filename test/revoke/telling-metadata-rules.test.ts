// An agent that comes by a rule for its URL, when that rule ends: it is refused, and the apps where it acted are told
// (GR-07, DS-43).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openClientSite } from '../support/client-site.ts'
import { openHouse } from '../support/house.ts'
import { entitle, tellStory } from '../support/story.ts'
import { ENDPOINT, scenes } from './minted.ts'

const house = await openHouse({ after })
const { mint, eventsAt, arrive, act } = scenes(house)
const site = await openClientSite({ after })

/** A client that a rule for its URL lets come has an ID-JAG on the way to an app. */
async function came(audience = {}) {
  const story = await tellStory(house, { audience: { events_endpoint: ENDPOINT, ...audience } })
  const client = await site.publish()
  const allow = (members: object) =>
    act('POST', '/client-metadata-rules', {
      owner_id: story.owner.id,
      purpose: 'plans',
      agent_expires_at: new Date(house.clock.now.getTime() + 86_400_000).toISOString(),
      ...members,
    })
  const rule = await allow({ url: client.url })
  client.id = rule.agent_id
  await entitle(house, client, story.audience, { client_id: undefined })
  await story.delegate({ agent_id: client.id })
  const { id_token } = await story.signIn(client)
  await mint(story, client, id_token)
  return { story, client, rule, id_token, allow }
}
const end = ({ id }: { id: string }) => act('DELETE', `/client-metadata-rules/${id}`)

test('the app is told when the rule that let an agent come ends, and a new rule takes it back (GR-07)', async () => {
  const { story, client, rule, id_token, allow } = await came()
  await end(rule)
  const [event, ...more] = await eventsAt(story)
  assert.deepEqual(
    [event?.cause, event?.sub, more],
    ['client_metadata_rule_ended', story.user.id, []],
  )
  await end(rule)
  assert.equal((await eventsAt(story)).length, 1, 'once')
  const exchange = () => story.exchange({ subject_token: id_token }, client)
  assert.equal((await exchange()).status, 401)
  await allow({ url: client.url })
  assert.equal((await exchange()).status, 503, 'while it waits')
  await arrive(story)
  assert.equal((await exchange()).status, 200)
})

test('nobody is told while another rule lets the agent come', async () => {
  const { story, rule, client, id_token, allow } = await came()
  const host = await allow({ host: site.host })
  await end(rule)
  assert.deepEqual(await eventsAt(story), [])
  await mint(story, client, id_token)
  await end(host)
  assert.equal((await eventsAt(story)).length, 1)
})

test('it is told at once where the last ending is waited for: no delegation ends that could be the last (GR-08)', async () => {
  const { story, client, rule, id_token, allow } = await came({ notify_when: 'last' })
  await end(rule)
  const events = await eventsAt(story)
  assert.deepEqual(
    events.map(({ cause, sub }) => [cause, sub]),
    [['client_metadata_rule_ended', story.user.id]],
  )
  await arrive(story)
  await allow({ url: client.url })
  await mint(story, client, id_token)
})
