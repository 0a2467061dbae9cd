// What the outbox sends is taken by receivers that we share no code with, and by the one for relying apps: one
// that knows RFC 8935 and RFC 8417 alone, one by the rules of auth.md, and relying-app/.
import assert from 'node:assert/strict'
import type { JsonWebKey } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import type { Insertable } from 'kysely'
import type { Tables } from '../../src/db/tables.ts'
import { type NewEvent, queueEvents } from '../../src/events/queue.ts'
import { REVOKED, revocationClaims, typOf } from '../../src/events/revocation-set.ts'
import { fromNumericDate } from '../../src/oauth/numeric-date.ts'
import {
  createSeenEvents,
  type Revocation,
  receiveEvent,
  trustIssuer,
} from '../../src/relying-app/receive-event.ts'
import { EVENT, openEndpoint, REVOCATION, SET } from '../relying-app/events-endpoint.ts'
import { HEADER, jwsOf, KEY, ORBIT, PAPERCLIP, TV_06 } from '../relying-app/paperclip.ts'
import { openHouse } from '../support/house.ts'
import { makeParties } from '../support/parties.ts'
import { type Push, receiveSet, startSetReceiver } from '../support/set-receiver.ts'
import { receive } from './receiver.ts'

const VARIANT = 'https://schemas.workos.com/events/agent/identity/assertion/revoked'
const orbitKeys = [{ ...KEY, alg: 'ES256' }]
const orbit = { issuer: ORBIT, audience: PAPERCLIP, keys: async () => orbitKeys }
const push = (body: string, change: Partial<Push> = {}): Push => ({
  contentType: SET,
  accept: 'application/json',
  body,
  ...change,
})

test('the event of TV-06, as we write it, is taken by all three (TV-06, TV-90)', async () => {
  const { iss, sub, aud, jti, iat } = EVENT
  const of = { aud, sub, event_type: REVOKED, agent_id: null, agent_client_id: null }
  const claims = revocationClaims(iss, of, jti, fromNumericDate(iat))
  const header = { alg: 'ES256', typ: typOf('set'), kid: HEADER.kid }
  const made = jwsOf(JSON.stringify(header), JSON.stringify(claims))
  // ECDSA has another signature each time; what is signed is the vector's to the letter.
  assert.deepEqual(made.split('.').slice(0, 2), TV_06.split('.').slice(0, 2))
  for (const body of [made, TV_06]) {
    const { receive: receiveByKit, revoked } = openEndpoint()
    assert.equal((await receiveByKit(body)).status, 202)
    assert.deepEqual(revoked, [REVOCATION])
    assert.deepEqual(await receiveSet(push(body), orbit, []), { status: 202 })
    const expected = { ...orbit, keys: orbitKeys, knows: [REVOKED], seen: new Set<string>() }
    assert.equal((await receive(SET, body, expected)).status, 202)
  }
})

for (const [alg, event_type] of [
  ['ES256', null],
  ['RS256', null],
  ['ES256', VARIANT],
] as const) {
  test(`what we sign is taken by all three, with our published keys: ${alg} ${event_type ?? ''}`, async (t) => {
    const { jws, issuer, audience, sub, keys, now, ask } = await queued(t, {
      id_jag_signing_alg: alg,
      event_type,
    })
    const revoked: Revocation[] = []
    const answer = await receiveEvent(SET, jws, {
      self: audience,
      issuers: [trustIssuer(issuer, { ask })],
      seen: createSeenEvents(),
      now,
      revoke: async (one) => void revoked.push(one),
    })
    assert.equal(answer.status, 202, JSON.stringify(answer))
    const revoked_at = Math.floor(now().getTime() / 1000)
    assert.deepEqual(revoked, [{ iss: issuer, sub, aud: audience, revoked_at }])

    const { url, accepted } = await startSetReceiver(t, { issuer, audience, keys })
    const sent = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': SET, accept: 'application/json' },
      body: jws,
    })
    assert.deepEqual([sent.status, await sent.text()], [202, ''])
    assert.deepEqual(
      accepted.map(({ events }) => events),
      [{ [event_type ?? REVOKED]: {} }],
    )

    const knows = [event_type ?? REVOKED]
    const expected = { issuer, audience, keys: await keys(), knows, seen: new Set<string>() }
    assert.deepEqual(await receive(SET, jws, expected), {
      status: 202,
      revoked: { iss: issuer, sub, aud: audience },
    })
  })
}

test('what we sign in the older dialect is taken by an auth.md service, and by ours (EV-20, TV-95)', async (t) => {
  const { jws, issuer, audience, sub, keys, now, ask } = await queued(t, {
    events_dialect: 'logout',
  })
  const LOGOUT = 'application/logout+jwt'
  const answer = await receiveEvent(LOGOUT, jws, {
    self: audience,
    issuers: [trustIssuer(issuer, { ask })],
    seen: createSeenEvents(),
    now,
    dialect: 'logout',
    revoke: async () => undefined,
  })
  assert.equal(answer.revoked?.sub, sub)
  const expected = { issuer, audience, keys: await keys(), knows: [REVOKED], seen: new Set('') }
  assert.equal((await receive(LOGOUT, jws, expected)).status, 202)
})

