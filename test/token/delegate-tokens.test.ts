// What proves an agent at the doors of the auth.md provider guide: an access token that was issued for this (TX-29), and no
// other token, whoever signed it (TV-60).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { BUDGETS } from '../../src/http/budgets.ts'
import { GRANT } from '../../src/oauth/names.ts'
import { openClientSite } from '../support/client-site.ts'
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
import { openHouse } from '../support/house.ts'
import { clientAssertion, entitle, newAgent, RESOURCE, type Story } from '../support/story.ts'

const house = await openHouse({ after }, { DELEGATE_TOKENS: 'on' })
const { keys, db } = house.deps
const { issuer } = house.config
const common = await delegated(house)
const { agent } = common.story
const claims = decodeJwt(common.token) as Record<string, unknown>
const marker = markerOf(common.token)
const plain = await common.story.signIn()
const elsewhere = await delegated(house)
const others = decodeJwt(elsewhere.token)
const stranger = await newAgent(house, common.story.owner)
const now = () => Math.floor(house.clock.now.getTime() / 1000)

const unauthorized = (reason: string) => [401, 'unauthorized', reason] as const

test('without a token the answer says how to ask, and no error code (RFC 6750 §3.1)', async () => {
  for (const authorization of [undefined, '', 'Bearer', 'Basic eDp5', 'Bearer a b', 'Token x']) {
    const answer = await house.inject({
      method: 'POST',
      url: '/id-jag',
      headers: { 'content-type': 'application/json', ...(authorization && { authorization }) },
      payload: JSON.stringify(common.body),
    })
    assertBearerError(answer, 401, 'unauthorized')
    const asking = String(answer.headers['www-authenticate'])
    assert.match(asking, /^Bearer realm="agent-idp", DPoP realm="agent-idp", algs="/)
    assert.doesNotMatch(asking, /error/)
  }
})

/** An access token by a key of ours, with whatever is odd about it. */
const signed = async (changes: object = {}, { purpose = 'id_token', typ = 'at+jwt' } = {}) =>
  (await keys.sign(purpose as 'id_token', 'ES256', typ, { ...claims, ...changes })).jws

const CASES: [string, string, () => Promise<string>][] = [
  ['an ID token', 'bad_subject_token', async () => plain.id_token],
  ['an access token without the scope', 'bad_subject_token', async () => plain.access_token],
  ['a refresh token', 'bad_subject_token', async () => plain.refresh_token],
  ['an ID-JAG', 'bad_subject_token', async () => (await ask(common)).body.assertion],
  ['a client assertion', 'bad_subject_token', () => clientAssertion(house, agent)],
  ['a service assertion', 'bad_subject_token', async () => 'reg_2fUJb5gSSSuB1zZz4ZkqVA'],
  ...[
    'JWT',
    'AT+JWT',
    'application/at+jwt',
    'oauth-id-jag+jwt',
    'secevent+jwt',
    'logout+jwt',
    'dpop+jwt',
    'client-authentication+jwt',
    'actor-token+jwt',
  ].map((typ): [string, string, () => Promise<string>] => [
    `one with typ ${typ}`,
    'bad_subject_token',
    () => signed({}, { typ }),
  ]),
  ['one by a key for ID-JAGs', 'bad_subject_token', () => signed({}, { purpose: 'id_jag' })],
  ['one by a key for seals', 'bad_subject_token', () => signed({}, { purpose: 'seal' })],
  ['one with its signature cut', 'bad_subject_token', async () => common.token.slice(0, -3)],
  ['one of another issuer', 'bad_subject_token', () => signed({ iss: 'https://other.example' })],
  ['one for an API', 'bad_subject_token', () => signed({ aud: RESOURCE })],
  ['one for us and an API', 'bad_subject_token', () => signed({ aud: [issuer, RESOURCE] })],
  ['one without a scope', 'bad_subject_token', () => signed({ scope: undefined })],
  ['one with a longer scope', 'bad_subject_token', () => signed({ scope: 'openid delegated' })],
  ['one without its marker', 'bad_subject_token', () => signed({ [marker]: undefined })],
  ['one of another user', 'bad_subject_token', () => signed({ sub: others.sub })],
  ['one of another grant', 'bad_subject_token', () => signed({ [marker]: others[marker] })],
  ['one of another client', 'bad_subject_token', () => signed({ client_id: stranger.client_id })],
  ['one of no client', 'bad_subject_token', () => signed({ client_id: undefined })],
  ['one of several clients', 'bad_subject_token', () => signed({ client_id: [agent.id] })],
  ['one of a numbered client', 'bad_subject_token', () => signed({ client_id: 7 })],
  ['one of an odd client', 'bad_subject_token', () => signed({ client_id: 'a\0b' })],
  ['one that is over', 'subject_token_expired', () => signed({ exp: now() })],
  ['one without an end', 'bad_subject_token', () => signed({ exp: undefined })],
  ['one of the future', 'bad_subject_token', () => signed({ iat: now() + 61 })],
  ['one bound to nobody knows what', 'wrong_dpop_key', () => signed({ cnf: { x: 1 } })],
]
for (const [what, reason, make] of CASES) {
  test(`${what} is refused (TV-60, TX-29)`, async () => {
    const token = await make()
    const answer = await assertRefusedHere(
      house,
      () => ask(common, {}, { token }),
      unauthorized(reason),
    )
    assert.match(String(answer.headers['www-authenticate']), /error="invalid_token"/)
    for (const [method, path] of [
      ['GET', '/grants'],
      ['POST', '/grants'],
      ['DELETE', '/grants/dlg_AAAAAAAAAAAAAAAAAAAAAA'],
    ] as const) {
      const body = method === 'POST' ? common.body : undefined
      assertBearerError(await call(house, method, path, { token }, body), 401, 'unauthorized')
    }
  })
}

type Ending = (of: World) => unknown
const suspend = (table: 'users', id: string) =>
  db.updateTable(table).set({ status: 'suspended' }).where('id', '=', id).execute()
const ENDINGS: [string, string, Ending][] = [
  ['the session ended', 'session_ended', ({ story }) => endSession(story)],
  ['the user is suspended', 'user_inactive', ({ story }) => suspend('users', story.user.id)],
  [
    'the grant was given up',
    'refresh_token_revoked',
    ({ token }) =>
      db
        .updateTable('refresh_token_families')
        .set({ ended_at: house.clock.now, end_reason: 'revoked_by_client' })
        .where('id', '=', String(decodeJwt(token)[marker]))
        .execute(),
  ],
  [
    'the agent was retired',
    'agent_retired',
    ({ story }) => house.admin('POST', `/agents/${story.agent.id}/retire`, {}),
  ],
  [
    'the last key of the agent has ended',
    'credential_ended',
    ({ story: { agent: of } }) =>
      house.admin('DELETE', `/agents/${of.id}/credentials/${of.credential_id}`),
  ],
  ['five minutes have passed', 'subject_token_expired', () => house.wait(300)],
]
for (const [what, reason, end] of ENDINGS) {
  test(`no token counts once ${what} (TX-24, TX-29)`, async () => {
    const world = await delegated(house)
    assert.equal((await ask(world)).status, 200)
    await end(world)
    await assertRefusedHere(house, () => ask(world), unauthorized(reason))
    assert.equal((await call(house, 'GET', '/grants', world)).status, 401)
  })
}

test('an agent that publishes its keys elsewhere needs none here', async () => {
  const world = await delegated(house)
  const { agent: of } = world.story
  await house.admin('DELETE', `/agents/${of.id}/credentials/${of.credential_id}`)
  await db
    .updateTable('agents')
    .set({ jwks_uri: 'https://agent.example/keys' })
    .where('id', '=', of.id)
    .execute()
  assert.equal((await ask(world)).status, 200)
})

const FORBIDDEN: [string, string, Ending][] = [
  [
    'is suspended',
    'agent_suspended',
    ({ story }) =>
      db
        .updateTable('agents')
        .set({ status: 'suspended' })
        .where('id', '=', story.agent.id)
        .execute(),
  ],
  ['has no active owner', 'owner_inactive', ({ story }) => suspend('users', story.owner.id)],
  [
    'may not exchange any more',
    'grant_not_allowed',
    ({ story }) =>
      house.admin('PATCH', `/agents/${story.agent.id}`, {
        grant_types: [GRANT.authorizationCode],
      }),
  ],
  [
    'is public',
    'public_client',
    async ({ story: { agent: of } }) => {
      await house.admin('DELETE', `/agents/${of.id}/credentials/${of.credential_id}`)
      await db
        .updateTable('agents')
        .set({ token_endpoint_auth_method: 'none' })
        .where('id', '=', of.id)
        .execute()
    },
  ],
]
for (const [what, reason, change] of FORBIDDEN) {
  test(`an agent that ${what} is told so (FL-05)`, async () => {
    const world = await delegated(house)
    await change(world)
    await assertRefusedHere(house, () => ask(world), [403, 'unauthorized_client', reason])
    assertBearerError(await call(house, 'GET', '/grants', world), 403, 'unauthorized_client')
  })
}

test('a token that is none says nothing of the agent that it names (TX-61)', async () => {
  const world = await delegated(house)
  const forged = `${world.token.slice(0, -4)}AAAA`
  await db
    .updateTable('agents')
    .set({ status: 'suspended', dpop_bound_access_tokens: true })
    .where('id', '=', world.story.agent.id)
    .execute()
  const answer = await ask(world, { audience: 'https://unknown.example' }, { token: forged })
  assertBearerError(answer, 401, 'unauthorized')
  const nobody = await ask(world, {}, { token: 'x.y.z' })
  assert.deepEqual(answer.body, nobody.body)
})

test('no forged token uses up what the agent and the user may ask for', async () => {
  const world = await delegated(house)
  const forged = `${world.token.slice(0, -4)}AAAA`
  for (let count = 0; count < 20; count++) await ask(world, {}, { token: forged })
  const { tally } = house.deps
  for (const [budget, key] of [
    [BUDGETS.client, world.story.agent.id],
    [BUDGETS.user, world.story.user.id],
  ] as const) {
    let left = 0
    while (!tally.take(budget, key)) left++
    assert.ok(left >= budget.perMinute - 3, `${budget.name}: ${left}`)
  }
})

async function endSession({ browser: there }: Story): Promise<void> {
  const page = await there.get('/account')
  const answer = await there.post('/sign-out', {
    csrf: /name="csrf" value="([^"]*)"/.exec(page.text)?.[1],
  })
  assert.equal(answer.status, 200, answer.text)
}

