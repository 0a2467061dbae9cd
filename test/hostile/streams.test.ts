// The doors of Shared Signals: any token, any body, any bytes. Nobody gets a 5xx or another dialect, and a
// refused call changes nothing.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { CLIENT_CREDENTIALS_GRANT } from '../../src/oauth/names.ts'
import { PATHS } from '../../src/streams/endpoints.ts'
import { openReceiver, PUSH, SESSION_REVOKED } from '../streams/receiver.ts'
import { TRACES, watchChanges } from '../support/changes.ts'
import { enrolUser } from '../support/enrol.ts'
import { attack } from '../support/fuzz.ts'
import { anyBytes, ofBytes } from '../support/hostile-bytes.ts'
import { oddJson, oddText, oddValue } from '../support/hostile-text.ts'
import { type Answer, type Ask, openHouse } from '../support/house.ts'

const house = await openHouse({ after }, { RATE_LIMITS: 'off', LOG_LEVEL: 'warn' })
const receiver = await openReceiver(house)
const victim = await openReceiver(house)
const { stream_id } = (await receiver.create()).body
const { stream_id: foreign } = (await victim.create()).body
const user = await enrolUser(house)
const tokens = [await receiver.token(), await receiver.token('ssf.read')] as const
const changes = await watchChanges(house)

async function judge(request: Ask): Promise<Answer> {
  await changes.take()
  const answer = await house.inject(request)
  const written = await changes.take()
  const { status, body, text, headers } = answer
  const told = `${request.method} ${request.url} ${request.payload}: ${status} ${text}`
  assert.ok(status < 500, told)
  for (const secret of [...tokens, receiver.client_secret]) assert.ok(!text.includes(secret), told)
  assert.ok(!written.some((one) => one.after?.id === foreign), `of another receiver: ${told}`)
  if (status < 400) return answer
  const traces = [...TRACES, 'streams']
  assert.deepEqual(
    written.filter(({ table }) => !traces.includes(table)),
    [],
    told,
  )
  if (body?.type === '/problems/not_found' || request.method === 'HEAD') return answer
  assert.match(body.err, /^[a-z_]+$/, told)
  assert.ok(typeof body.description === 'string' && body.description !== '', told)
  assert.equal(headers['cache-control'], 'no-store', told)
  return answer
}

const DOORS = [
  ...(['POST', 'GET', 'PATCH', 'PUT'] as const).map((method) => [method, PATHS.configuration]),
  ...(['POST', 'GET'] as const).map((method) => [method, PATHS.status]),
  ['POST', PATHS.addSubject],
  ['POST', PATHS.removeSubject],
  ['POST', PATHS.verification],
  ['POST', `${PATHS.poll}/${stream_id}`],
  ['POST', `${PATHS.poll}/${foreign}`],
] as readonly (readonly [string, string])[]

const id = fc.constantFrom(stream_id, stream_id, stream_id, foreign, 'str_x', '')
const known = fc.constantFrom<unknown>(
  ...['enabled', 'paused', 'disabled', true, false, 0, 1, 100, 1e9, -1, null],
  ...[{ method: PUSH, endpoint_url: 'http://127.0.0.1:1/x' }, { method: PUSH }],
  [SESSION_REVOKED],
  { format: 'iss_sub', iss: house.config.issuer, sub: user.id },
  { format: 'complex', user: { format: 'email', email: user.email } },
  { x: { err: 'invalid_key', description: 'no' } },
)
const MEMBERS = [
  ...['delivery', 'events_requested', 'description', 'status', 'reason', 'subject', 'verified'],
  ...['state', 'maxEvents', 'returnImmediately', 'ack', 'setErrs', 'iss', 'aud', '__proto__'],
  ...['format', 'constructor', ''],
]
const anyBody = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(
        id,
        fc.array(fc.tuple(fc.constantFrom(...MEMBERS), fc.oneof(known, oddValue, oddJson)), {
          maxLength: 4,
        }),
      )
      .map(([stream, members]) =>
        // Whoever waits for an event waits for half a minute.
        JSON.stringify({
          stream_id: stream,
          ...Object.fromEntries(members),
          returnImmediately: true,
        }),
      ),
  },
  { weight: 1, arbitrary: oddText.map((text) => `{"returnImmediately":true,"stream_id":${text}}`) },
)

