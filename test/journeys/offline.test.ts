// An agent that goes on while its user is signed out: how it gets there, what it may do, and what ends it.
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { browser, PASSWORD, signIn } from '../support/browser.ts'
import { claimsOf } from '../support/enrol.ts'
import { type Answer, type Form, openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import { clientAuthentication, entitle, type Story, tellStory } from '../support/story.ts'

const HOUR = 3600
const DAY = 24 * HOUR
const house = await openHouse({ after }, { SESSION_LIFETIME: String(DAY) })

const SESSION_ENDED = [400, 'invalid_grant', 'session_ended'] as const
const dayIn = (days: number) =>
  new Date(house.clock.now.getTime() + days * DAY * 1000).toISOString().slice(0, 10)

/** A user who was asked and allowed it, with what the agent then holds. */
async function allowed(choice: Form, parts: Parameters<typeof tellStory>[1] = {}) {
  const story = await tellStory(house, parts)
  const tokens = await story.signIn()
  await allow(story, await story.exchange(), choice)
  const by = (subject_token: string, type: string) => (overrides?: Form) =>
    story.exchange({ subject_token, subject_token_type: type, ...overrides })
  return {
    story,
    tokens,
    byRefreshToken: by(tokens.refresh_token, TOKEN_TYPE.refreshToken),
    byIdToken: by(tokens.id_token, TOKEN_TYPE.idToken),
  }
}

async function allow({ browser }: Story, refused: Answer, choice: Form): Promise<void> {
  assert.equal(refused.body.error, 'interaction_required', refused.text)
  const page = await browser.get(new URL(refused.body.interaction_uri).pathname)
  const scope = scopesOn(page.text)
  const decided = await browser.submit(page, {
    decision: 'allow',
    mode: 'always',
    scope,
    ...choice,
  })
  assert.equal(decided.status, 200, decided.text)
}

const scopesOn = (text: string) =>
  [...text.matchAll(/name="scope" value="([^"]+)"/g)].map(([, scope]) => scope ?? '')

async function signOut({ browser }: Story): Promise<void> {
  const { text } = await browser.get('/oauth2/logout')
  const csrf = /name="csrf" value="([^"]+)"/.exec(text)?.[1]
  const visit = await browser.post('/sign-out', { csrf })
  assert.match(visit.text, /You are signed out/)
}

const refresh = async ({ agent }: Story, refresh_token: string) =>
  house.form('/oauth2/token', {
    grant_type: GRANT.refreshToken,
    refresh_token,
    ...(await clientAuthentication(house, agent)),
  })

describe('an agent that may go on while its user is signed out', () => {
  test('exchanges its refresh token, and nothing else, until the end date (TX-24, TX-26 to TX-28)', async () => {
    const { story, tokens, byRefreshToken, byIdToken } = await allowed({
      offline: 'on',
      expires_at: dayIn(5),
    })
    assert.equal((await byIdToken()).status, 200)
    await signOut(story)

    for (const days of [0, 2, 2]) {
      house.wait(days * DAY)
      const answer = await byRefreshToken()
      assert.equal(answer.status, 200, answer.text)
      assert.equal(answer.body.refresh_token, undefined)
      const { sub, auth_time } = claimsOf(answer.body.access_token)
      assert.equal(sub, story.user.id)
      assert.equal(auth_time, claimsOf(tokens.id_token).auth_time)
      if (days === 0) await assertRefusal(house, byIdToken, SESSION_ENDED)
    }
    house.wait(2 * DAY)
    await assertRefusal(house, byRefreshToken, SESSION_ENDED)
    await assertRefusal(house, () => refresh(story, tokens.refresh_token), SESSION_ENDED)
  })

  test('renews its refresh token meanwhile, and gets no ID token with it (OP-23, TX-24)', async () => {
    const { story, tokens } = await allowed({ offline: 'on', expires_at: dayIn(25) })
    await signOut(story)
    let { refresh_token } = tokens
    for (const days of [13, 11]) {
      house.wait(days * DAY)
      const renewed = await refresh(story, refresh_token)
      assert.equal(renewed.status, 200, renewed.text)
      assert.equal('id_token' in renewed.body, false)
      refresh_token = renewed.body.refresh_token
      const subject = { subject_token: refresh_token, subject_token_type: TOKEN_TYPE.refreshToken }
      assert.equal((await story.exchange(subject)).status, 200)
    }
    const query = `user_id=${story.user.id}&status=active`
    const { body } = await house.admin('GET', `/delegations?${query}`)
    await house.admin('DELETE', `/delegations/${body.data[0].id}`)
    await assertRefusal(house, () => refresh(story, refresh_token), SESSION_ENDED)
  })

  test('goes on likewise after a session that ran out, and 30 days when no date was chosen', async () => {
    const { story, byRefreshToken } = await allowed({ offline: 'on' })
    house.wait(DAY)
    assert.equal((await byRefreshToken()).status, 200)
    const { body } = await house.admin('GET', `/delegations?user_id=${story.user.id}`)
    assert.equal(body.data[0].expires_at.slice(0, 10), dayIn(29))
  })

  test('goes on when somebody else signs in in that browser', async () => {
    const { story, byRefreshToken, byIdToken } = await allowed({ offline: 'on' })
    const other = await tellStory(house)
    const page = await story.browser.get('/sign-in?prompt=login')
    await story.browser.submit(page, { email: other.user.email, password: PASSWORD })
    assert.equal((await byRefreshToken()).status, 200)
    await assertRefusal(house, byIdToken, SESSION_ENDED)
  })

  test('does so once where it was allowed once (GR-02)', async () => {
    const { story, byRefreshToken } = await allowed({ offline: 'on', mode: 'once' })
    await signOut(story)
    const answers = await Promise.all([byRefreshToken(), byRefreshToken()])
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400])
    await assertRefusal(house, byRefreshToken, SESSION_ENDED)
  })

  test('is told to ask for a new sign-in once the last is too old for the app (TX-50)', async () => {
    const { story, byRefreshToken } = await allowed(
      { offline: 'on' },
      { audience: { max_auth_age: 2 * HOUR } },
    )
    await signOut(story)
    house.wait(HOUR)
    assert.equal((await byRefreshToken()).status, 200)
    house.wait(HOUR)
    const stale = [400, 'insufficient_user_authentication', 'stale_authentication'] as const
    const { body } = await assertRefusal(house, byRefreshToken, stale)
    assert.equal(typeof body.max_age, 'number')
  })

  test('asks its user for more than was allowed, who may take the offer back in answering (GR-04)', async () => {
    const { story, byRefreshToken } = await allowed({ offline: 'on' })
    await signOut(story)
    const more = () => byRefreshToken({ scope: 'docs.write' })
    const refused = await more()
    await signIn(story.browser, story.user)
    await allow(story, refused, {})
    await assertRefusal(house, more, SESSION_ENDED)
  })

  test('may be allowed to at any later time, from any browser of its user', async () => {
    const { story, byRefreshToken } = await allowed({})
    const more = () => byRefreshToken({ scope: 'docs.write' })
    const refused = await more()
    await signOut(story)
    await assertRefusal(house, more, SESSION_ENDED)
    const elsewhere = { ...story, browser: browser(house) }
    await signIn(elsewhere.browser, story.user)
    await allow(elsewhere, refused, { offline: 'on' })
    assert.equal((await more()).status, 200)
  })

  test('is as good as its refresh token, which nobody uses up but time (OP-23)', async () => {
    const { story, byRefreshToken } = await allowed({ offline: 'on' })
    await signOut(story)
    house.wait(14 * DAY - 1)
    assert.equal((await byRefreshToken()).status, 200)
    house.wait(1)
    const expired = [400, 'invalid_grant', 'subject_token_expired'] as const
    await assertRefusal(house, byRefreshToken, expired)
  })
})

