// POST /id-jag: the exchange in the dress of the auth.md provider guide (TX-63).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { BUDGETS } from '../../src/http/budgets.ts'
import { compromise } from '../../src/keys/compromise.ts'
import { openKeyRing } from '../../src/keys/open-key-ring.ts'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import {
  askIdJag as ask,
  assertBearerError,
  assertRefusedHere,
  call,
  delegated,
  delegateToken,
  markerOf,
  type World,
} from '../support/delegate.ts'
import { events } from '../support/enrol.ts'
import { type Answer, type House, openHouse } from '../support/house.ts'
import { stateOf } from '../support/refusals.ts'
import { clientAuthentication, RESOURCE, tellStory } from '../support/story.ts'

const house = await openHouse({ after }, { DELEGATE_TOKENS: 'on' })
const { db } = house.deps
const { issuer } = house.config
const common = await delegated(house)
const { agent, user } = common.story
const now = () => Math.floor(house.clock.now.getTime() / 1000)

test('an ID-JAG in the shape of the auth.md provider guide (TX-63)', async () => {
  const { story } = common
  const answer = await ask(common, { resource: RESOURCE, scope: 'docs.read docs.write' })
  assert.equal(answer.status, 200, answer.text)
  const { assertion, ...others } = answer.body
  assert.deepEqual(others, {
    assertion_type: TOKEN_TYPE.idJag,
    expires_in: 300,
    scope: 'docs.read',
    resource: RESOURCE,
  })
  assert.equal(answer.headers['cache-control'], 'no-store')
  assert.match(String(answer.headers['content-type']), /^application\/json/)
  const { sub, aud, scope, jti, exp } = decodeJwt(assertion)
  assert.deepEqual(
    { sub, aud, scope, exp },
    { sub: user.id, aud: story.audience.issuer, scope: 'docs.read', exp: now() + 300 },
  )
  const row = await db
    .selectFrom('issuances')
    .selectAll()
    .where('jti', '=', String(jti))
    .executeTakeFirstOrThrow()
  assert.deepEqual(
    [row.agent_id, row.user_id, row.credential_id, row.family_id],
    [agent.id, user.id, null, decodeJwt(common.token)[markerOf(common.token)]],
  )
})

test('who carries no token learns that before what is wrong with the body (TX-60)', async () => {
  for (const url of ['/id-jag', '/grants']) {
    const answer = await house.inject({ method: 'POST', url, payload: { audience: 5 } })
    assertBearerError(answer, 401, 'unauthorized')
  }
  const known = await ask(common, { audience: undefined })
  assert.equal(known.body.error_description, 'audience is missing')
})

test('platform and context are told to auth.md audiences, and other members are nobody’s (TX-20)', async () => {
  const world = await delegated(house, { audience: { profile: 'authmd-0.2' } })
  const answer = await ask(world, {
    agent_platform: 'orbit',
    agent_context_id: 'thread-7',
    sub: 'usr_other',
    act: { sub: 'somebody' },
    subject_token: 'x',
    client_id: 'agt_other',
  })
  assert.equal(answer.status, 200, answer.text)
  const told = decodeJwt(answer.body.assertion)
  assert.deepEqual([told.agent_platform, told.agent_context_id], ['orbit', 'thread-7'])
  assert.equal(told.sub, world.story.user.id)
  assert.equal(told.act, undefined)
})

test('a once delegation is spent here too, once (GR-02)', async () => {
  const world = await delegated(house)
  await world.story.delegate({ mode: 'once' })
  const answers = await Promise.all([ask(world), ask(world)])
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 403])
})

test('an ID-JAG under way is refused when the last key of its agent is ended, and that has been answered', async () => {
  const world = await delegated(house)
  const { agent: of } = world.story
  const { keys } = house.deps
  const { sign } = keys
  let ended: Answer | undefined
  keys.sign = async (...what) => {
    keys.sign = sign
    ended = await house.admin('DELETE', `/agents/${of.id}/credentials/${of.credential_id}`)
    return sign(...what)
  }
  const answer = await ask(world)
  assert.equal(ended?.status, 204)
  assertBearerError(answer, 401, 'unauthorized')
  const { data } = (await house.admin('GET', `/issuances?agent_id=${of.id}`)).body
  assert.deepEqual(data, [])
})