test('any body at any of these doors is done, or told what is wrong with it (SE-15)', async () => {
  const statuses = new Set<number>()
  await attack(
    fc.record({ door: fc.constantFrom(...DOORS), body: anyBody, reading: fc.nat(4) }),
    async ({ door: [method, url], body, reading }) => {
      const authorization = `Bearer ${tokens[reading === 0 ? 1 : 0]}`
      const headers = { authorization, 'content-type': 'application/json' }
      const query = method === 'GET' ? `?stream_id=${encodeURIComponent(body.toWellFormed())}` : ''
      const payload = method === 'GET' ? {} : { payload: body }
      const request = { method: method as 'POST', url: `${url}${query}`, headers, ...payload }
      statuses.add((await judge(request)).status)
    },
  )
  for (const status of [200, 400, 403, 404]) assert.ok(statuses.has(status), `never ${status}`)
})

test('no token but its own opens them, however it is sent', async () => {
  const [token] = tokens
  const [head = '', payload = '', tail = ''] = token.split('.')
  const odd = fc.oneof(
    oddText,
    oddText.map((text) => `Bearer ${text}`),
    fc.constantFrom(
      ...['', 'Bearer', `DPoP ${token}`, `Basic ${token}`, `Bearer ${token}x`, `Bearer ${token}.`],
      ...[`Bearer ${head}.${payload}.`, `Bearer ${payload}.${head}.${tail}`, `Bearer ${token}=`],
    ),
  )
  await attack(
    fc.record({ authorization: odd, door: fc.constantFrom(...DOORS) }),
    async ({ authorization, door: [method, url] }) => {
      const { status } = await judge({
        method: method as 'POST',
        url,
        headers: { authorization },
      })
      assert.equal(status, 401, authorization)
    },
    0.3,
  )
})

test('any bytes at all, by any method, at any of these doors', async () => {
  const methods = ['POST', 'POST', 'GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD']
  const doors = DOORS.filter(([, url]) => !url.startsWith(PATHS.poll))
  await attack(
    fc.record({
      of: anyBytes(methods),
      door: fc.constantFrom(...doors),
      known: fc.boolean(),
    }),
    async ({ of, door: [, url], known }) => {
      const authorization = `Bearer ${tokens[0]}`
      await judge(ofBytes(of, url, known ? { authorization } : undefined))
    },
    0.4,
  )
})

test('the grant of receivers: any client, any secret, any scope', async () => {
  const { client_id, client_secret } = receiver
  await attack(
    fc.record({
      client_id: fc.oneof(fc.constant(client_id), fc.constant(victim.client_id), oddText),
      client_secret: fc.oneof(fc.constant(client_secret), oddText),
      scope: fc.oneof(fc.constantFrom('ssf.read', 'ssf.manage', 'ssf.read openid'), oddText),
      more: fc.array(fc.tuple(fc.constantFrom('client_assertion', 'resource', 'scope'), oddText), {
        maxLength: 1,
      }),
    }),
    async ({ more, ...fields }) => {
      const all = [
        ['grant_type', CLIENT_CREDENTIALS_GRANT],
        ...Object.entries(fields),
        ...more,
      ] as [string, string][]
      const answer = await house.inject({
        method: 'POST',
        url: '/oauth2/token',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        payload: String(new URLSearchParams(all)),
      })
      assert.ok(answer.status < 500, answer.text)
      if (answer.status >= 400) assert.match(answer.body.error, /^[a-z_]+$/)
      else assert.deepEqual([fields.client_id, fields.client_secret], [client_id, client_secret])
    },
    0.3,
  )
})
