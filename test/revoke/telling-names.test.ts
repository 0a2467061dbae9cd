// By which name an app that is told of one agent is told of it: a wrong one would spare what was given (EV-02, GR-07).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { reaches } from '../../src/relying-app/revocation.ts'
import { openHouse } from '../support/house.ts'
import { entitle, newAudience } from '../support/story.ts'
import { ENDPOINT, type Minted, scenes } from './minted.ts'

const house = await openHouse({ after })
const { minted, mint, eventsAt, arrive, act, revoke } = scenes(house)

/** Somebody's ID-JAG from before their app could be told of one agent: it does not say who acts. */
async function mintedBefore(): Promise<Minted> {
  const story = await minted({ audience: { event_names_agent: false } })
  await act('PATCH', `/audiences/${story.audience.id}`, { event_names_agent: true })
  house.wait(60)
  return story
}

/** What the event says of the agent, and whether it reaches the ID-JAG from before. */
async function toldOf(story: Minted) {
  const events = await eventsAt(story)
  const { sub, aud, iss, iat, events: said } = decodeJwt(events.at(-1)?.jws ?? '') as Told
  const [{ 'urn:agent-idp:agent': agent }] = Object.values(said) as [
    { 'urn:agent-idp:agent': Agent },
  ]
  const basis = { iss, sub, iat: iat - 120, client_id: 'client-at-paperclip' }
  return [agent, reaches({ iss, sub, aud, agent, revoked_at: iat }, basis)]
}
type Agent = { sub: string; client_id?: string }
type Told = { sub: string; aud: string; iss: string; iat: number; events: object }

const rename = ({ agent, audience }: Minted, client_id: string) =>
  entitle(house, agent, audience, { client_id })
const unentitle = ({ agent, audience }: Minted) =>
  act('DELETE', `/agents/${agent.id}/entitlements/${audience.id}`)

test('the name is that of the entitlement, whatever else of it has changed', async () => {
  const story = await mintedBefore()
  await entitle(house, story.agent, story.audience, { scopes: ['docs.read'] })
  await revoke({ agent_id: story.agent.id })
  const agent = { sub: story.agent.id, client_id: 'client-at-paperclip' }
  assert.deepEqual(await toldOf(story), [agent, true])
})

test('an agent that was renamed since it minted is told of without its name there', async () => {
  const story = await mintedBefore()
  await rename(story, 'another-name')
  house.wait(60)
  await revoke({ agent_id: story.agent.id })
  assert.deepEqual(await toldOf(story), [{ sub: story.agent.id }, true])
})

test('so is one that was renamed and has minted since', async () => {
  const story = await mintedBefore()
  await rename(story, 'another-name')
  house.wait(60)
  await mint(story)
  await revoke({ agent_id: story.agent.id })
  assert.deepEqual(await toldOf(story), [{ sub: story.agent.id }, true])
})

test('so is one whose entitlement was ended and made anew under another name', async () => {
  const story = await mintedBefore()
  await unentitle(story)
  await arrive(story, 'failed')
  house.wait(60)
  await rename(story, 'another-name')
  await revoke({ agent_id: story.agent.id })
  assert.deepEqual(await toldOf(story), [{ sub: story.agent.id }, true])
})

test('one that was renamed before it ever minted is told of by its name', async () => {
  const story = await minted({ audience: { event_names_agent: true } })
  const other = await minted({ audience: { event_names_agent: true } })
  await entitle(house, other.agent, story.audience, { client_id: 'first-name' })
  await entitle(house, other.agent, story.audience, { client_id: 'second-name' })
  house.wait(60)
  await story.delegate({ agent_id: other.agent.id })
  const { id_token } = await story.signIn(other.agent)
  await mint(story, other.agent, id_token)
  await revoke({ agent_id: other.agent.id })
  const [event] = await eventsAt(story)
  assert.equal(event?.agent_client_id, 'second-name')
})

test('where the agent is named, what it has anew at the same issuer is no interruption (GR-08)', async () => {
  const story = await minted({ audience: { event_names_agent: true } })
  await act('POST', `/audiences/${story.audience.id}/retire`, {})
  await arrive(story, 'failed')
  const audience = await newAudience(house, {
    issuer: story.audience.issuer,
    events_endpoint: ENDPOINT,
    event_names_agent: true,
  })
  await entitle(house, story.agent, audience)
  await story.delegate({ audience_id: audience.id })
  const revoked = await revoke({ audience_id: story.audience.id })
  assert.deepEqual([revoked.events_queued, revoked.interrupts], [1, undefined])
})