// The same is asked here and of the token endpoint.

/** What the exchange's words are called here. */
const CALLED: Record<string, readonly [number, string]> = {
  '400 interaction_required': [403, 'consent_required'],
  '400 access_denied': [403, 'access_denied'],
  '400 unauthorized_client': [403, 'unauthorized_client'],
  '400 invalid_grant': [401, 'unauthorized'],
  '400 insufficient_user_authentication': [401, 'insufficient_user_authentication'],
}
/** The same asked of the token endpoint, with the same token as its subject. */
async function exchanged({ story, token, body }: World, changes: object) {
  const { authorization_details: details, ...fields } = { ...body, ...changes } as {
    authorization_details?: unknown
  }
  return house.form('/oauth2/token', {
    grant_type: GRANT.tokenExchange,
    requested_token_type: TOKEN_TYPE.idJag,
    subject_token: token,
    subject_token_type: TOKEN_TYPE.accessToken,
    ...(details !== undefined &&
      details !== '' && { authorization_details: JSON.stringify(details) }),
    ...fields,
    ...(await clientAuthentication(house, story.agent)),
  })
}
const claimsBut = (jws: string) => ({ ...decodeJwt(jws), jti: undefined })
const block = async ({ story: { user: of } }: World) =>
  house.admin('POST', '/blocks', { user_id: of.id, reason: 'out' })
const endDelegation = ({ story: { user: of } }: World) =>
  db
    .updateTable('delegations')
    .set({ status: 'revoked', revoked_at: house.clock.now, end_reason: 'user' })
    .where('user_id', '=', of.id)
    .execute()
const authmd = { audience: { profile: 'authmd-0.2' } }
const unverified = { ...authmd, user: { email_verified: false } }
const types = [{ type: 'payment', description: 'Pay' }]
const paying = {
  audience: {
    resources: [
      { identifier: RESOURCE, scopes: [{ name: 'docs.read' }], authorization_details_types: types },
    ],
  },
  entitlement: { scopes: ['docs.read'] },
}

