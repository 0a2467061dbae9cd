// What a relying app answers to an event, and what it drops because of one (protocol reference §6.2).
import assert from 'node:assert/strict'
import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import * as exported from 'agent-idp/receive-event'
import fc from 'fast-check'
import { AGENT_MEMBER, REVOCATION_EVENTS } from '../../src/oauth/names.ts'
import { createSeenEvents, trustIssuer } from '../../src/relying-app/receive-event.ts'
import {
  AGENT,
  EVENT,
  errorOf,
  event,
  LOGOUT,
  openEndpoint,
  REVOCATION,
  REVOKED,
  SET,
  VARIANT,
} from './events-endpoint.ts'
import {
  asker,
  CLAIMS,
  CLOCK,
  es256,
  HEADER,
  idJag,
  jwsOf,
  KEY,
  type Net,
  ORBIT,
  ORBIT_NET,
  PAPERCLIP,
  TV_05,
  TV_06,
} from './paperclip.ts'

const strangerSigns = es256(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
const ACCEPTED = { status: 202, headers: {} }
const acted = (revoked = REVOCATION) => ({ ...ACCEPTED, revoked })

test('the package exports the receiver and what goes with it', () => {
  assert.deepEqual(Object.keys(exported).sort(), [
    'AGENT_MEMBER',
    'IssuerUnavailable',
    'createRevocationStore',
    'createSeenEvents',
    'fetchDocument',
    'isRevoked',
    'reaches',
    'receiveEvent',
    'trustIssuer',
  ])
})

test('TV-06 is accepted, and what it names is dropped', async () => {
  const { receive, revoked } = openEndpoint()
  assert.deepEqual(await receive(TV_06), acted())
  assert.deepEqual(revoked, [REVOCATION])
  const bytes = openEndpoint()
  assert.deepEqual(await bytes.receive(Buffer.from(TV_06)), acted(), 'a body of bytes')
})

const REFUSED: [string, string | undefined, string][] = [
  ['TV-96 wrong typ: an ID-JAG', 'invalid_request', idJag()],
  ['TV-96 wrong typ: JWT', 'invalid_request', event({}, { typ: 'JWT' })],
  ['TV-96 wrong typ: that of v0.1', 'invalid_request', event({}, { typ: 'logout+jwt' })],
  ['TV-96 no typ', 'invalid_request', event({}, { typ: undefined })],
  ['TV-96 unknown issuer', 'invalid_issuer', event({ iss: 'https://id.stranger.example' })],
  ['TV-96 issuer with a slash', 'invalid_issuer', event({ iss: `${ORBIT}/` })],
  ['TV-96 no issuer', 'invalid_issuer', event({ iss: undefined })],
  ['TV-96 wrong aud', 'invalid_audience', event({ aud: 'https://auth.scissors.example' })],
  ['TV-96 aud with a slash', 'invalid_audience', event({ aud: `${PAPERCLIP}/` })],
  ['TV-96 one aud of two', 'invalid_audience', event({ aud: [PAPERCLIP, 'https://x.example'] })],
  ['TV-96 no aud', 'invalid_audience', event({ aud: undefined })],
  ['TV-96 empty events', 'invalid_request', event({ events: {} })],
  ['TV-96 no events', 'invalid_request', event({ events: undefined })],
  ['TV-96 events as a list', 'invalid_request', event({ events: [REVOKED] })],
  ['TV-96 events as a text', 'invalid_request', event({ events: REVOKED })],
  ['TV-96 events null', 'invalid_request', event({ events: null })],
  ['TV-96 bad signature', 'authentication_failed', event({}, {}, strangerSigns)],
  ['TV-96 another event of the same signature', 'authentication_failed', withPayload({ sub: 'x' })],
  ['no jti', 'invalid_request', event({ jti: undefined })],
  ['an empty jti', 'invalid_request', event({ jti: '' })],
  ['a jti that is a number', 'invalid_request', event({ jti: 1 })],
  ['no sub', 'invalid_request', event({ sub: undefined })],
  ['a sub in sub_id alone', 'invalid_request', event({ sub: undefined, sub_id: { id: 'x' } })],
  ['no iat', 'invalid_request', event({ iat: undefined })],
  ['an iat that is a text', 'invalid_request', event({ iat: '1795277000' })],
  ['an unknown kid', 'invalid_key', event({}, { kid: 'unknown' })],
  ['no kid', 'invalid_key', event({}, { kid: undefined })],
  ['alg none', 'invalid_key', event({}, { alg: 'none' }, () => Buffer.alloc(0))],
  ['HS256 by the public key', 'invalid_key', event({}, { alg: 'HS256' }, hmac)],
  ['a critical extension', 'invalid_request', event({}, { crit: ['x'], x: 1 })],
  ['two subs', 'invalid_request', twice('sub')],
  ['no JWT', 'invalid_request', 'x.y.z'],
  ['nothing', 'invalid_request', ''],
  ['a line break behind it', 'invalid_request', `${TV_06}\n`],
  ['a form', 'invalid_request', `token=${TV_06}`],
  ['more than a few KiB', 'invalid_request', event({ pad: 'x'.repeat(8 * 1024) })],
]
for (const [what, err, body] of REFUSED) {
  test(`an event is refused and changes nothing: ${what}`, async () => {
    const { receive, revoked } = openEndpoint()
    assert.equal(errorOf(await receive(body)), err)
    assert.deepEqual(revoked, [])
    assert.deepEqual(await receive(TV_06), acted(), 'nor does it use up a jti')
  })
}

test('what is no text and no bytes is no event', async () => {
  const { receive } = openEndpoint()
  for (const body of [undefined, null, 1, {}, [TV_06], new URLSearchParams()]) {
    assert.equal(errorOf(await receive(body)), 'invalid_request')
  }
})

test('an event of 8 KiB is taken, and not one byte more', async () => {
  const padded = (length: number) => event({ pad: 'x'.repeat(length) })
  let length = 5_000
  while (padded(length + 1).length <= 8 * 1024) length += 1
  assert.ok(padded(length).length > 8 * 1024 - 4)
  assert.deepEqual(await openEndpoint().receive(padded(length)), acted())
  assert.equal(errorOf(await openEndpoint().receive(padded(length + 1))), 'invalid_request')
  const bytes = Buffer.from(padded(length + 1))
  assert.equal(errorOf(await openEndpoint().receive(bytes)), 'invalid_request')
})

test('the media type is read before anything else (EV-05, EV-06)', async () => {
  const other = [
    undefined,
    '',
    'application/jwt',
    'application/json',
    LOGOUT,
    `${SET}+x`,
    'text/plain',
  ]
  for (const mediaType of other) {
    const { receiveAs, revoked } = openEndpoint({ issuers: [] })
    assert.equal(errorOf(await receiveAs(mediaType, TV_06)), 'invalid_request', mediaType)
    assert.deepEqual(revoked, [])
  }
  for (const mediaType of [SET, SET.toUpperCase(), `${SET}; charset=utf-8`, `${SET} ;x=y`]) {
    assert.equal((await openEndpoint().receiveAs(mediaType, TV_06)).status, 202, mediaType)
  }
})

test('the older dialect is taken where the app asks for it, and is then the only one (EV-20, TV-95)', async () => {
  const body = event({}, { typ: 'logout+jwt' })
  const open = () => openEndpoint({ dialect: 'logout' })
  assert.deepEqual(await open().receiveAs(LOGOUT, body), acted())
  assert.equal(errorOf(await open().receiveAs(SET, TV_06)), 'invalid_request')
  assert.equal(errorOf(await open().receiveAs(LOGOUT, TV_06)), 'invalid_request')
  assert.equal(errorOf(await openEndpoint().receiveAs(LOGOUT, body)), 'invalid_request')
})

test('TV-97 an unknown event is acknowledged and ignored', async () => {
  const { receive, revoked } = openEndpoint()
  const events = { 'https://schemas.openid.net/secevent/caep/event-type/session-revoked': {} }
  assert.deepEqual(await receive(event({ events })), ACCEPTED)
  for (const type of [`${REVOKED}/`, REVOKED.toUpperCase(), 'toString']) {
    assert.deepEqual(await receive(event({ jti: type, events: { [type]: {} } })), ACCEPTED)
  }
  assert.deepEqual(revoked, [])
})

test('TV-97 an unknown subject is acknowledged: who is known, the app knows', async () => {
  const { receive, revoked } = openEndpoint()
  const of = { ...REVOCATION, sub: 'nobody' }
  assert.deepEqual(await receive(event({ sub: 'nobody' })), acted(of))
  assert.deepEqual(revoked, [of])
})

test('TV-97 a duplicate jti is acknowledged and not acted on again (EV-15)', async () => {
  const { receive, revoked } = openEndpoint()
  assert.deepEqual(await receive(TV_06), acted())
  for (const body of [TV_06, event({ sub: 'another' }), event({ events: { 'https://x': {} } })]) {
    assert.deepEqual(await receive(body), ACCEPTED)
  }
  assert.equal(revoked.length, 1)
  await receive(event({ jti: 'another' }))
  assert.equal(revoked.length, 2)
})

test('the jti of one issuer is not that of another', async () => {
  const other = 'https://id.scissors.example'
  const net = { [`${other}/keys`]: { keys: [KEY] } }
  const { receive, revoked } = openEndpoint({
    issuers: [
      trustIssuer(ORBIT, asker()),
      trustIssuer(other, { jwksUri: `${other}/keys`, ...asker(net) }),
    ],
  })
  await receive(TV_06)
  await receive(event({ iss: other }))
  assert.deepEqual(
    revoked.map(({ iss }) => iss),
    [ORBIT, other],
  )
})

test('a jti is remembered for four days, longer than anybody sends an event again (EV-11, EV-12)', async () => {
  const day = 24 * 3600
  let now = EVENT.iat
  const { receive, revoked } = openEndpoint({ now: () => new Date(now * 1000) })
  await receive(TV_06)
  now = EVENT.iat + 4 * day - 1
  await receive(TV_06)
  assert.equal(revoked.length, 1)
  now = EVENT.iat + 5 * day
  await receive(TV_06)
  assert.deepEqual(revoked, [REVOCATION, REVOCATION], 'it reaches nothing of after it')
})

test('both spellings of the event are known (EV-04, TV-94)', async () => {
  assert.deepEqual([...REVOCATION_EVENTS], [REVOKED, VARIANT])
  const { receive } = openEndpoint()
  const body = event({ events: { 'https://x': { a: 1 }, [VARIANT]: {} } })
  assert.deepEqual(await receive(body), acted())
})

test('an event that names an agent is about that agent alone', async () => {
  assert.equal(AGENT_MEMBER, AGENT)
  for (const agent of [{ sub: 'agt_7Q2M', client_id: 'client-7' }, { sub: 'agt_7Q2M' }]) {
    const { receive } = openEndpoint()
    const events = { [REVOKED]: { [AGENT]: { ...agent, more: true }, 'urn:other': {} } }
    assert.deepEqual(await receive(event({ events })), acted({ ...REVOCATION, agent }))
  }
})

test('an agent that cannot be read narrows nothing', async () => {
  for (const agent of [null, 'agt_7Q2M', [], {}, { sub: '' }, { sub: 1 }, { client_id: 'x' }]) {
    const { receive } = openEndpoint()
    const events = { [REVOKED]: { [AGENT]: agent } }
    assert.deepEqual(await receive(event({ events })), acted(), JSON.stringify(agent))
  }
  for (const payload of [null, [], 'x', 1, true]) {
    const { receive } = openEndpoint()
    assert.deepEqual(await receive(event({ events: { [REVOKED]: payload } })), acted())
  }
  const both = { [REVOKED]: { [AGENT]: { sub: 'agt_7Q2M' } }, [VARIANT]: {} }
  assert.deepEqual(await openEndpoint().receive(event({ events: both })), acted())
  const bad = { [REVOKED]: { [AGENT]: { sub: 'agt_7Q2M', client_id: 1 } } }
  const { revoked } = await openEndpoint().receive(event({ events: bad }))
  assert.deepEqual(revoked?.agent, { sub: 'agt_7Q2M' })
})

test('an end is not looked at: what was revoked stays revoked (EV-03)', async () => {
  for (const exp of [0, EVENT.iat - 1, 'x', null]) {
    assert.deepEqual(await openEndpoint().receive(event({ exp })), acted())
  }
  const late = openEndpoint({ now: () => new Date((EVENT.iat + 30 * 24 * 3600) * 1000) })
  assert.deepEqual(await late.receive(TV_06), acted())
})

test('an event of the future counts from a minute ahead at the most', async () => {
  const { receive } = openEndpoint({ now: () => new Date(CLOCK * 1000) })
  const of = (revoked_at: number) => acted({ ...REVOCATION, revoked_at })
  assert.deepEqual(await receive(event({ iat: CLOCK + 60, jti: '1' })), of(CLOCK + 60))
  assert.deepEqual(await receive(event({ iat: CLOCK + 61, jti: '2' })), of(CLOCK + 60))
  assert.deepEqual(await receive(event({ iat: 4e9, jti: '3' })), of(CLOCK + 60))
})

test('what stops the app before it answers leaves the event to come again', async () => {
  const broken = new Error('the database is gone')
  const stops = {
    has: async () => Promise.reject(broken),
    revoke: async () => Promise.reject(broken),
    add: async () => Promise.reject(broken),
  }
  for (const stop of ['has', 'revoke', 'add'] as const) {
    const seen = createSeenEvents()
    const first =
      stop === 'revoke'
        ? openEndpoint({ seen, revoke: stops.revoke })
        : openEndpoint({ seen: { ...seen, [stop]: stops[stop] } })
    await assert.rejects(first.receive(TV_06), broken)
    const again = openEndpoint({ seen })
    assert.deepEqual(await again.receive(TV_06), acted(), stop)
    assert.deepEqual(again.revoked, [REVOCATION])
  }
})

test('it acts before it remembers, and remembers before it answers (EV-15)', async () => {
  const steps: unknown[] = []
  const step =
    (name: string) =>
    async (...of: unknown[]) => {
      steps.push([name, ...of])
      return false as never
    }
  const { receive } = openEndpoint({
    seen: { has: step('has'), add: step('add') },
    revocations: { add: step('keep out'), list: step('list') },
    revoke: step('revoke'),
  })
  await receive(TV_06)
  const now = EVENT.iat
  const { iss, jti } = EVENT
  assert.deepEqual(steps, [
    ['has', { iss, jti, revocation: REVOCATION }, now],
    ['keep out', REVOCATION, { until: now + 5 + 300 + 60, now }],
    ['revoke', REVOCATION],
    ['add', { iss, jti, revocation: REVOCATION }, { until: now + 4 * 24 * 3600, now }],
  ])
})

test('two copies at once are both accepted', async () => {
  const { receive, revoked } = openEndpoint()
  const answers = await Promise.all([receive(TV_06), receive(TV_06), receive(TV_06)])
  assert.deepEqual(
    answers.map(({ status }) => status),
    [202, 202, 202],
  )
  assert.ok(revoked.length >= 1)
  for (const one of revoked) assert.deepEqual(one, REVOCATION)
})

test('an issuer that cannot be asked is no fault of the event: it comes again', async () => {
  const net: Net = {}
  const { receive, revoked } = openEndpoint({ issuers: [trustIssuer(ORBIT, asker(net))] })
  assert.deepEqual(await receive(TV_06), { status: 503, headers: { 'retry-after': '5' } })
  assert.deepEqual(revoked, [])
})

test('a key that was rotated in is asked for, and found (DS-24)', async () => {
  const next = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = { ...next.publicKey.export({ format: 'jwk' }), kid: 'next' }
  const net: Net = { ...ORBIT_NET }
  let now = EVENT.iat
  const { receive } = openEndpoint({
    issuers: [trustIssuer(ORBIT, asker(net))],
    now: () => new Date(now * 1000),
  })
  await receive(TV_06)
  net[`${ORBIT}/.well-known/jwks.json`] = { keys: [KEY, jwk] }
  now += 30
  const body = event({ jti: 'next' }, { kid: 'next' }, es256(next.privateKey))
  assert.deepEqual(await receive(body), acted())
})

test('an ID-JAG is no event, and an event is no ID-JAG, whatever its type says', async () => {
  const { receive } = openEndpoint()
  assert.equal(errorOf(await receive(TV_05)), 'invalid_request')
  assert.equal(errorOf(await receive(idJag({}, { typ: 'secevent+jwt' }))), 'invalid_request')
  assert.equal(CLAIMS.sub, EVENT.sub)
})

test('any change of a single byte of TV-06 is refused', async () => {
  const issuers = [trustIssuer(ORBIT, asker())]
  const change = fc.record({
    at: fc.nat(TV_06.length - 1),
    byte: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('ABCDabcd0189-_+/=.'))),
  })
  await fc.assert(
    fc.asyncProperty(change, fc.boolean(), async ({ at, byte }, asBytes) => {
      fc.pre(TV_06.charCodeAt(at) !== byte)
      const changed = Buffer.from(TV_06)
      changed[at] = byte
      const { receive, revoked } = openEndpoint({ issuers })
      const answer = await receive(asBytes ? changed : changed.toString('latin1'))
      assert.ok(errorOf(answer))
      assert.deepEqual(revoked, [])
    }),
    { numRuns: 500 },
  )
})

