// From an ending to the relying app's word that it knows, as each of them sees it.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { REVOKED } from '../../src/events/revocation-set.ts'
import {
  createSeenEvents,
  type Revocation,
  receiveEvent,
  trustIssuer,
} from '../../src/relying-app/receive-event.ts'
import { openApp, type Reply } from '../events/apps.ts'
import { deliverDue } from '../support/deliver-due.ts'
import { type Answer, openHouse } from '../support/house.ts'
import { entitle, newAudience, type Story, tellStory } from '../support/story.ts'

const house = await openHouse({ after })
const { issuer } = house.config

/** What this server publishes, as an app reads it. */
async function fetchDocument(url: string) {
  const { pathname } = new URL(url)
  const { body } = await house.inject({ method: 'GET', url: pathname })
  return { document: body, maxAge: 60 }
}

/** A relying app that is told of revocations, and a user whose agent has been there. */
async function openStory(script: Reply[] = []) {
  const revoked: Revocation[] = []
  let self = ''
  const context = {
    issuers: [trustIssuer(issuer, { ask: fetchDocument })],
    seen: createSeenEvents(),
    now: () => house.clock.now,
    revoke: async (revocation: Revocation) => void revoked.push(revocation),
  }
  const takes: Reply = async (response, event) => {
    const type = response.req.headers['content-type']
    const { status, headers, body } = await receiveEvent(type, event, { ...context, self })
    response.writeHead(status, headers).end(body && JSON.stringify(body))
  }
  const app = await openApp({ after: (end) => after(end) }, ...script, takes)
  const story = await tellStory(house, {
    audience: { events_endpoint: app.url, events_dialect: 'set' },
  })
  self = story.audience.issuer
  return { app, story, revoked, takes }
}

async function mint(story: Story): Promise<string> {
  const { status, body, text } = await story.exchange()
  assert.equal(status, 200, text)
  return body.access_token
}

const deliveries = async ({ audience }: Story) =>
  (await house.admin('GET', `/event-deliveries?audience_id=${audience.id}`)).body.data

const isRefused = (answer: Answer, error: string) => assert.equal(answer.body.error, error)

test('a delegation ends, the app is told what TV-06 says, and nothing is minted any more (TV-90)', async () => {
  const { app, story, revoked } = await openStory()
  const { id } = await story.delegate()
  const { sub, aud } = decodeJwt(await mint(story))
  assert.equal((await house.admin('DELETE', `/delegations/${id}`)).status, 204)
  await deliverDue(house.deps)
  isRefused(await story.exchange(), 'interaction_required')

  assert.equal(app.received.length, 1)
  const [{ type, body } = { type: '', body: '' }] = app.received
  assert.equal(type, 'application/secevent+jwt')
  const { typ, alg, kid, ...rest } = decodeProtectedHeader(body)
  assert.deepEqual([typ, alg, rest], ['secevent+jwt', 'ES256', {}])
  const { jti, iat, ...claims } = decodeJwt(body)
  assert.deepEqual(claims, { iss: issuer, sub, aud, events: { [REVOKED]: {} } })
  assert.ok(kid && jti && iat)
  assert.deepEqual(revoked, [{ iss: issuer, sub, aud, revoked_at: iat }])
  const [{ status, seconds_to_acknowledgement, last_answer }] = await deliveries(story)
  assert.deepEqual(
    [status, seconds_to_acknowledgement, last_answer],
    ['delivered', 0, { status: 202 }],
  )
})

test('what was never used is ended without a word to anybody (GR-08)', async () => {
  const { app, story } = await openStory()
  const { id } = await story.delegate()
  assert.equal((await house.admin('DELETE', `/delegations/${id}`)).status, 204)
  await deliverDue(house.deps)
  assert.deepEqual([app.received, await deliveries(story)], [[], []])
})

