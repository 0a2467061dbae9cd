// A server that signs with fewer algorithms than it knows (SIGNING_ALGS), and whoever was promised others.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { queueEvents } from '../../src/events/queue.ts'
import { openHouse } from '../support/house.ts'
import { tellStory } from '../support/story.ts'

const house = await openHouse({ after }, { SIGNING_ALGS: 'ES256,RS256' })
const { db } = house.deps

const FEW = /one of ES256, RS256/

type Key = { purpose: string; alg: string; status: string }

test('there are keys of these algorithms alone, and the server is ready (DS-25)', async () => {
  const { data } = (await house.admin('GET', '/keys')).body
  const slots = data.map(({ purpose, alg, status }: Key) => `${purpose} ${alg} ${status}`)
  const both = (slot: string) => [`${slot} active`, `${slot} next`]
  assert.deepEqual(
    slots.sort(),
    ['id_jag ES256', 'id_jag RS256', 'id_token ES256', 'id_token RS256', 'seal ES256'].flatMap(
      both,
    ),
  )
  // A clock that stood still while the house was opened is not that of the database.
  house.clock.now = new Date()
  assert.equal((await house.inject({ method: 'GET', url: '/readyz' })).status, 200)
  house.wait(86_410)
  const { body } = await house.admin('POST', '/keys/rotate', {})
  for (const { alg } of body.data) assert.match(alg, /^(ES256|RS256)$/)
  const none = await house.admin('POST', '/keys/rotate', { alg: 'EdDSA' })
  assert.equal(none.body.type, '/problems/unsupported_value')
})

test('the metadata names these alone (DS-12)', async () => {
  for (const url of [
    '/.well-known/openid-configuration',
    '/.well-known/oauth-authorization-server',
  ]) {
    const { body } = await house.inject({ method: 'GET', url })
    assert.deepEqual(body.id_token_signing_alg_values_supported.toSorted(), ['ES256', 'RS256'])
  }
})

test('who asks for another is told which there are', async () => {
  const story = await tellStory(house)
  const { audience, agent, owner } = story
  const enrolment = {
    name: 'Other',
    purpose: 'writes',
    owner_id: owner.id,
    expires_at: new Date(house.clock.now.getTime() + 9e8).toISOString(),
    token_endpoint_auth_method: 'client_secret_post',
    redirect_uris: ['https://agent.example/callback'],
  }
  const registration = {
    issuer: 'https://other.example',
    name: 'Other',
    profile: 'idjag',
    resources: [{ identifier: 'https://api.other.example/', scopes: [{ name: 'x' }] }],
  }
  for (const alg of ['EdDSA', 'PS256', 'ES384']) {
    const [idToken, idJag] = [{ id_token_signed_response_alg: alg }, { id_jag_signing_alg: alg }]
    for (const [method, path, members, pointer] of [
      ['POST', '/agents', { ...enrolment, ...idToken }, '/id_token_signed_response_alg'],
      ['PATCH', `/agents/${agent.id}`, idToken, '/id_token_signed_response_alg'],
      ['POST', '/audiences', { ...registration, ...idJag }, '/id_jag_signing_alg'],
      ['PATCH', `/audiences/${audience.id}`, idJag, '/id_jag_signing_alg'],
    ] as const) {
      const { status, body } = await house.admin(method, path, members)
      assert.deepEqual(
        [status, body.type],
        [422, '/problems/unsupported_value'],
        `${method} ${path}`,
      )
      const [fault] = body.errors
      assert.equal(fault.pointer, pointer)
      assert.match(fault.detail, FEW)
      assert.match(body.detail, FEW)
    }
  }
})

test('who was promised another before gets what every server signs with', async () => {
  const story = await tellStory(house)
  await story.delegate()
  const { agent, audience, user } = story
  await db
    .updateTable('agents')
    .set({ id_token_signed_response_alg: 'EdDSA' })
    .where('id', '=', agent.id)
    .execute()
  await db
    .updateTable('audiences')
    .set({
      id_jag_signing_alg: 'EdDSA',
      events_endpoint: 'https://chat.example/events',
      events_dialect: 'set',
    })
    .where('id', '=', audience.id)
    .execute()
  const { id_token } = await story.signIn()
  // As OpenID Connect Core §2 has it where nothing was agreed.
  assert.equal(decodeProtectedHeader(id_token).alg, 'RS256')
  const { status, text, body } = await story.exchange({ subject_token: id_token })
  assert.equal(status, 200, text)
  assert.equal(decodeProtectedHeader(body.access_token).alg, 'ES256')
  const explained = await house.admin('POST', '/explain', {
    agent_id: agent.id,
    user_id: user.id,
    audience: audience.issuer,
    scope: 'docs.read',
  })
  assert.equal(explained.body.granted, true, explained.text)

  const news = [{ audience_id: audience.id, user_id: user.id, sub: user.id }]
  await db.transaction().execute((tx) => queueEvents(tx, house.deps, news))
  const { jws } = await db
    .selectFrom('event_deliveries')
    .select((eb) => eb.ref('jws').$notNull().as('jws'))
    .where('audience_id', '=', audience.id)
    .executeTakeFirstOrThrow()
  assert.equal(decodeProtectedHeader(jws).alg, 'ES256')
  const { body: jwks } = await house.inject({ method: 'GET', url: '/.well-known/jwks.json' })
  for (const token of [id_token, body.access_token, jws]) {
    await jwtVerify(token, createLocalJWKSet(jwks), { currentDate: house.clock.now })
  }

  // Nothing else of it can be changed into what is not there, and the rest can be changed.
  const renamed = await house.admin('PATCH', `/audiences/${audience.id}`, { name: 'Ledger' })
  assert.equal(renamed.status, 200, renamed.text)
  const agentRenamed = await house.admin('PATCH', `/agents/${agent.id}`, { name: 'Ledger' })
  assert.equal(agentRenamed.status, 200, agentRenamed.text)
})

test('an audience that asks for another is told of a compromised ES256 key, whose ID-JAGs it had', async () => {
  const story = await tellStory(house)
  await story.delegate()
  house.wait(86_410)
  // Long before the key began to sign.
  const listens = {
    id_jag_signing_alg: 'EdDSA',
    events_endpoint: 'https://chat.example/events',
    events_dialect: 'set' as const,
    updated_at: new Date(house.clock.now.getTime() - 9e8),
  }
  await db.updateTable('audiences').set(listens).where('id', '=', story.audience.id).execute()
  await house.admin('POST', '/keys/rotate', { purpose: 'id_jag', alg: 'ES256' })
  const { body, text } = await story.exchange()
  assert.ok(body.access_token, text)
  const { kid } = decodeProtectedHeader(body.access_token)
  const dropped = await house.admin('POST', `/keys/${kid}/compromise`, {})
  assert.equal(dropped.status, 200, dropped.text)
  assert.equal(dropped.body.events_queued, 1)
})