describe('everything is asked again while nobody is signed in', () => {
  for (const [what, end, refusal] of [
    [
      'the user has stopped the agent',
      async (story) => {
        await signIn(story.browser, story.user)
        const page = await story.browser.get('/account')
        const path = /action="(\/account\/delegations\/[^"]+)"/.exec(page.text)?.[1] ?? ''
        const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1]
        assert.equal((await story.browser.post(path, { csrf })).status, 200)
      },
      SESSION_ENDED,
    ],
    [
      'the user has a new password',
      ({ user }) =>
        house.admin('PATCH', `/users/${user.id}`, { password: 'another horse, staple' }),
      SESSION_ENDED,
    ],
    [
      'the user is suspended',
      ({ user }) => house.admin('PATCH', `/users/${user.id}`, { status: 'suspended' }),
      [400, 'invalid_grant', 'user_inactive'],
    ],
    [
      'the agent was revoked',
      ({ agent }) => house.admin('POST', '/revocations', { agent_id: agent.id, reason: 'test' }),
      [400, 'invalid_grant', null],
    ],
    [
      'the entitlement is narrower',
      ({ agent, audience }) => entitle(house, agent, audience, { scopes: ['docs.write'] }),
      [400, 'invalid_scope', 'scope_not_entitled'],
    ],
    [
      'somebody presented a spent token of it',
      (story, tokens) => refresh(story, tokens.spent),
      [400, 'invalid_grant', null],
    ],
  ] as [
    string,
    (story: Story, tokens: { spent: string }) => Promise<unknown>,
    readonly [number, string, string | null],
  ][]) {
    test(`so that an agent stops when ${what}`, async () => {
      const { story, tokens } = await allowed({ offline: 'on' })
      const renewed = await refresh(story, tokens.refresh_token)
      const subject = {
        subject_token: renewed.body.refresh_token,
        subject_token_type: TOKEN_TYPE.refreshToken,
      }
      await signOut(story)
      assert.equal((await story.exchange(subject)).status, 200)
      await end(story, { spent: tokens.refresh_token })
      const [status, error, reason] = refusal
      if (reason === null) {
        const answer = await story.exchange(subject)
        assert.deepEqual([answer.status, answer.body.error], [status, error], answer.text)
      } else await assertRefusal(house, () => story.exchange(subject), refusal)
    })
  }
})

describe('an agent that may not', () => {
  for (const [how, end] of [
    ['signed out', signOut],
    ['been signed out by time', async () => house.wait(DAY)],
  ] as [string, (story: Story) => Promise<void>][]) {
    test(`stops when its user has ${how}, and the log says why`, async () => {
      const { story, byRefreshToken } = await allowed({ expires_at: dayIn(5) })
      assert.equal((await byRefreshToken()).status, 200)
      await end(story)
      await assertRefusal(house, byRefreshToken, SESSION_ENDED)
    })
  }

  test('stops also where an administrator allowed it for everyone', async () => {
    const story = await tellStory(house, { entitlement: { consent: 'admin' } })
    const { refresh_token } = await story.signIn()
    const subject = { subject_token: refresh_token, subject_token_type: TOKEN_TYPE.refreshToken }
    assert.equal((await story.exchange(subject)).status, 200)
    await signOut(story)
    await assertRefusal(house, () => story.exchange(subject), SESSION_ENDED)
    await story.delegate({ offline: true, expires_at: `${dayIn(2)}T00:00:00Z` })
    assert.equal((await story.exchange(subject)).status, 200)
  })
})
