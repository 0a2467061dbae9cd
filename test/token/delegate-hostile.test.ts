// Whatever is sent to the doors of the auth.md provider guide, nobody gets a 5xx, another dialect, or a change of state.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { TOKEN_TYPE } from '../../src/oauth/names.ts'
import { assertBearerError, delegated } from '../support/delegate.ts'
import { openHouse } from '../support/house.ts'
import { stateOf } from '../support/refusals.ts'
import { RESOURCE } from '../support/story.ts'

/** Requests of each property; FUZZ_RUNS=20000 for a long look. */
const numRuns = Number(process.env.FUZZ_RUNS ?? 250)

const house = await openHouse({ after }, { DELEGATE_TOKENS: 'on', RATE_LIMITS: 'off' })
const { story, token, body: good } = await delegated(house)

const DOORS = [
  ['POST', '/id-jag'],
  ['POST', '/grants'],
  ['GET', '/grants'],
  ['DELETE', '/grants/dlg_AAAAAAAAAAAAAAAAAAAAAA'],
  ['DELETE', '/grants/%00'],
] as const

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const unsigned = (header: unknown, payload: unknown) => `${part(header)}.${part(payload)}.x`
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    ...['', ' ', '\0', 'a\r\nb', '\ud800', '\u202e', '"\\', '__proto__', 'x'.repeat(20_000)],
    ...[null, 0, -1, 1e308, true, [], {}, [[]], [null], { type: 'x' }, [{ type: 7 }]],
    ...[
      'docs.read',
      'docs.write',
      story.audience.issuer,
      RESOURCE,
      [RESOURCE],
      'https://x.example',
    ],
    ...Object.values(TOKEN_TYPE),
  ),
  fc.jsonValue({ maxDepth: 4 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
)
const NAMES = [
  ...['audience', 'resource', 'scope', 'authorization_details', 'actor_token', 'actor_token_type'],
  ...[
    'agent_platform',
    'agent_context_id',
    'mode',
    'subject_token',
    '__proto__',
    'constructor',
    '',
  ],
]
const bodies = fc.oneof(
  fc
    .dictionary(fc.constantFrom(...NAMES), odd, { maxKeys: 4, noNullPrototype: true })
    .map((changes) => JSON.stringify({ ...good, ...changes })),
  fc.jsonValue().map((value) => JSON.stringify(value)),
  fc.string({ unit: 'binary', maxLength: 60 }),
)
const headers = fc.record(
  {
    authorization: fc.oneof(
      fc.constantFrom(
        ...['', 'Bearer', 'Basic x', `bearer ${token}x`, `DPoP ${token}`, `Bearer ${token} x`],
        `Bearer ${unsigned({ alg: 'ES256', typ: 'at+jwt' }, { client_id: 'a\0b' })}`,
        `Bearer ${unsigned({ alg: 'ES256', kid: ['x'] }, { client_id: ['x'], scope: 7 })}`,
        `Bearer ${unsigned([], null)}`,
        `Bearer ${unsigned({ alg: 'none' }, { client_id: story.agent.id, scope: 'delegate' })}`,
        `Bearer ${'x'.repeat(7_000)}`,
      ),
      fc.base64String({ maxLength: 60 }).map((text) => `Bearer ${text}`),
    ),
    dpop: fc.constantFrom('', 'a.b.c', unsigned({ typ: 'dpop+jwt' }, {}), 'x'.repeat(4_000)),
    'content-type': fc.constantFrom(
      ...[
        'application/json; charset=utf-16',
        'text/plain',
        '/',
        'application/x-www-form-urlencoded',
      ],
    ),
    'x-forwarded-for': fc.constant("' or 1=1"),
  },
  { requiredKeys: [] },
)

async function send(door: (typeof DOORS)[number], payload: string, others: object) {
  const [method, url] = door
  const all = { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...others }
  const answer = await house.inject({
    method,
    url,
    headers: all,
    ...(method === 'POST' && { payload }),
  })
  if (answer.status >= 300) {
    assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${answer.text}`)
    assertBearerError(answer, answer.status, answer.body.error)
  }
  return answer
}

test('bodies: an ID-JAG for what was allowed, or an error of this door', async () => {
  const { issuances: _, ...before } = await stateOf(house)
  const property = fc.asyncProperty(fc.constantFrom(...DOORS), bodies, async (door, body) => {
    const { status, body: told } = await send(door, body, {})
    if (status === 200 && 'assertion' in told) {
      assert.ok(['docs.read', undefined].includes(told.scope), String(told.scope))
    }
  })
  await fc.assert(property, { numRuns })
  const { issuances: _2, ...afterwards } = await stateOf(house)
  assert.deepEqual(afterwards, before)
})

test('headers: who is not known gets nothing, and changes nothing', async () => {
  const before = await stateOf(house)
  const stranger = headers.filter(({ authorization }) => authorization !== undefined)
  const property = fc.asyncProperty(fc.constantFrom(...DOORS), stranger, async (door, others) => {
    const { status } = await send(door, JSON.stringify(good), others)
    assert.ok(status >= 400, String(status))
  })
  await fc.assert(property, { numRuns })
  assert.deepEqual(await stateOf(house), before)
})

test('after all of this the door still does its work', async () => {
  const { status, text } = await send(DOORS[0], JSON.stringify(good), {})
  assert.equal(status, 200, text)
  assert.ok(!house.logs.some((line) => /"level":(50|60)/.test(line)), 'an error was logged')
})
