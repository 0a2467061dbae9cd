// A key that somebody else may hold: dropped, replaced, and told of (DS-26).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { keepSchedule } from '../../src/keys/keep-schedule.ts'
import { replicaMargin } from '../../src/keys/schedule.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { openHouse, openHouses } from '../support/house.ts'
import { tellStory } from '../support/story.ts'
import { auditOf, drop, dropped, keyOf, kidOf, listRows, publishedKids } from './compromised.ts'

const CEILING = 86_400
const house = await openHouse({ after })
const { keys } = house.deps

/** Then every key may be rotated. */
const age = () => house.wait(CEILING + replicaMargin(house.config))

for (const [purpose, alg] of [
  ['id_token', 'ES256'],
  ['id_token', 'RS256'],
  ['id_jag', 'EdDSA'],
  ['seal', 'ES256'],
] as const) {
  const sign = async () => (await keys.sign(purpose, alg, 'test+jwt', {})).kid

  test(`the ${purpose} ${alg} key that signs is out at once, and the next one signs (DS-26)`, async () => {
    const [active, next] = [
      await keyOf(house, purpose, alg),
      await keyOf(house, purpose, alg, 'next'),
    ]
    assert.equal(await sign(), active.kid)
    const answer = await dropped(house, active.kid)
    assert.equal(await sign(), next.kid)
    assert.equal(keys.verificationKey(purpose, active.kid), undefined)
    assert.ok(!(await publishedKids(house)).includes(active.kid))
    assert.equal((await keyOf(house, purpose, alg)).kid, next.kid)
    const made = await keyOf(house, purpose, alg, 'next')
    assert.notEqual(made.kid, next.kid)
    assert.equal((await publishedKids(house)).includes(made.kid), purpose !== 'seal')
    // However early it took over, the one after it waits for its turn.
    const early = await house.admin('POST', '/keys/rotate', { purpose, alg })
    assert.equal(early.body.type, '/problems/too_early')

    assert.deepEqual(
      [answer.kid, answer.purpose, answer.alg, answer.status],
      [active.kid, purpose, alg, 'compromised'],
    )
    assert.equal(answer.activated_at, active.activated_at?.toISOString())
    assert.equal(answer.compromised_at, house.clock.now.toISOString())
    const { data } = (await house.admin('GET', '/keys?limit=200')).body
    const listed = data.find(({ kid }: { kid: string }) => kid === active.kid)
    assert.deepEqual(
      [listed.status, listed.compromised_at, listed.compromise_reason, listed.next_step],
      ['compromised', answer.compromised_at, 'a test', null],
    )
  })

  test(`the ${purpose} ${alg} key that would have signed next is out at once, and another is made`, async () => {
    const [active, next] = [
      await keyOf(house, purpose, alg),
      await keyOf(house, purpose, alg, 'next'),
    ]
    const answer = await dropped(house, next.kid)
    assert.deepEqual(
      [answer.activated_at, answer.sessions_ended, answer.events_queued],
      [null, 0, 0],
    )
    assert.equal(await sign(), active.kid)
    const kids = await publishedKids(house)
    const made = await keyOf(house, purpose, alg, 'next')
    assert.ok(!kids.includes(next.kid))
    assert.notEqual(made.kid, next.kid)
    assert.equal(kids.includes(made.kid), purpose !== 'seal')
    age()
    await house.admin('POST', '/keys/rotate', { purpose, alg })
    assert.equal(await sign(), made.kid)
  })

  test(`a ${purpose} ${alg} key that was retired is out at once, and nothing else changes`, async () => {
    age()
    const retired = await keyOf(house, purpose, alg)
    await house.admin('POST', '/keys/rotate', { purpose, alg })
    assert.ok(keys.verificationKey(purpose, retired.kid))
    const before = (await listRows(house)).filter(({ kid }) => kid !== retired.kid)
    await dropped(house, retired.kid)
    assert.equal(keys.verificationKey(purpose, retired.kid), undefined)
    assert.ok(!(await publishedKids(house)).includes(retired.kid))
    const others = (await listRows(house)).filter(({ kid }) => kid !== retired.kid)
    assert.deepEqual(others, before)
  })
}