type Case = [
  what: string,
  changes: object,
  reason?: string,
  options?: Parameters<typeof tellStory>[1],
  change?: (of: World) => unknown,
]
const CASES: Case[] = [
  ['what was allowed', {}],
  ['a resource', { resource: RESOURCE }],
  ['resources', { resource: [RESOURCE] }],
  ['empty members', { scope: '', resource: '', agent_platform: '' }],
  ['more than was allowed', { scope: 'docs.read docs.write' }],
  ['no scope', { scope: undefined }],
  ['a scope that nobody has', { scope: 'admin' }, 'scope_not_in_catalogue'],
  ['a scope that is none', { scope: 'docs.read  docs.write' }, 'scope_malformed'],
  ['another scope', { scope: 'docs.write' }, 'scope_not_delegated'],
  ['another audience', { audience: 'https://unknown.example' }, 'unknown_audience'],
  ['us', { audience: issuer }, 'unknown_audience'],
  ['another resource', { resource: 'https://other.example/' }, 'resource_not_registered'],
  ['a resource beside', { resource: [RESOURCE, 'https://x.example/'] }, 'resource_not_registered'],
  ['a relative resource', { resource: '/x' }, 'resource_not_registered'],
  ['details that are none', { authorization_details: {} }, 'details_malformed'],
  ['no details', { authorization_details: null }, 'details_malformed'],
  ['an empty list of details', { authorization_details: [] }],
  ['empty details', { authorization_details: '' }],
  ['unknown details', { authorization_details: [{ type: 'x' }] }, 'details_unknown_type', paying],
  [
    'details that were not allowed',
    { authorization_details: [{ type: 'payment' }] },
    'details_not_delegated',
    paying,
  ],
  [
    'details',
    { authorization_details: [{ type: 'payment', actions: ['pay', 'refund'] }] },
    undefined,
    paying,
    ({ story }) =>
      story.delegate({ authorization_details: [{ type: 'payment', actions: ['pay'] }] }),
  ],
  ['what was ended', {}, 'delegation_revoked', {}, endDelegation],
  ['what a rule forbids', {}, 'denied_by_rule', {}, block],
  ['a key for the ID-JAG', {}, 'dpop_required', { audience: { dpop_required: true } }],
  [
    'a newer sign-in',
    {},
    'stale_authentication',
    { audience: { max_auth_age: 400 } },
    async (world) => {
      house.wait(200)
      world.token = (await delegateToken(world.story)).access_token
    },
  ],
  [
    'a stronger sign-in',
    {},
    'weak_authentication',
    { audience: { acr_values: ['urn:example:mfa', 'a"b\\c'] } },
  ],
  ['an auth.md service', {}, undefined, authmd],
  ['an actor token without its type', { actor_token: 'x' }, ''],
  ['an actor token', { actor_token: 'x', actor_token_type: TOKEN_TYPE.jwt }, 'actor_tokens_off'],
  ['two audiences', { audience: ['https://a.example', 'https://b.example'] }, ''],
  ['a context with a line feed', { agent_context_id: 'a\nb' }, ''],
]
for (const [what, changes, reason, options, change] of CASES) {
  test(`asked for ${what}`, async () => {
    const world = await delegated(house, options)
    await change?.(world)
    const [here, there] = [await ask(world, changes), await exchanged(world, changes)]
    if (reason === undefined) {
      assert.equal(`${here.status} ${there.status}`, '200 200', here.text + there.text)
      assert.deepEqual(claimsBut(here.body.assertion), claimsBut(there.body.access_token))
      const { assertion: _1, assertion_type, ...ours } = here.body
      const { access_token: _2, issued_token_type, token_type: _3, ...theirs } = there.body
      assert.deepEqual(ours, theirs)
      assert.equal(assertion_type, issued_token_type)
      return
    }
    // Two audiences are two form fields there; a JSON member is one.
    if (what !== 'two audiences') {
      const told = `${there.status} ${there.body.error}`
      const [status, error] = CALLED[told] ?? [there.status, there.body.error]
      assertBearerError(here, status, error)
      for (const name of ['interaction_uri', 'expires_in', 'max_age', 'acr_values']) {
        assert.equal(here.body[name], there.body[name], name)
      }
    } else assertBearerError(here, 400, 'invalid_request')
    if (reason === '') return
    const written = (await events(house, 'token.refused')).slice(0, 2)
    assert.deepEqual(
      written.map((event) => [event.reason, event.agent_id, event.user_id]),
      [reason, reason].map((one) => [one, world.story.agent.id, world.story.user.id]),
    )
    assert.deepEqual(
      written.map((event) => event.error),
      [there.body.error, here.body.error],
    )
  })
}

test('a user without a verified address has a code of its own here (TX-63)', async () => {
  const world = await delegated(house, unverified)
  const here = await assertRefusedHere(house, () => ask(world), [
    403,
    'missing_verified_email',
    'unverified_contact',
  ])
  const there = await exchanged(world, {})
  assert.equal(there.body.error, 'access_denied')
  assert.equal(here.body.message, there.body.error_description)
})

test('consent that is missing comes with the address where it is given (TX-63)', async () => {
  const story = await tellStory(house)
  const { access_token: token } = await delegateToken(story)
  const world = { story, token, body: { audience: story.audience.issuer, scope: 'docs.read' } }
  const refused = await ask(world)
  assertBearerError(refused, 403, 'consent_required')
  const { interaction_uri, expires_in, message } = refused.body
  assert.ok(message.includes(interaction_uri))
  assert.equal(expires_in, 600)
  const page = await story.browser.get(new URL(interaction_uri).pathname)
  const done = await story.browser.submit(page, {
    decision: 'allow',
    mode: 'always',
    scope: 'docs.read',
  })
  assert.equal(done.status, 200, done.text)
  assert.equal((await ask(world)).status, 200)
})