test('whatever comes, the answer is one of RFC 8935, and nothing is dropped that was not signed', async () => {
  const issuers = [trustIssuer(ORBIT, asker())]
  const value = fc.oneof(
    fc.constantFrom(ORBIT, PAPERCLIP, EVENT.jti, EVENT.iat, REVOKED, null, undefined),
    fc.jsonValue({ maxDepth: 2 }),
  )
  const names = ['iss', 'sub', 'aud', 'jti', 'iat', 'events', 'exp'] as const
  const claims = fc.record(Object.fromEntries(names.map((name) => [name, value])), {
    requiredKeys: [],
  })
  const header = fc.record({ typ: value, kid: value }, { requiredKeys: [] })
  await fc.assert(
    fc.asyncProperty(claims, header, fc.boolean(), async (changes, head, signed) => {
      const { receive, revoked } = openEndpoint({ issuers })
      const body = event(changes, head, signed ? undefined : strangerSigns)
      const answer = await receive(body)
      if (answer.status === 202) assert.ok(signed)
      else assert.ok(errorOf(answer))
      for (const one of revoked) {
        assert.deepEqual([one.iss, one.aud], [ORBIT, PAPERCLIP])
        assert.ok(one.sub !== '' && typeof one.sub === 'string')
      }
    }),
  )
})

function hmac(input: string): Buffer {
  const publicKey = createPublicKey({ key: KEY, format: 'jwk' })
  const secret = publicKey.export({ format: 'pem', type: 'spki' })
  return createHmac('sha256', secret).update(input).digest()
}

/** TV-06 with its signature and other claims. */
function withPayload(claims: Record<string, unknown>): string {
  const [head, , tail] = TV_06.split('.')
  const payload = Buffer.from(JSON.stringify({ ...EVENT, ...claims })).toString('base64url')
  return `${head}.${payload}.${tail}`
}

/** Signed as it should be, with one name twice. */
function twice(name: 'sub'): string {
  const json = JSON.stringify(EVENT).replace('{', `{"${name}":"x",`)
  const head = JSON.stringify({ ...HEADER, typ: 'secevent+jwt' })
  return jwsOf(head, json)
}