test('what is dropped and what became of it is audited, without the reason', async () => {
  const { kid } = await keyOf(house, 'id_jag', 'PS256')
  const next = await keyOf(house, 'id_jag', 'PS256', 'next')
  await dropped(house, kid, { reason: 'found in a public repository' })
  const [event] = (await auditOf(house, 'key.compromised')).filter(
    ({ detail }) => detail?.kid === kid,
  )
  assert.deepEqual([event?.actor_kind, event?.actor_id], ['admin', 'environment'])
  assert.ok(event?.request_id)
  const { purpose, alg, was } = event.detail ?? {}
  assert.deepEqual([purpose, alg, was], ['id_jag', 'PS256', 'active'])
  assert.ok(Object.values(event.detail ?? {}).includes(next.kid))
  const cleared = (await auditOf(house, 'key.cleared')).filter(({ detail }) => detail?.kid === kid)
  assert.equal(cleared.length, 1)
  assert.equal(cleared[0]?.actor_kind, 'system')
  assert.deepEqual(cleared[0]?.detail, {
    kid,
    sessions_ended: 0,
    events_signed_anew: 0,
    events_queued: 0,
    audiences_told: 0,
    complete: true,
  })
  assert.doesNotMatch(JSON.stringify([event, cleared]), /public repository/)
})

test('the answer says until when a copy of the key set may hold it, and whom to tell', async () => {
  const story = await tellStory(house, { audience: { name: 'Ledger' } })
  const { kid } = await keyOf(house, 'id_jag', 'ES256')
  const answer = await dropped(house, kid)
  const at = new Date(answer.compromised_at)
  const until = addSeconds(at, replicaMargin(house.config) + CEILING).toISOString()
  assert.equal(answer.still_accepted_until, until)
  assert.ok(answer.notice.includes(until), answer.notice)
  assert.match(answer.notice, /fetch the key set now/)
  const app = answer.audiences.find(({ id }: { id: string }) => id === story.audience.id)
  const { id, issuer } = story.audience
  assert.deepEqual(app, { id, issuer, name: 'Ledger', owner_id: null, told: false })

  const idToken = await dropped(house, (await keyOf(house, 'id_token', 'ES384')).kid)
  assert.equal(idToken.still_accepted_until, until)
  assert.ok(idToken.notice.includes(until), idToken.notice)
  assert.deepEqual(idToken.audiences, [])
  // It is in no key set.
  const seal = await dropped(house, (await keyOf(house, 'seal', 'ES256')).kid)
  assert.equal(seal.still_accepted_until, null)
  assert.match(seal.notice, /kept elsewhere/)
})

test('a second call is harmless, says the same and changes nothing', async () => {
  const { kid } = await keyOf(house, 'id_jag', 'ES384')
  const first = await dropped(house, kid)
  await keyOf(house, 'id_jag', 'ES384', 'next')
  const before = await listRows(house)
  house.wait(5)
  const again = await dropped(house, kid, { reason: 'another\n' })
  assert.deepEqual(again, first)
  assert.deepEqual(await listRows(house), before)
  for (const type of ['key.compromised', 'key.cleared']) {
    const events = (await auditOf(house, type)).filter(({ detail }) => detail?.kid === kid)
    assert.equal(events.length, 1, type)
  }
})

test('the reason may be left out, and so may the body', async () => {
  for (const body of [{}, null]) {
    const { kid } = await keyOf(house, 'id_jag', 'ES384')
    await dropped(house, kid, body as object)
  }
  const { kid } = await keyOf(house, 'id_jag', 'ES384')
  const bare = await house.admin('POST', `/keys/${kid}/compromise`)
  assert.equal(bare.status, 200, bare.text)
  assert.equal((await listRows(house)).find((row) => row.kid === kid)?.compromise_reason, null)
  await keyOf(house, 'id_jag', 'ES384', 'next')
})