test('a kill switch whose only delegation is a spent once: its event arrives, and the call can prove it', async () => {
  const { story, revoked } = await openStory([503])
  await story.delegate({ mode: 'once' })
  const { sub } = decodeJwt(await mint(story))
  const { status, body } = await house.admin('POST', '/revocations', {
    agent_id: story.agent.id,
    reason: 'its key was found in a repository',
  })
  assert.deepEqual([status, body.events_queued], [202, 1])
  await deliverDue(house.deps)
  const read = async () => (await house.admin('GET', `/revocations/${body.id}`)).body
  assert.deepEqual((await read()).events, { delivered: 0, pending: 1, failed: 0 })
  house.wait(5)
  await deliverDue(house.deps)
  const { events, last_acknowledged_at, seconds_to_last_acknowledgement } = await read()
  assert.deepEqual(
    [events, last_acknowledged_at, seconds_to_last_acknowledgement],
    [{ delivered: 1, pending: 0, failed: 0 }, house.clock.now.toISOString(), 5],
  )
  assert.equal(revoked[0]?.sub, sub)
})

test('a new consent has the app told at once, and until it has heard nothing is minted (EV-14, GR-10)', async () => {
  const { app, story, takes } = await openStory()
  app.says(503)
  const { id } = await story.delegate()
  await mint(story)
  await house.admin('DELETE', `/delegations/${id}`)
  for (let attempt = 0; attempt < 8; attempt++) {
    await deliverDue(house.deps)
    house.wait(600)
  }
  const { length } = app.received
  await story.delegate()
  await deliverDue(house.deps)
  assert.equal(app.received.length, length + 1, 'it was not tried at once')
  await story.signIn()
  const refused = await story.exchange()
  assert.equal(refused.status, 503, refused.text)
  isRefused(refused, 'temporarily_unavailable')
  app.says(takes)
  house.wait(3600)
  await deliverDue(house.deps)
  await story.signIn()
  await mint(story)
  const sent = new Set(app.bodies())
  assert.equal(sent.size, 1, 'the same event each time')
})

test('an app that is registered anew mints nothing until it has heard what ended before (EV-14)', async () => {
  const { app, story, takes, revoked } = await openStory()
  const { agent, audience, user } = story
  await story.delegate()
  const { sub, aud } = decodeJwt(await mint(story))
  assert.equal((await house.admin('POST', `/audiences/${audience.id}/retire`)).status, 200)
  app.says(503)
  for (let attempt = 0; attempt < 8; attempt++) {
    await deliverDue(house.deps)
    house.wait(600)
  }
  const again = await newAudience(house, {
    issuer: audience.issuer,
    events_endpoint: app.url,
    events_dialect: 'set',
  })
  await entitle(house, agent, again)
  const { length } = app.received
  await story.delegate({ audience_id: again.id, user_id: user.id })
  await deliverDue(house.deps)
  assert.equal(app.received.length, length + 1, 'it was not tried at once')
  await story.signIn()
  const refused = await story.exchange()
  assert.equal(refused.status, 503, refused.text)
  app.says(takes)
  house.wait(3600)
  await deliverDue(house.deps)
  assert.deepEqual(
    revoked.map((one) => [one.sub, one.aud]),
    [[sub, aud]],
  )
  await story.signIn()
  await mint(story)
})

test('an event that its app refuses for good stands in no one’s way, and can be sent again (EV-13)', async () => {
  const { app, story, revoked, takes } = await openStory(['invalid_issuer', 'invalid_issuer'])
  const { id } = await story.delegate()
  await mint(story)
  await house.admin('DELETE', `/delegations/${id}`)
  await deliverDue(house.deps)
  const [failed] = await deliveries(story)
  assert.equal(failed.status, 'failed')
  isRefused(await story.exchange(), 'interaction_required')
  app.says(takes)
  const { status, body } = await house.admin('POST', `/event-deliveries/${failed.id}/retry`)
  assert.deepEqual([status, body.status], [200, 'queued'])
  await deliverDue(house.deps)
  const [after] = await deliveries(story)
  assert.deepEqual([after.status, after.earlier_jtis], ['delivered', [failed.jti]])
  assert.equal(revoked.length, 1)
  const again = await house.admin('POST', `/event-deliveries/${failed.id}/retry`)
  assert.deepEqual([again.status, again.body.status], [200, 'queued'])
  assert.notEqual(again.body.id, failed.id, 'what was accepted stays as it is')
  await deliverDue(house.deps)
  assert.equal(revoked.length, 2)
})
