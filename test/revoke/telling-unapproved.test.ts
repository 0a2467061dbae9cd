// An app whose issuer is registered anew by discovery: nobody is told where the documents say before that is approved.
import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { deliverDue } from '../support/deliver-due.ts'
import { type AppHost, openApp, openAppHost } from '../support/discoverable-app.ts'
import { openHouse } from '../support/house.ts'
import { tellStory } from '../support/story.ts'
import { scenes } from './minted.ts'

const house = await openHouse({ after })
const { eventsAt, act, revoke } = scenes(house)
const { deps } = house
const NOTIFY = '/agent/event/notify'

/** How a server answers events, and how many it was sent. */
function openEars(host: AppHost, status: number) {
  const ears = { heard: 0, status }
  host.put(NOTIFY, (_request, response) => {
    ears.heard += 1
    response.writeHead(ears.status).end()
  })
  return ears
}

/** An app with an ID-JAG on its way there, whose audience was retired, and what its documents name since. */
async function openTakenOver(t: TestContext) {
  const app = await openApp(t)
  const stranger = await openAppHost(t)
  const [own, other] = [openEars(app.auth, 503), openEars(stranger, 202)]
  const found = {
    discover: app.url,
    issuer: app.auth.origin,
    profile: 'idjag',
    resources: [{ identifier: app.url, scopes: [{ name: 'docs.read' }, { name: 'docs.write' }] }],
  }
  const story = await tellStory(house, { audience: found })
  const approve = (id: string) => act('POST', `/audiences/${id}/approve-change`)
  await approve(story.audience.id)
  await story.delegate()
  await story.signIn()
  assert.equal((await story.exchange({ audience: app.auth.origin })).status, 200)
  const retire = () =>
    act('POST', `/audiences/${story.audience.id}/retire`, { reason: 'documents taken over' })
  const registerAnew = async () => {
    const agent_auth = { ...app.server.agent_auth, events_endpoint: `${stranger.origin}${NOTIFY}` }
    app.server.agent_auth = agent_auth
    app.publish()
    const anew = await act('POST', '/audiences', found)
    assert.equal(anew.events_endpoint, agent_auth.events_endpoint)
    return anew.id as string
  }
  return { story, own, other, approve, retire, registerAnew }
}

test('an event that waits goes where nobody approved only once somebody has (DR-09, EV-10)', async (t) => {
  const { story, own, other, approve, retire, registerAnew } = await openTakenOver(t)
  await retire()
  await deliverDue(deps)
  const anew = await registerAnew()
  house.wait(30)
  await deliverDue(deps)
  assert.deepEqual([own.heard, other.heard], [2, 0])
  assert.equal((await eventsAt(story))[0]?.status, 'queued')
  // What waits does not wait for its time then.
  await approve(anew)
  await deliverDue(deps)
  assert.deepEqual([own.heard, other.heard], [2, 1])
})

test('nor is a failed one sent there again by hand (DR-09, EV-13)', async (t) => {
  const { story, own, other, retire, registerAnew } = await openTakenOver(t)
  await retire()
  own.status = 422
  await deliverDue(deps)
  const [event] = await eventsAt(story)
  assert.equal(event?.status, 'failed')
  await registerAnew()
  own.status = 202
  await act('POST', `/event-deliveries/${event.id}/retry`)
  await deliverDue(deps)
  assert.deepEqual([own.heard, other.heard], [2, 0])
})

test('a revocation after that is told where the app was approved (DR-09, GR-07)', async (t) => {
  const { story, own, other, retire, registerAnew } = await openTakenOver(t)
  own.status = 202
  await retire()
  // Nobody could be told then, so that it is owed still.
  await deps.db
    .updateTable('event_deliveries')
    .set({ status: 'failed', failed_at: house.clock.now, next_attempt_at: null })
    .where('audience_id', '=', story.audience.id)
    .execute()
  const anew = await registerAnew()
  await revoke({ user_id: story.user.id })
  await deliverDue(deps)
  assert.deepEqual([own.heard, other.heard], [1, 0])
  assert.deepEqual(await eventsAt({ audience: { ...story.audience, id: anew } }), [])
})