test('what cannot be dropped, or not by this call, is refused, and nothing changes', async () => {
  const { kid } = await keyOf(house, 'id_jag', 'EdDSA')
  const before = await listRows(house)
  const unknown = await drop(house, 'A'.repeat(43))
  assert.deepEqual([unknown.status, unknown.body.type], [404, '/problems/not_found'])
  for (const name of ['x', 'A'.repeat(42), 'A'.repeat(44), `${kid}%00`, '%FF', `${kid}'`, '..']) {
    const { status, text } = await drop(house, name)
    assert.equal(status, 404, `${name}: ${text}`)
  }
  const bodies = [{ reason: '' }, { reason: 1 }, { reason: 'x'.repeat(1001) }, { kid }, [], 'x']
  for (const body of bodies) {
    const refused = await drop(house, kid, body as object)
    assert.deepEqual([refused.status, refused.body.type], [422, '/problems/validation_failed'])
  }
  const expires_at = addSeconds(house.clock.now, 3600).toISOString()
  for (const scopes of [['keys:read'], ['revocations:write', 'keys:read']]) {
    const { body } = await house.admin('POST', '/admin-keys', { name: 'x', scopes, expires_at })
    const authorization = `Bearer ${body.key}`
    const path = `/keys/${kid}/compromise`
    const refused = await house.admin('POST', path, {}, { authorization })
    assert.deepEqual([refused.status, refused.body.type], [403, '/problems/insufficient_scope'])
  }
  const nobody = await house.inject({ method: 'POST', url: `/admin/v1/keys/${kid}/compromise` })
  assert.equal(nobody.status, 401)
  assert.deepEqual(await listRows(house), before)
})

test('a key that has left every key set cannot be dropped any more', async () => {
  const { kid } = await keyOf(house, 'id_jag', 'EdDSA')
  age()
  await house.admin('POST', '/keys/rotate', { purpose: 'id_jag', alg: 'EdDSA' })
  age()
  age()
  await keepSchedule(house.deps)
  const { status, body } = await drop(house, kid)
  assert.deepEqual([status, body.type], [409, '/problems/invalid_transition'])
})

test('the ID-JAG after it is by the next key, on every replica, and none verifies by the dropped one', async (t) => {
  const [one, two] = await openHouses(t, { JWKS_CEILING: '20' })
  const story = await tellStory(one)
  await story.delegate()
  const first = await story.exchange()
  const active = kidOf(first.body.access_token)
  const next = await keyOf(one, 'id_jag', 'ES256', 'next')
  await dropped(one, active)
  assert.equal(kidOf((await story.exchange()).body.access_token), next.kid)
  assert.ok(!(await publishedKids(one)).includes(active))
  const patience = AbortSignal.timeout(10_000)
  while ((await publishedKids(two)).includes(active)) {
    assert.ok(!patience.aborted, 'the other replica still publishes it')
    await pause(10)
  }
  assert.equal(two.deps.keys.verificationKey('id_jag', active), undefined)
  assert.equal((await two.deps.keys.sign('id_jag', 'ES256', 'test+jwt', {})).kid, next.kid)
  assert.deepEqual((await publishedKids(two)).sort(), (await publishedKids(one)).sort())
})

test('nothing secret is in an answer or a log', async () => {
  const { kid } = await keyOf(house, 'id_token', 'RS256')
  const answer = await drop(house, kid, { reason: 'told to nobody' })
  const told = house.logs.join('\n') + answer.text
  for (const { private_key, proof } of await listRows(house)) {
    if (private_key) assert.ok(!told.includes(private_key))
    if (proof) assert.ok(!told.includes(proof))
  }
  assert.doesNotMatch(told, /told to nobody|PRIVATE KEY|"d":/)
})