test('what a sign-in has to be stands in the challenge too (RFC 9470 §3)', async () => {
  const strong = await delegated(house, { audience: { acr_values: ['urn:example:mfa', 'a"b\\c'] } })
  const weak = await ask(strong)
  assert.equal(weak.body.acr_values, 'urn:example:mfa a"b\\c')
  const challenge = String(weak.headers['www-authenticate'])
  assert.ok(challenge.endsWith('acr_values="urn:example:mfa a\\"b\\\\c"'), challenge)
  assert.match(challenge, /^Bearer realm="agent-idp", error="insufficient_user_authentication"/)
})

test('where an administrator consents, the first ID-JAG makes the delegation', async () => {
  const story = await tellStory(house, { entitlement: { consent: 'admin' } })
  const { access_token: token } = await delegateToken(story)
  const world = { story, token, body: { audience: story.audience.issuer, scope: 'docs.read' } }
  assert.equal((await ask(world)).status, 200)
})

// What is no request.

const send = (options: { method?: string; headers?: object; payload?: string | Buffer }) =>
  house.inject({
    method: 'POST',
    url: '/id-jag',
    headers: {
      authorization: `Bearer ${common.token}`,
      'content-type': 'application/json',
      ...options.headers,
    },
    payload: JSON.stringify(common.body),
    ...options,
  } as Parameters<House['inject']>[0])
const json = { authorization: `Bearer ${common.token}`, 'content-type': 'application/json' }

test('is not there unless it is on', async (t) => {
  const off = await openHouse(t)
  for (const [method, url] of [
    ['POST', '/id-jag'],
    ['GET', '/grants'],
    ['POST', '/grants'],
    ['DELETE', '/grants/dlg_AAAAAAAAAAAAAAAAAAAAAA'],
  ] as const) {
    const { status } = await off.inject({ method, url, headers: json, payload: '{}' })
    assert.equal(status, 404, `${method} ${url}`)
  }
})

const MALFORMED: [string, object][] = [
  ['a form', { headers: { ...json, 'content-type': 'application/x-www-form-urlencoded' } }],
  ['no body', { payload: '' }],
  ['no JSON', { payload: '{' }],
  ['an array', { payload: '[]' }],
  ['a bare value', { payload: '"x"' }],
  ['no UTF-8', { payload: Buffer.from([0x7b, 0xff, 0x7d]) }],
  ['too much', { payload: JSON.stringify({ ...common.body, x: 'x'.repeat(70_000) }) }],
  ['a NUL', { payload: JSON.stringify({ ...common.body, agent_context_id: '\0' }) }],
  ['half a surrogate pair', { payload: '{"audience":"\\ud800"}' }],
  ['no audience', { payload: '{}' }],
  ['an empty audience', { payload: '{"audience":""}' }],
  ['an audience that is no text', { payload: '{"audience":7}' }],
  ['a scope that is a list', { payload: '{"audience":"https://x.example","scope":["a"]}' }],
  ['nothing but depth', { payload: `{"audience":${'['.repeat(200)}${']'.repeat(200)}}` }],
]
for (const [what, options] of MALFORMED) {
  test(`${what} is a malformed request (TX-63)`, async () => {
    await assertRefusedHere(house, () => send(options), [400, 'invalid_request', null])
  })
}

test('a number too large to be exact is no part of details, as in a form (TX-15)', async () => {
  const payload = JSON.stringify({
    ...common.body,
    authorization_details: [{ type: 'x', amount: 7 }],
  })
  for (const number of ['1e400', '9007199254740993']) {
    const answer = await send({ payload: payload.replace(':7}', `:${number}}`) })
    assertBearerError(answer, 400, 'invalid_authorization_details')
  }
})

test('unknown members are ignored, also odd ones', async () => {
  const odd = '"__proto__":{"audience":"x"},"constructor":1,"x":null'
  const payload = JSON.stringify(common.body).replace('{', `{${odd},`)
  const answer = await send({ payload })
  assert.equal(answer.status, 200, answer.text)
})