test('an agent that is known by its metadata document carries such tokens too (DS-40)', async (t) => {
  const site = await openClientSite(t)
  const client = await site.publish()
  const { story, body } = common
  const rule = await house.admin('POST', '/client-metadata-rules', {
    url: client.url,
    owner_id: story.owner.id,
    purpose: 'plans',
    agent_expires_at: new Date(house.clock.now.getTime() + 86_400_000).toISOString(),
  })
  assert.equal(rule.status, 201, rule.text)
  client.id = rule.body.agent_id
  await entitle(house, client, story.audience, { client_id: undefined })
  await story.delegate({ agent_id: client.id })
  const { access_token: token } = await delegateToken(story, { as: client })
  const world = { story, token, body }
  const answer = await ask(world)
  assert.equal(answer.status, 200, answer.text)
  assert.equal(decodeJwt(answer.body.assertion).client_id, client.url)
  assert.equal((await call(house, 'GET', '/grants', { token })).body.grants.length, 1)
  // By a rule that has ended it may not come, whatever it carries.
  const ended = await house.admin('DELETE', `/client-metadata-rules/${rule.body.id}`)
  assert.equal(ended.status, 204)
  assertBearerError(await ask(world), 401, 'unauthorized')
  assertBearerError(await call(house, 'GET', '/grants', { token }), 401, 'unauthorized')
})
