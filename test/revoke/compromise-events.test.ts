// What rests on a key for ID-JAGs lies with relying apps: those that listen are told, and mints go on (DS-26).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import { queueEvents } from '../../src/events/queue.ts'
import { openHouse } from '../support/house.ts'
import { entitle, newAudience, newUser, type Story, tellStory } from '../support/story.ts'
import { auditOf, dropped, keyOf, kidOf } from './compromised.ts'

const house = await openHouse({ after })
const { db } = house.deps

/** As an audience that wants to hear of revocations will say so itself. */
const listen = (audience: { id: string }, changes: object = {}) =>
  db
    .updateTable('audiences')
    .set({ events_endpoint: 'https://chat.example/events', events_dialect: 'set', ...changes })
    .where('id', '=', audience.id)
    .execute()

/** Somebody who allowed an agent something at an audience that listens. */
async function listening(audience: object = {}): Promise<Story> {
  const story = await tellStory(house, { audience })
  await story.delegate()
  await listen(story.audience)
  return story
}

/** An ID-JAG, and the key that it is by. */
async function mint(story: Story, overrides = {}): Promise<string> {
  const answer = await story.exchange(overrides)
  assert.equal(answer.status, 200, answer.text)
  return kidOf(answer.body.access_token)
}

/** Whatever waits has arrived. */
const arrive = () =>
  db
    .updateTable('event_deliveries')
    .set({ status: 'delivered', delivered_at: house.clock.now, next_attempt_at: null })
    .where('status', '=', 'queued')
    .execute()

const eventsAt = ({ id }: { id: string }) =>
  db
    .selectFrom('event_deliveries')
    .selectAll()
    .select((eb) => eb.ref('jws').$notNull().as('jws'))
    .where('audience_id', '=', id)
    .execute()

test('who listens is told once of each subject that had an ID-JAG by the key, others are not', async () => {
  const told = await listening()
  const kid = await mint(told)
  await mint(told)
  const second = await newUser(house)
  await told.delegate({ user_id: second.id })
  const byAnother = await listening({ id_jag_signing_alg: 'RS256' })
  assert.notEqual(await mint(byAnother), kid)
  const without = await listening()
  const deaf = await tellStory(house)
  await deaf.delegate()
  assert.equal(await mint(deaf), kid)
  const next = await keyOf(house, 'id_jag', 'ES256', 'next')

  const answer = await dropped(house, kid)
  assert.equal(answer.events_queued, 1)
  assert.equal(answer.sessions_ended, 0)
  const events = await eventsAt(told.audience)
  assert.deepEqual(
    events.map((event) => [event.aud, event.sub, event.compromised_kid, event.kid]),
    [[told.audience.issuer, told.user.id, kid, next.kid]],
  )
  for (const { audience } of [byAnother, without, deaf]) {
    assert.deepEqual(await eventsAt(audience), [])
  }
  const listed = new Map<string, boolean>(
    answer.audiences.map((app: { id: string; told: boolean }) => [app.id, app.told]),
  )
  for (const [story, is] of [
    [told, true],
    [byAnother, false],
    [without, false],
    [deaf, false],
  ] as const) {
    assert.equal(listed.get(story.audience.id), is)
  }
  const cleared = (await auditOf(house, 'key.cleared')).at(-1)?.detail
  assert.deepEqual([cleared?.events_queued, cleared?.audiences_told], [1, 1])

  const { body: jwks } = await house.inject({ method: 'GET', url: '/.well-known/jwks.json' })
  await jwtVerify(events[0]?.jws ?? '', createLocalJWKSet(jwks), {
    issuer: house.config.issuer,
    audience: told.audience.issuer,
    currentDate: house.clock.now,
  })
})

test('delegations stay, and their agents mint again by the next key once the event is there (EV-14)', async () => {
  const story = await listening()
  const kid = await mint(story)
  const next = await keyOf(house, 'id_jag', 'ES256', 'next')
  await dropped(house, kid)
  const early = await story.exchange()
  assert.deepEqual([early.status, early.body.error], [503, 'temporarily_unavailable'])
  await arrive()
  assert.equal(await mint(story), next.kid)
  const { data } = (await house.admin('GET', `/delegations?user_id=${story.user.id}`)).body
  assert.deepEqual(
    data.map(({ status }: { status: string }) => status),
    ['active'],
  )
})

