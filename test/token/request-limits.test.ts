// Limits on all requests to the token endpoint, by client and by user. Those by address: http/address-guard.test.ts.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { BUDGETS, type Budget } from '../../src/http/budgets.ts'
import { GRANT } from '../../src/oauth/names.ts'
import { authorize } from '../support/browser.ts'
import { events } from '../support/enrol.ts'
import { type Answer, openHouse } from '../support/house.ts'
import { assertOAuthError, stateOf } from '../support/refusals.ts'
import { clientAuthentication, newAgent, type Story, tellStory } from '../support/story.ts'

const house = await openHouse({ after })
const { tally } = house.deps

/** All that may be asked for by one of them in this minute, but for so many requests. */
function spend(budget: Budget, key: string, left = 0): void {
  for (let count = left; count < budget.perMinute; count++) tally.take(budget, key)
}
/** How many requests are left to one of them: it has none afterwards. */
function leftTo(budget: Budget, key: string): number {
  for (let left = 0; ; left++) if (tally.take(budget, key)) return left
}
/** The twentieth second of the next minute. */
const nextMinute = () => house.wait(80 - ((house.clock.now.getTime() / 1000) % 60))
/** A story whose exchange would be granted, in a minute of its own. */
async function granted(options: Parameters<typeof tellStory>[1] = {}): Promise<Story> {
  const story = await tellStory(house, options)
  await story.delegate()
  await story.signIn()
  nextMinute()
  return story
}
const SECRET = { agent: { token_endpoint_auth_method: 'client_secret_post' } }

function assertTooMany(answer: Answer): void {
  assertOAuthError(answer, 429, 'temporarily_unavailable')
  const left = 60 - ((house.clock.now.getTime() / 1000) % 60)
  assert.equal(answer.headers['retry-after'], String(left))
}
const refusalsOf = async (member: 'agent_id' | 'user_id', id: string, reason: string) =>
  (await events(house, 'token.refused')).filter(
    (event) => event[member] === id && event.reason === reason,
  )

const refresh = async (story: Story, refresh_token: string, as = story.agent): Promise<Answer> =>
  house.form('/oauth2/token', {
    grant_type: GRANT.refreshToken,
    refresh_token,
    ...(await clientAuthentication(house, as)),
  })

for (const [method, options] of [
  ['secret', SECRET],
  ['assertion', {}],
] as const) {
  test(`a client that authenticates by ${method} is told to wait beyond its budget, and others are served`, async () => {
    const [story, other] = [await granted(options), await granted(options)]
    spend(BUDGETS.client, story.agent.id, 1)
    assert.equal((await story.exchange()).status, 200)
    const before = await stateOf(house)
    for (const ask of [
      () => story.exchange(),
      () => refresh(story, 'unknown'),
      async () =>
        house.form('/oauth2/token', {
          grant_type: GRANT.authorizationCode,
          code: 'unknown',
          ...(await clientAuthentication(house, story.agent)),
        }),
    ]) {
      assertTooMany(await ask())
    }
    assert.deepEqual(await stateOf(house), before)
    assert.equal((await other.exchange()).status, 200)
    nextMinute()
    assert.equal((await story.exchange()).status, 200)
  })
}

test('a user beyond their budget waits with every agent and every grant, and other users do not', async () => {
  const story = await granted()
  const second = await newAgent(house, story.owner)
  const { refresh_token } = await story.signIn(second)
  const { refresh_token: own } = await story.signIn()
  const code = await authorize(story.browser, story.agent)
  spend(BUDGETS.user, story.user.id)
  const before = await stateOf(house)
  assertTooMany(await story.exchange())
  assertTooMany(await refresh(story, refresh_token, second))
  assertTooMany(await refresh(story, own))
  const redeem = async () =>
    house.form('/oauth2/token', {
      grant_type: GRANT.authorizationCode,
      ...code,
      ...(await clientAuthentication(house, story.agent)),
    })
  assertTooMany(await redeem())
  assert.deepEqual(await stateOf(house), before)

  const other = await tellStory(house)
  await other.delegate()
  assert.equal((await other.exchange()).status, 200)
  house.wait(45)
  assert.equal((await redeem()).status, 200, 'what was refused was not spent')
  assert.equal((await refresh(story, own)).status, 200)
})

test('successes and failures count alike, once each', async () => {
  const story = await granted()
  const { refresh_token } = await story.signIn()
  nextMinute()
  assert.equal((await story.exchange()).status, 200)
  assert.equal((await story.exchange({ scope: 'unknown' })).status, 400)
  assert.equal((await refresh(story, refresh_token)).status, 200)
  assert.equal((await refresh(story, 'unknown')).status, 400)
  assert.equal(leftTo(BUDGETS.client, story.agent.id), BUDGETS.client.perMinute - 4)
  assert.equal(leftTo(BUDGETS.user, story.user.id), BUDGETS.user.perMinute - 3)
})

test('an exchange that is decided anew counts once', async () => {
  const story = await tellStory(house, { entitlement: { consent: 'admin' } })
  await story.signIn()
  nextMinute()
  assert.equal((await story.exchange()).status, 200)
  assert.equal(leftTo(BUDGETS.client, story.agent.id), BUDGETS.client.perMinute - 1)
  assert.equal(leftTo(BUDGETS.user, story.user.id), BUDGETS.user.perMinute - 1)
})

