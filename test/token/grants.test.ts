// GET, POST and DELETE /grants (GR-05): an agent sees what its user allows it, gives it up, and asks for more.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import {
  askIdJag,
  assertBearerError,
  assertRefusedHere,
  call,
  delegated,
  delegateToken,
  type World,
} from '../support/delegate.ts'
import { events } from '../support/enrol.ts'
import { type Answer, openHouse } from '../support/house.ts'
import { stateOf } from '../support/refusals.ts'
import { entitle, newAgent, newAudience, RESOURCE, tellStory } from '../support/story.ts'

const house = await openHouse({ after }, { DELEGATE_TOKENS: 'on' })
const { db } = house.deps

const list = async (world: World) => {
  const answer = await call(house, 'GET', '/grants', world)
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.headers['cache-control'], 'no-store')
  return answer.body.grants as Record<string, unknown>[]
}
const ask = ({ token, body }: World, changes: object = {}) =>
  call(house, 'POST', '/grants', { token }, { ...body, ...changes })
const giveUp = ({ token }: World, id: string) => call(house, 'DELETE', `/grants/${id}`, { token })

/** A story in which nothing was allowed yet. */
async function nothingYet(options: Parameters<typeof tellStory>[1] = {}): Promise<World> {
  const story = await tellStory(house, options)
  const { access_token: token } = await delegateToken(story)
  return { story, token, body: { audience: story.audience.issuer, scope: 'docs.read' } }
}
const delegationsOf = ({ story }: World) =>
  db
    .selectFrom('delegations')
    .select(['id', 'status', 'end_reason', 'scopes', 'source'])
    .where('user_id', '=', story.user.id)
    .orderBy('created_at')
    .execute()
const idOf = async (world: World) => (await delegationsOf(world)).at(-1)?.id as string

/** That it was put to the user: the address where they are asked, which only they may open. */
function assertPending(answer: Answer): string {
  assert.equal(answer.status, 202, answer.text)
  const { interaction_uri, ...others } = answer.body
  assert.deepEqual(others, { status: 'pending', expires_in: 600 })
  assert.match(interaction_uri, /^http:\/\/localhost:4000\/consent\/int_/)
  return new URL(interaction_uri).pathname
}

