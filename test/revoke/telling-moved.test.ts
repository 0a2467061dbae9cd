// An audience of which an administrator approves another issuer: the server that it was hears of everybody.
import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { decodeJwt } from 'jose'
import { rereadAudience } from '../../src/audiences/reread.ts'
import { deliverDue } from '../support/deliver-due.ts'
import {
  type AppHost,
  openApp,
  openAppHost,
  plainServer,
  SERVER_AT,
} from '../support/discoverable-app.ts'
import { openHouse } from '../support/house.ts'
import { tellStory } from '../support/story.ts'
import { scenes } from './minted.ts'

const house = await openHouse({ after })
const { sibling, eventsAt, act, revoke } = scenes(house)
const { deps } = house
const NOTIFY = '/agent/event/notify'

/** How a server answers events, and whom those were for that it was sent. */
function openEars(host: AppHost) {
  const heard: { aud: unknown; sub: unknown }[] = []
  let says: number | string = 202
  host.put(NOTIFY, (request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      const { aud, sub } = decodeJwt(body)
      heard.push({ aud, sub })
      if (typeof says === 'number') return response.writeHead(says).end()
      return response.writeHead(400).end(JSON.stringify({ err: says }))
    })
  })
  return {
    issuer: host.origin,
    heard,
    /** By its name those that it was sent. */
    auds: () => heard.map(({ aud }) => aud),
    answer(how: number | string) {
      says = how
    },
  }
}

/** An app that was found, with an ID-JAG on its way there, and the server that it is going to be. */
async function openMove(t: TestContext, audience: object = {}) {
  const app = await openApp(t)
  const other = await openAppHost(t)
  const [before, next] = [openEars(app.auth), openEars(other)]
  const resources = [
    { identifier: app.url, scopes: [{ name: 'docs.read' }, { name: 'docs.write' }] },
  ]
  const found = { discover: app.url, issuer: app.auth.origin, profile: 'idjag', resources }
  const story = await tellStory(house, { audience: { ...found, ...audience } })
  const { id } = story.audience
  const approve = (): Promise<{ events_queued?: number }> =>
    act('POST', `/audiences/${id}/approve-change`)
  assert.equal((await approve()).events_queued, undefined)
  const { id: delegation } = await story.delegate()
  const { id_token } = await story.signIn()
  const mintAt = async ({ issuer }: { issuer: string }, as = story.agent, token = id_token) =>
    (await story.exchange({ audience: issuer, subject_token: token }, as)).status
  assert.equal(await mintAt(before), 200)
  const move = async () => {
    const agent_auth = { ...app.server.agent_auth, events_endpoint: `${other.origin}${NOTIFY}` }
    other.put(SERVER_AT, { ...plainServer(other.origin), agent_auth })
    app.resource.authorization_servers = [other.origin]
    app.publish()
    house.wait(31)
    await rereadAudience(deps, id)
    house.wait(1)
    return approve()
  }
  /** With an ID-JAG on its way to the server of before. */
  const other_agent = async () => {
    const { agent, id_token } = await sibling(story)
    assert.equal(await mintAt(before, agent, id_token), 200)
    return { agent, id_token }
  }
  return { story, id, delegation, before, next, mintAt, move, other_agent }
}

test('whoever had access at the server of before is told of there, when another issuer is approved (GR-07, EV-02)', async (t) => {
  const { story, id, delegation, before, next, mintAt, move } = await openMove(t)
  assert.equal((await move()).events_queued, 1)
  const [event] = await eventsAt(story)
  assert.deepEqual(
    [event?.aud, event?.endpoint, event?.cause, event?.revocation_id],
    [before.issuer, `${before.issuer}${NOTIFY}`, 'audience_moved', null],
  )
  // It keeps nobody from the new one.
  assert.equal(await mintAt(next), 200)
  await deliverDue(deps)
  assert.deepEqual(before.heard, [{ aud: before.issuer, sub: story.user.id }])
  assert.deepEqual(next.heard, [])
  const { data } = await act('GET', `/delegations?audience_id=${id}`)
  assert.deepEqual(
    data.map((one: { id: string; status: string }) => [one.id, one.status]),
    [[delegation, 'active']],
  )
  const approvals = await act('GET', `/audit-events?type=audience.change_approved&limit=1`)
  assert.equal(approvals.data[0].detail.events_queued, 1)
})

test('a kill after the approval reaches both servers, and the proof waits for both (GR-07)', async (t) => {
  const { story, before, next, mintAt, move } = await openMove(t)
  before.answer(503)
  await move()
  assert.equal(await mintAt(next), 200)
  const killed = await revoke({ agent_id: story.agent.id })
  await deliverDue(deps)
  const proof = async () => (await act('GET', `/revocations/${killed.id}`)).events
  assert.deepEqual(await proof(), { delivered: 1, pending: 1, failed: 0 })
  before.answer(202)
  house.wait(10)
  await deliverDue(deps)
  assert.deepEqual(await proof(), { delivered: 2, pending: 0, failed: 0 })
  assert.deepEqual(new Set(before.auds()), new Set([before.issuer]))
  assert.deepEqual(next.auds(), [next.issuer])
})