test('events that wait are signed anew under another jti, and those that arrived are not', async () => {
  const story = await listening()
  const { kid } = await keyOf(house, 'id_jag', 'ES256')
  const subs = ['p_one', 'p_two', 'p_three']
  const { id: audience_id } = story.audience
  const news = subs.map((sub) => ({ audience_id, user_id: story.user.id, sub }))
  await db.transaction().execute((tx) => queueEvents(tx, house.deps, news))
  const before = new Map((await eventsAt(story.audience)).map((event) => [event.sub, event]))
  await db
    .updateTable('event_deliveries')
    .set({ status: 'delivered', delivered_at: house.clock.now, next_attempt_at: null })
    .where('sub', '=', 'p_three')
    .execute()
  const queued = await db
    .selectFrom('event_deliveries')
    .select('id')
    .where('kid', '=', kid)
    .where('status', '=', 'queued')
    .execute()
  const next = await keyOf(house, 'id_jag', 'ES256', 'next')
  const answer = await dropped(house, kid)
  assert.ok(queued.length >= 2)
  assert.equal(answer.events_signed_anew, queued.length)
  for (const event of await eventsAt(story.audience)) {
    const was = before.get(event.sub)
    assert.equal(was?.kid, kid)
    if (event.sub === 'p_three') {
      assert.deepEqual([event.kid, event.jti, event.jws], [kid, was.jti, was.jws])
      continue
    }
    assert.equal(event.kid, next.kid)
    assert.equal(kidOf(event.jws), next.kid)
    assert.notEqual(event.jti, was.jti)
    assert.equal(decodeJwt(event.jws).jti, event.jti)
    assert.deepEqual(event.earlier_jtis, [was.jti])
  }
})

test('a second call tells nobody twice, and still says who was told', async () => {
  const story = await listening()
  const kid = await mint(story)
  assert.equal((await dropped(house, kid)).events_queued, 1)
  const again = await dropped(house, kid)
  assert.equal(again.events_queued, 0)
  const app = again.audiences.find(({ id }: { id: string }) => id === story.audience.id)
  assert.equal(app.told, true)
  assert.equal((await eventsAt(story.audience)).length, 1)
})

test('an audience that was retired is told of and listed, for it holds what it gave', async () => {
  const story = await listening()
  const kid = await mint(story)
  const retired = await house.admin('POST', `/audiences/${story.audience.id}/retire`, {})
  assert.equal(retired.status, 200, retired.text)
  const answer = await dropped(house, kid)
  const causes = (await eventsAt(story.audience)).map(({ cause }) => cause)
  assert.deepEqual(causes.sort(), ['key_compromised', 'revocation'])
  const app = answer.audiences.find(({ id }: { id: string }) => id === story.audience.id)
  assert.equal(app?.told, true)
})

test('a key that was retired is told of too; of one that never signed nobody hears', async () => {
  const story = await listening()
  const kid = await mint(story)
  house.wait(86_410)
  await house.admin('POST', '/keys/rotate', { purpose: 'id_jag', alg: 'ES256' })
  const never = await dropped(house, (await keyOf(house, 'id_jag', 'ES256', 'next')).kid)
  assert.deepEqual([never.events_queued, never.activated_at], [0, null])
  assert.equal((await dropped(house, kid)).events_queued, 1)
})

test('a key for ID tokens ends no ID-JAG, and tells no audience', async () => {
  const story = await listening()
  await mint(story)
  const { kid } = await keyOf(house, 'id_token', 'ES384')
  const answer = await dropped(house, kid)
  assert.deepEqual([answer.events_queued, answer.audiences], [0, []])
  assert.deepEqual(await eventsAt(story.audience), [])
})

test('one agent at two audiences: each is told by its own algorithm', async () => {
  const story = await listening()
  const rsa = await newAudience(house, {
    issuer: 'https://rsa.paperclip.example',
    id_jag_signing_alg: 'RS256',
  })
  await entitle(house, story.agent, rsa)
  await story.delegate({ audience_id: rsa.id })
  await listen(rsa)
  const es256 = await mint(story)
  const rs256 = await mint(story, { audience: rsa.issuer })
  await dropped(house, rs256)
  assert.equal((await eventsAt(story.audience)).length, 0)
  const [event] = await eventsAt(rsa)
  assert.equal(event?.kid, (await keyOf(house, 'id_jag', 'RS256')).kid)
  await dropped(house, es256)
  assert.equal((await eventsAt(story.audience)).length, 1)
  assert.equal((await eventsAt(rsa)).length, 1)
})