test('other methods are told which there are, and no other origin may read (no CORS)', async () => {
  for (const [path, allow] of [
    ['/id-jag', 'POST'],
    ['/grants', 'GET, HEAD, POST'],
    ['/grants/dlg_x', 'DELETE'],
  ] as const) {
    for (const method of ['PUT', 'PATCH', 'OPTIONS'] as const) {
      const headers = { ...json, origin: 'https://evil.example' }
      const answer = await house.inject({ method, url: path, headers })
      assert.equal(answer.status, 405)
      assert.equal(answer.headers.allow, allow)
      assert.equal(answer.body.error, 'invalid_request')
      assert.equal(answer.headers['access-control-allow-origin'], undefined)
    }
  }
})

for (const who of ['client', 'user'] as const) {
  test(`a ${who} is counted as at the token endpoint, and told to wait`, async () => {
    const world = await delegated(house)
    // The twentieth second of the next minute, in which nobody has asked yet.
    house.wait(80 - ((house.clock.now.getTime() / 1000) % 60))
    const budget = BUDGETS[who]
    const key = who === 'client' ? world.story.agent.id : world.story.user.id
    for (let count = 1; count < budget.perMinute; count++) house.deps.tally.take(budget, key)
    assert.equal((await ask(world)).status, 200)
    for (const answer of [await ask(world), await call(house, 'GET', '/grants', world)]) {
      assertBearerError(answer, 429, 'temporarily_unavailable')
      assert.equal(answer.headers['retry-after'], '40')
    }
    const written = (await events(house, 'token.refused')).filter(
      (event) => event.agent_id === world.story.agent.id && event.reason === 'too_many_requests',
    )
    // The first of its minute stands for all of them.
    assert.equal(written.length, 1)
  })
}

test('no door believes a token before it knows the keys of now: a replica may have stood still (DS-26)', async (t) => {
  const one = await openHouse(t, { DELEGATE_TOKENS: 'on' })
  const world = await delegated(one)
  const { deps } = one
  const doors = [
    ['GET', '/grants', undefined],
    ['POST', '/grants', world.body],
    ['DELETE', '/grants/dlg_AAAAAAAAAAAAAAAAAAAAAA', undefined],
    ['POST', '/id-jag', world.body],
  ] as const
  // Rings that look only when they are told to, one for each door: whoever was told knows.
  const stale = await Promise.all(doors.map(() => openKeyRing(deps, false)))
  const { kid = '' } = decodeProtectedHeader(world.token)
  const keys = await openKeyRing(deps, false)
  const dropping = { actor: { kind: 'system' }, reason: 'a test' } as const
  await compromise({ ...deps, keys }, kid, dropping)
  one.wait(60)
  deps.keys.close()
  for (const [place, [method, path, body]] of doors.entries()) {
    Object.assign(deps.keys, stale[place])
    const at = await assertRefusedHere(one, () => call(one, method, path, world, body), [
      401,
      'unauthorized',
      'bad_subject_token',
    ])
    assert.equal(deps.keys.verificationKey('id_token', kid), undefined, at.text)
  }
})

test('no token stands in the log, nor in an error', async () => {
  const world = await delegated(house)
  const { assertion } = (await ask(world)).body
  await ask(world, { audience: 'https://unknown.example' })
  const bad: Answer = await ask(world, {}, { token: `${world.token}x` })
  for (const secret of [world.token, assertion]) {
    const part = secret.split('.')[2]
    assert.ok(!house.logs.some((line) => line.includes(part)))
    assert.ok(!bad.text.includes(part))
  }
})

test('a refused request changes nothing', async () => {
  const before = await stateOf(house)
  for (const changes of [{ audience: 'https://x.example' }, { scope: 'nobody.knows' }]) {
    assert.notEqual((await ask(common, changes)).status, 200)
  }
  assert.deepEqual(await stateOf(house), before)
})