test('an event that names its agent is taken by all three, and ours knows whom it means', async (t) => {
  const agent = { id: 'agt_1', client_id: 'client-1' }
  const about = await queued(t, { event_names_agent: true }, agent)
  const { jws, issuer, audience, keys, now, ask } = about
  const answer = await receiveEvent(SET, jws, {
    self: audience,
    issuers: [trustIssuer(issuer, { ask })],
    seen: createSeenEvents(),
    now,
    revoke: async () => undefined,
  })
  assert.deepEqual(answer.revoked?.agent, { sub: 'agt_1', client_id: 'client-1' })
  assert.deepEqual(await receiveSet(push(jws), { issuer, audience, keys }, []), { status: 202 })
  const expected = { issuer, audience, keys: await keys(), knows: [REVOKED], seen: new Set('') }
  assert.equal((await receive(SET, jws, expected)).status, 202)
})

// The answers above say something only if these receivers can refuse.
const REFUSED: [string, string, Partial<Push>][] = [
  ['another media type', 'invalid_request', { contentType: 'application/jwt' }],
  ['JSON not taken for an answer', 'invalid_request', { accept: 'text/plain' }],
  ['no JWT', 'invalid_request', { body: 'x.y.z' }],
  ['another issuer', 'invalid_issuer', { body: signed({ iss: 'https://x.example' }) }],
  ['another audience', 'invalid_audience', { body: signed({ aud: 'https://x.example' }) }],
  ['an unknown key', 'invalid_key', { body: signed({}, { kid: 'x' }) }],
  ['another signature', 'authentication_failed', { body: `${TV_06.slice(0, -4)}AAAA` }],
  ['another type', 'invalid_request', { body: signed({}, { typ: 'JWT' }) }],
  ['no iat', 'invalid_request', { body: signed({ iat: undefined }) }],
  ['no jti', 'invalid_request', { body: signed({ jti: undefined }) }],
  ['an exp', 'invalid_request', { body: signed({ exp: EVENT.iat }) }],
  ['no events', 'invalid_request', { body: signed({ events: {} }) }],
  ['an event without a URI', 'invalid_request', { body: signed({ events: { revoked: {} } }) }],
  ['a payload that is no object', 'invalid_request', { body: signed({ events: { 'a:b': 1 } }) }],
]
for (const [what, err, change] of REFUSED) {
  test(`the recipient by RFC 8935 alone refuses ${what}`, async () => {
    const accepted: object[] = []
    const answer = await receiveSet(push(TV_06, change), orbit, accepted as never)
    assert.equal(answer.status, 400)
    assert.ok('err' in answer)
    assert.equal(answer.err, err)
    assert.deepEqual(accepted, [])
  })
}

test('the recipient by RFC 8935 alone takes any event, without sub, and one twice as one', async () => {
  const accepted: Record<string, unknown>[] = []
  const body = signed({ sub: undefined, events: { 'https://x.example/y': { z: 1 } } })
  for (const one of [body, body]) {
    assert.deepEqual(await receiveSet(push(one), orbit, accepted), { status: 202 })
  }
  assert.equal(accepted.length, 1)
})

/** An event that the server wrote to its outbox, and what it publishes. */
async function queued(
  t: TestContext,
  audience: Partial<Insertable<Tables['audiences']>>,
  agent?: NewEvent['agent'],
) {
  const house = await openHouse(t)
  const { deps, inject } = house
  const { audience_id, user_id } = await makeParties(house, {
    audience: {
      events_endpoint: 'https://chat.example/events',
      events_dialect: 'set',
      ...audience,
    },
  })
  const event = { audience_id, user_id, sub: user_id, ...(agent && { agent }) }
  await deps.db.transaction().execute((tx) => queueEvents(tx, deps, [event]))
  const { jws, aud } = await deps.db
    .selectFrom('event_deliveries')
    .select(['jws', 'aud'])
    .executeTakeFirstOrThrow()
  assert.ok(jws !== null)
  const read = async (url: string) => {
    const { body } = await inject({ method: 'GET', url: new URL(url).pathname })
    return { document: body as Record<string, unknown>, maxAge: undefined }
  }
  const issuer = deps.config.issuer
  return {
    jws,
    issuer,
    audience: aud,
    sub: user_id,
    now: deps.now,
    ask: read,
    keys: async () => (await read(`${issuer}/.well-known/jwks.json`)).document.keys as JsonWebKey[],
  }
}

/** TV-06's claims, with changes. */
function signed(claims: Record<string, unknown>, header: Record<string, unknown> = {}): string {
  const head = { ...HEADER, typ: 'secevent+jwt', ...header }
  return jwsOf(JSON.stringify(head), JSON.stringify({ ...EVENT, ...claims }))
}