test('lists the live delegations of this user to this agent, and no others (GR-05)', async () => {
  const world = await delegated(house)
  const { story } = world
  const other = await newAudience(house, { issuer: 'https://elsewhere.example' })
  await entitle(house, story.agent, other)
  house.wait(1)
  const expires_at = new Date(house.clock.now.getTime() + 100_000).toISOString()
  const more = { audience_id: other.id, mode: 'once', resources: [RESOURCE], expires_at }
  const second = await story.delegate(more)
  // Of another agent, of another user, and one that is over.
  const agent = await newAgent(house, story.owner)
  await entitle(house, agent, story.audience)
  await story.delegate({ agent_id: agent.id })
  await delegated(house)
  const over = await newAudience(house, { issuer: 'https://over.example' })
  await entitle(house, story.agent, over)
  await story.delegate({
    audience_id: over.id,
    expires_at: new Date(house.clock.now.getTime() + 5_000).toISOString(),
  })
  house.wait(5)

  const grants = await list(world)
  assert.deepEqual(grants, [
    {
      id: second.id,
      audience: 'https://elsewhere.example',
      scopes: ['docs.read'],
      resources: [RESOURCE],
      mode: 'once',
      source: 'admin',
      created_at: grants[0]?.created_at,
      expires_at,
      status: 'active',
    },
    {
      id: grants[1]?.id,
      audience: story.audience.issuer,
      scopes: ['docs.read'],
      resources: null,
      mode: 'always',
      source: 'admin',
      created_at: grants[1]?.created_at,
      expires_at: null,
      status: 'active',
    },
  ])
  assert.match(String(grants[0]?.created_at), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
})

test('asking puts the question to the user, and allows nothing (GR-05)', async () => {
  const world = await nothingYet()
  const before = await stateOf(house)
  const path = assertPending(await ask(world, { mode: 'always' }))
  assert.deepEqual(await stateOf(house), before)
  assert.deepEqual(await list(world), [])
  assert.equal((await askIdJag(world)).status, 403)
  // Asked early, and by the exchange, it is the same question.
  assert.equal(assertPending(await ask(world)), path)
  assert.equal(new URL((await askIdJag(world)).body.interaction_uri).pathname, path)
  const [event] = await events(house, 'interaction.requested')
  assert.equal(event?.actor_kind, 'agent')
  assert.deepEqual(
    [event?.actor_id, event?.user_id, event?.audience_id],
    [world.story.agent.id, world.story.user.id, world.story.audience.id],
  )
  assert.deepEqual(event?.detail, { interaction_id: path.slice('/consent/'.length) })

  // Nobody else decides it, the agent with its token least of all.
  const page = await world.story.browser.get(path)
  const stranger = await tellStory(house)
  await stranger.signIn()
  assert.equal((await stranger.browser.get(path)).status, 404)
  const asAgent = await house.inject({
    method: 'POST',
    url: path,
    headers: {
      authorization: `Bearer ${world.token}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    payload: 'decision=allow&mode=always&scope=docs.read',
  })
  assert.notEqual(asAgent.status, 200)
  assert.deepEqual(await list(world), [])

  const done = await world.story.browser.submit(page, {
    decision: 'allow',
    mode: 'once',
    scope: 'docs.read',
  })
  assert.equal(done.status, 200, done.text)
  const answer = await ask(world, { mode: 'always' })
  assert.equal(answer.status, 200, answer.text)
  // The wish was one: the user chose otherwise.
  assert.deepEqual([answer.body.mode, answer.body.source], ['once', 'user'])
  assert.deepEqual(await list(world), [answer.body])
})

test('what is allowed already is the answer, unless more is asked for (GR-04)', async () => {
  const world = await delegated(house)
  const id = await idOf(world)
  for (const changes of [
    {},
    { scope: undefined },
    { resource: RESOURCE },
    { scope: 'docs.read x' },
  ]) {
    const answer = await ask(world, changes)
    assert.equal(`${answer.status} ${answer.body.id}`, `200 ${id}`, answer.text)
  }
  // An ID-JAG is narrowed to what was allowed; a grant is asked for as a whole.
  assert.equal((await askIdJag(world, { scope: 'docs.read docs.write' })).status, 200)
  const path = assertPending(await ask(world, { scope: 'docs.read docs.write' }))
  const page = await world.story.browser.get(path)
  assert.match(page.text, /value="docs\.read"[\s\S]*value="docs\.write"/)
})

test('a resource and details beyond what was allowed are asked for', async () => {
  const files = 'https://files.paperclip.example/'
  const types = [{ type: 'payment', description: 'Pay' }]
  const world = await nothingYet({
    audience: {
      resources: [
        {
          identifier: RESOURCE,
          scopes: [{ name: 'docs.read' }],
          authorization_details_types: types,
        },
        { identifier: files, scopes: [{ name: 'docs.read' }] },
      ],
    },
    entitlement: { scopes: ['docs.read'] },
  })
  const paying = (...actions: string[]) => ({
    resource: RESOURCE,
    authorization_details: [{ type: 'payment', actions }],
  })
  const { authorization_details } = paying('pay')
  await world.story.delegate({ resources: [RESOURCE], authorization_details })
  for (const [changes, status] of [
    [{}, 200],
    [{ resource: RESOURCE }, 200],
    [{ resource: [RESOURCE, files] }, 202],
    [{ resource: files }, 202],
    [paying('pay'), 200],
    [paying('pay', 'refund'), 202],
  ] as const) {
    const answer = await ask(world, changes)
    assert.equal(answer.status, status, JSON.stringify(changes) + answer.text)
  }
})

test('a grant needs neither a key nor a fresh sign-in: those are for the ID-JAG', async () => {
  const audience = { dpop_required: true, max_auth_age: 400, acr_values: ['urn:example:mfa'] }
  const world = await delegated(house, { audience })
  assert.equal((await askIdJag(world)).status, 400)
  assert.equal((await ask(world)).status, 200)
  const fresh = await nothingYet({ audience })
  assertPending(await ask(fresh))
})

test('where an administrator consents for everyone, nobody is asked', async () => {
  const world = await nothingYet({ entitlement: { consent: 'admin' } })
  const answer = await ask(world)
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.body.source, 'policy')
  // Given up, it is not made again: the user would have to allow it.
  assert.equal((await giveUp(world, answer.body.id)).status, 204)
  assertPending(await ask(world))
  assert.equal((await askIdJag(world)).status, 403)
})

const block = async ({ story: { user } }: World) => {
  const answer = await house.admin('POST', '/blocks', { user_id: user.id, reason: 'out' })
  assert.equal(answer.status, 201, answer.text)
}
for (const [what, changes, refusal, options, change] of [
  [
    'unknown audience',
    { audience: 'https://x.example' },
    [400, 'invalid_target', 'unknown_audience'],
  ],
  [
    'resource of others',
    { resource: 'https://x.example/' },
    [400, 'invalid_target', 'resource_not_registered'],
  ],
  ['scope that nobody has', { scope: 'admin' }, [400, 'invalid_scope', 'scope_not_in_catalogue']],
  [
    'bad details',
    { authorization_details: 'x' },
    [400, 'invalid_authorization_details', 'details_malformed'],
  ],
  ['unknown mode', { mode: 'twice' }, [400, 'invalid_request', null]],
  ['audience that is a list', { audience: [] }, [400, 'invalid_request', null]],
  [
    'agent without an entitlement',
    {},
    [400, 'invalid_target', 'no_entitlement'],
    { entitlement: null },
  ],
  ['user whom a rule keeps out', {}, [403, 'access_denied', 'denied_by_rule'], {}, block],
  [
    'user without a verified address',
    {},
    [403, 'missing_verified_email', 'unverified_contact'],
    { audience: { profile: 'authmd-0.2' }, user: { email_verified: false } },
  ],
] as [
  string,
  object,
  readonly [number, string, string | null],
  Parameters<typeof tellStory>[1]?,
  ((of: World) => Promise<void>)?,
][]) {
  test(`${what}: no question helps, and none is put to the user`, async () => {
    const world = await nothingYet(options)
    await change?.(world)
    await assertRefusedHere(house, () => ask(world, changes), refusal)
    const asked = await db
      .selectFrom('interactions')
      .select('id')
      .where('user_id', '=', world.story.user.id)
      .execute()
    assert.deepEqual(asked, [])
  })
}

test('an agent gives up what it was allowed, and may do so twice (GR-05)', async () => {
  const world = await delegated(house)
  const id = await idOf(world)
  for (const _ of [1, 2]) {
    const answer = await giveUp(world, id)
    assert.equal(answer.status, 204)
    assert.equal(answer.text, '')
    assert.equal(answer.headers['cache-control'], 'no-store')
  }
  const [row] = await delegationsOf(world)
  assert.deepEqual([row?.status, row?.end_reason], ['revoked', 'agent'])
  assert.deepEqual(await list(world), [])
  assertBearerError(await askIdJag(world), 403, 'consent_required')
  const revoked = (await events(house, 'delegation.revoked')).filter(
    ({ delegation_id }) => delegation_id === id,
  )
  assert.equal(revoked.length, 1)
  assert.deepEqual(
    [revoked[0]?.actor_kind, revoked[0]?.actor_id, revoked[0]?.user_id, revoked[0]?.detail],
    ['agent', world.story.agent.id, world.story.user.id, { by: 'agent' }],
  )
  const page = await world.story.browser.get('/account')
  assert.match(page.text, /given up by the agent/)
})

test('what has ended otherwise stays as it was', async () => {
  const world = await delegated(house)
  await world.story.delegate({ mode: 'once' })
  const id = await idOf(world)
  assert.equal((await askIdJag(world)).status, 200)
  assert.equal((await giveUp(world, id)).status, 204)
  assert.equal((await delegationsOf(world)).find((row) => row.id === id)?.status, 'consumed')
})

test('what is unknown, of another user or of another agent is not found, in the same words (GR-05)', async () => {
  const world = await delegated(house)
  const { story } = world
  const stranger = await delegated(house)
  const agent = await newAgent(house, story.owner)
  await entitle(house, agent, story.audience)
  const ofOtherAgent = (await story.delegate({ agent_id: agent.id })).id
  const before = await stateOf(house)
  const bodies: unknown[] = []
  for (const id of [
    await idOf(stranger),
    ofOtherAgent,
    'dlg_AAAAAAAAAAAAAAAAAAAAAA',
    'x',
    '%00',
    '%F0%9F%94%91',
    'd'.repeat(300),
  ]) {
    const answer = await giveUp(world, id)
    assertBearerError(answer, 404, 'not_found')
    bodies.push(answer.body)
  }
  assert.equal(new Set(bodies.map((body) => JSON.stringify(body))).size, 1)
  assert.deepEqual(await stateOf(house), before)
  assert.equal((await list(stranger)).length, 1)
})

test('another agent of the same user sees nothing of it, with a token of its own', async () => {
  const world = await delegated(house)
  const { story } = world
  const agent = await newAgent(house, story.owner)
  const { access_token: token } = await delegateToken(story, { as: agent })
  assert.deepEqual(await list({ ...world, token }), [])
  assertBearerError(await giveUp({ ...world, token }, await idOf(world)), 404, 'not_found')
  assert.equal((await list(world)).length, 1)
})

test('a mint that began before a grant was given up does not end after it (rule 3)', async () => {
  const world = await delegated(house)
  const id = await idOf(world)
  const [given, ...minted] = await Promise.all([
    giveUp(world, id),
    ...Array.from({ length: 8 }, () => askIdJag(world)),
  ])
  assert.equal(given.status, 204)
  for (const { status } of minted) assert.ok(status === 200 || status === 403, String(status))
  assert.equal((await askIdJag(world)).status, 403)
})