test('a server that has refused what it was to hear of counts in the proof of a kill after it (GR-07)', async (t) => {
  const { story, before, move } = await openMove(t)
  before.answer('access_denied')
  await move()
  await deliverDue(deps)
  house.wait(1)
  const killed = await revoke({ agent_id: story.agent.id })
  const { events } = await act('GET', `/revocations/${killed.id}`)
  assert.equal(events.failed, 1)
  before.answer(202)
  const [{ id } = { id: '' }] = await eventsAt(story)
  await act('POST', `/event-deliveries/${id}/retry`)
  await deliverDue(deps)
  const { events: after } = await act('GET', `/revocations/${killed.id}`)
  assert.deepEqual([after.failed, after.pending], [0, 0])
  assert.deepEqual(before.auds(), [before.issuer, before.issuer])
})

test('the new server hears of nobody that it was sent no ID-JAG for (GR-08)', async (t) => {
  const { story, before, next, mintAt, move } = await openMove(t)
  before.answer(503)
  await move()
  const waiting = await revoke({ agent_id: story.agent.id })
  assert.equal(waiting.events_queued, 0)
  const proof = async () => (await act('GET', `/revocations/${waiting.id}`)).events
  assert.deepEqual(await proof(), { delivered: 0, pending: 1, failed: 0 })
  before.answer(202)
  house.wait(10)
  await deliverDue(deps)
  assert.deepEqual(await proof(), { delivered: 1, pending: 0, failed: 0 })
  assert.equal((await revoke({ agent_id: story.agent.id })).events_queued, 0)
  assert.deepEqual(next.heard, [])
  await story.delegate()
  const { id_token } = await story.signIn()
  assert.equal(await mintAt(next, story.agent, id_token), 200)
  assert.equal((await revoke({ agent_id: story.agent.id })).events_queued, 1)
})

test('an event that waits over the approval goes where it was to go, and is not told twice (EV-02)', async (t) => {
  const { story, before, next, mintAt, move, other_agent } = await openMove(t)
  const { agent, id_token } = await other_agent()
  before.answer(503)
  const killed = await revoke({ agent_id: story.agent.id })
  await deliverDue(deps)
  assert.equal((await move()).events_queued, 0)
  before.answer(202)
  assert.equal(await mintAt(next, agent, id_token), 200)
  house.wait(10)
  await deliverDue(deps)
  assert.deepEqual(before.auds(), [before.issuer, before.issuer])
  assert.deepEqual(next.heard, [])
  const { events } = await act('GET', `/revocations/${killed.id}`)
  assert.deepEqual(events, { delivered: 1, pending: 0, failed: 0 })
})

test('one and the same server that goes by another name now is sent the event under that one (TV-93)', async (t) => {
  const { story, before, next, move, mintAt } = await openMove(t)
  before.answer('invalid_audience')
  await move()
  await deliverDue(deps)
  const [event] = await eventsAt(story)
  assert.deepEqual(
    [event?.status, event?.aud, event?.endpoint],
    ['delivered', next.issuer, `${next.issuer}${NOTIFY}`],
  )
  assert.deepEqual([before.auds(), next.auds()], [[before.issuer], [next.issuer]])
  assert.equal(await mintAt(next), 200)
})

test('what another agent was given by the new name is not ended by an event that the old one refused (EV-14)', async (t) => {
  const { story, before, next, mintAt, move, other_agent } = await openMove(t)
  const { agent, id_token } = await other_agent()
  before.answer(503)
  const killed = await revoke({ agent_id: story.agent.id })
  await deliverDue(deps)
  await move()
  assert.equal(await mintAt(next, agent, id_token), 200)
  before.answer('invalid_audience')
  house.wait(10)
  await deliverDue(deps)
  assert.deepEqual(next.heard, [])
  const [event] = await eventsAt(story)
  assert.deepEqual([event?.status, event?.aud], ['failed', before.issuer])
  const { events } = await act('GET', `/revocations/${killed.id}`)
  assert.equal(events.failed, 1)
  // It is owed still: asked for again, it comes by the new name, and nothing is minted there until it has.
  assert.equal((await revoke({ agent_id: story.agent.id })).events_queued, 1)
  assert.equal(await mintAt(next, agent, id_token), 503)
  await deliverDue(deps)
  assert.deepEqual(next.auds(), [next.issuer])
  assert.equal(await mintAt(next, agent, id_token), 200)
})

test('an app that is told at the last ending is told at once when its server is left (GR-08)', async (t) => {
  const { story, before, next, move, other_agent } = await openMove(t, { notify_when: 'last' })
  await other_agent()
  const killed = await revoke({ agent_id: story.agent.id })
  assert.equal(killed.events_withheld, 1)
  assert.equal((await move()).events_queued, 1)
  await deliverDue(deps)
  assert.deepEqual([before.auds(), next.auds()], [[before.issuer], []])
  const { events, events_withheld } = await act('GET', `/revocations/${killed.id}`)
  assert.deepEqual([events, events_withheld], [{ delivered: 1, pending: 0, failed: 0 }, undefined])
})

test('an approval that is refused tells nobody', async (t) => {
  const { story, next, move } = await openMove(t)
  const resources = [{ identifier: 'https://taken.example/', scopes: [{ name: 'read' }] }]
  await act('POST', '/audiences', {
    issuer: next.issuer,
    name: 'Taken',
    profile: 'idjag',
    resources,
  })
  await assert.rejects(move, /already_exists/)
  assert.deepEqual(await eventsAt(story), [])
})