test('nobody uses up the budget of a client without its key, nor of a user without a token', async () => {
  const story = await granted(SECRET)
  const stranger = { client_id: story.agent.client_id, client_secret: 'wrong' }
  assert.equal((await story.exchange(stranger)).status, 401)
  assert.equal((await story.exchange({ subject_token: 'unknown' })).status, 400)
  assert.equal(leftTo(BUDGETS.client, story.agent.id), BUDGETS.client.perMinute - 1)
  assert.equal(leftTo(BUDGETS.user, story.user.id), BUDGETS.user.perMinute)
})

test('a public client, which anybody can name, has no budget to be used up', async () => {
  const story = await tellStory(house, { agent: { token_endpoint_auth_method: 'none' } })
  await story.signIn()
  nextMinute()
  assertOAuthError(await story.exchange(), 400, 'unauthorized_client')
  assertOAuthError(await refresh(story, 'unknown'), 400, 'invalid_grant')
  assert.equal(leftTo(BUDGETS.client, story.agent.id), BUDGETS.client.perMinute)
})

test('a replayed assertion is not its client asking: it counts for nobody', async () => {
  const story = await granted()
  const { refresh_token } = await story.signIn()
  nextMinute()
  const spent = await clientAuthentication(house, story.agent)
  assert.equal((await story.exchange(spent)).status, 200)
  const replays: (() => Promise<Answer>)[] = [
    () => story.exchange(spent),
    () => story.exchange({ ...spent, scope: 'unknown' }),
    () => story.exchange({ ...spent, subject_token: 'unknown' }),
    () => house.form('/oauth2/token', { grant_type: GRANT.refreshToken, refresh_token, ...spent }),
  ]
  for (const replay of replays) assertOAuthError(await replay(), 401, 'invalid_client')
  assert.equal(leftTo(BUDGETS.client, story.agent.id), BUDGETS.client.perMinute - 1)
  assert.equal(leftTo(BUDGETS.user, story.user.id), BUDGETS.user.perMinute - 1)
})

for (const [name, budget] of [
  ['a client', BUDGETS.client],
  ['a user', BUDGETS.user],
] as const) {
  test(`nor does it give anything back to ${name} beyond the budget`, async () => {
    const story = await granted()
    const spent = await clientAuthentication(house, story.agent)
    assert.equal((await story.exchange(spent)).status, 200)
    spend(budget, budget === BUDGETS.client ? story.agent.id : story.user.id, 1)
    assertOAuthError(await story.exchange(spent), 401, 'invalid_client')
    assertTooMany(await story.exchange())
  })
}

test('an assertion that is refused for it is spent all the same', async () => {
  const story = await granted()
  for (const [budget, id] of [
    [BUDGETS.user, story.user.id],
    [BUDGETS.client, story.agent.id],
  ] as const) {
    spend(budget, id)
    // The second is refused without an event of its own.
    assertTooMany(await story.exchange())
    const presented = await clientAuthentication(house, story.agent)
    assertTooMany(await story.exchange(presented))
    nextMinute()
    assertOAuthError(await story.exchange(presented), 401, 'invalid_client')
  }
})

test('a flood is written down once a minute, with who it was, and counted', async () => {
  const story = await granted()
  const { refresh_token } = await story.signIn()
  nextMinute()
  spend(BUDGETS.user, story.user.id)
  for (let count = 1; count <= 3; count++) assertTooMany(await story.exchange())
  for (let count = 1; count <= 3; count++) assertTooMany(await refresh(story, refresh_token))
  const [event, ...others] = await refusalsOf('user_id', story.user.id, 'too_many_requests')
  assert.equal(event?.agent_id, story.agent.id)
  assert.equal(event?.error, 'temporarily_unavailable')
  assert.deepEqual(others, [])

  nextMinute()
  spend(BUDGETS.user, story.user.id)
  assertTooMany(await refresh(story, refresh_token))
  assert.equal((await refusalsOf('user_id', story.user.id, 'too_many_requests')).length, 2)

  nextMinute()
  spend(BUDGETS.client, story.agent.id)
  for (let count = 1; count <= 3; count++) assertTooMany(await story.exchange())
  const byAgent = await refusalsOf('agent_id', story.agent.id, 'too_many_requests')
  assert.equal(byAgent.length, 3)
  const { body } = await house.deps.metrics.expose()
  assert.match(
    body,
    /^refusals_total\{error="temporarily_unavailable",reason="too_many_requests"\} [1-9]\d+$/m,
  )
})

test('a once delegation outlasts the refusal', async () => {
  const story = await tellStory(house)
  await story.delegate({ mode: 'once' })
  await story.signIn()
  nextMinute()
  spend(BUDGETS.user, story.user.id)
  assertTooMany(await story.exchange())
  nextMinute()
  assert.equal((await story.exchange()).status, 200)
})

test('RATE_LIMITS=off lifts them', async (t) => {
  const open = await openHouse(t, { RATE_LIMITS: 'off' })
  const story = await tellStory(open)
  await story.delegate()
  for (let count = 0; count <= BUDGETS.user.perMinute; count++) {
    assert.equal(open.deps.tally.take(BUDGETS.user, story.user.id), undefined)
  }
  assert.equal((await story.exchange()).status, 200)
})
