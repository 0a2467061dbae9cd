import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { authorize, type Browser, browser, signIn } from '../support/browser.ts'
import { claimsOf, enrolAgent, enrolUser, events, redeem, refresh } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const agent = await enrolAgent(house)

async function signedIn() {
  const user = await enrolUser(house)
  const there = browser(house)
  await signIn(there, user)
  const code = await authorize(there, agent, { scope: 'openid offline_access' })
  const { body } = await redeem(house, agent, code)
  return { user, there, tokens: body }
}

const isSignedIn = async (there: Browser) => (await there.get('/sign-in')).url === '/account'

test('signing out ends the session and what agents hold of it', async () => {
  const { user, there, tokens } = await signedIn()
  const visit = await there.post('/sign-out', {})
  assert.equal(visit.status, 403, 'a form without its token does nothing')
  assert.ok(await isSignedIn(there))

  const page = await there.get('/oauth2/logout')
  const csrf = /name="csrf" value="([^"]*)"/.exec(page.text)?.[1]
  const done = await there.post('/sign-out', { csrf })
  assert.match(done.text, /You are signed out/)
  assert.equal(there.cookies.has('session'), false)
  const refused = await refresh(house, agent, tokens.refresh_token)
  assert.equal(refused.status, 400)
  assert.equal(refused.body.error, 'invalid_grant')
  const [event] = await events(house, 'session.ended')
  assert.equal(event?.user_id, user.id)
})

/** The refresh token families of a user, those that hold a token first. */
const familiesOf = ({ id }: { id: string }) =>
  house.deps.db
    .selectFrom('refresh_token_families')
    .select(['id', 'scope', 'ended_at', 'end_reason'])
    .where('user_id', '=', id)
    .orderBy('scope', 'desc')
    .execute()

const tokensOf = (family_id: string | undefined) =>
  house.deps.db
    .selectFrom('refresh_tokens')
    .select(['hash', 'spent_at'])
    .where('family_id', '=', family_id ?? '')
    .execute()

const signOut = async (there: Browser) => {
  const page = await there.get('/oauth2/logout')
  await there.post('/sign-out', { csrf: /name="csrf" value="([^"]*)"/.exec(page.text)?.[1] })
}

test('a refresh token outlives its session, gives no others then, and is not spent by asking (OP-23)', async () => {
  const { user, there, tokens } = await signedIn()
  await redeem(house, agent, await authorize(there, agent, { scope: 'openid' }))
  await signOut(there)
  const [holding, other] = await familiesOf(user)
  assert.deepEqual([holding?.scope, holding?.ended_at], [['openid', 'offline_access'], null])
  assert.deepEqual([other?.scope, other?.end_reason], [['openid'], 'signed_out'])
  const [event] = await events(house, 'session.ended')
  assert.deepEqual(event?.detail?.family_ids, [other?.id])

  const before = await tokensOf(holding?.id)
  for (let time = 1; time <= 2; time += 1) {
    const refused = await refresh(house, agent, tokens.refresh_token)
    assert.deepEqual([refused.status, refused.body.error], [400, 'invalid_grant'], refused.text)
    const [audited] = await events(house, 'refresh_token.refused')
    assert.equal(audited?.reason, 'session_ended')
  }
  assert.deepEqual(await tokensOf(holding?.id), before)
  assert.equal((await familiesOf(user))[0]?.ended_at, null)
})

test('what an agent holds of a session that ended by signing out opens nothing else (TX-24)', async () => {
  const { there, tokens } = await signedIn()
  const code = await authorize(there, agent)
  const info = () =>
    house.inject({
      method: 'GET',
      url: '/oauth2/userinfo',
      headers: { authorization: `Bearer ${tokens.access_token}` },
    })
  assert.equal((await info()).status, 200)
  await signOut(there)
  assert.equal((await info()).status, 401)
  assert.equal((await redeem(house, agent, code)).body.error, 'invalid_grant')
})

test('a spent refresh token that comes back after signing out ends its family (OP-22)', async () => {
  const { user, there, tokens } = await signedIn()
  const { body } = await refresh(house, agent, tokens.refresh_token)
  assert.ok(body.refresh_token)
  await signOut(there)
  await refresh(house, agent, tokens.refresh_token)
  assert.equal((await familiesOf(user))[0]?.end_reason, 'token_reused')
})

for (const [what, end, reason] of [
  [
    'a new password',
    ({ id }) => house.admin('PATCH', `/users/${id}`, { password: 'another horse, another staple' }),
    /^password_changed$/,
  ],
  [
    'a suspension of the user',
    ({ id }) => house.admin('PATCH', `/users/${id}`, { status: 'suspended' }),
    /^rev_/,
  ],
  [
    'a deletion of the user',
    ({ id }) => house.admin('PATCH', `/users/${id}`, { status: 'deleted' }),
    /^rev_/,
  ],
  [
    'a revocation by user',
    ({ id }) => house.admin('POST', '/revocations', { user_id: id, reason: 'test' }),
    /^rev_/,
  ],
  [
    'the client itself',
    (_user, token) => {
      const { client_id, client_secret } = agent
      return house.form('/oauth2/revoke', { client_id, client_secret, token })
    },
    /^revoked_by_client$/,
  ],
] as [string, (user: { id: string }, token: string) => Promise<{ status: number }>, RegExp][]) {
  test(`a refresh token that outlived its session ends by ${what} (OP-23)`, async () => {
    const { user, there, tokens } = await signedIn()
    await signOut(there)
    assert.ok((await end(user, tokens.refresh_token)).status < 300)
    const [family] = await familiesOf(user)
    assert.match(String(family?.end_reason), reason)
  })
}

test('signing out everywhere ends all sessions of the user, and what agents hold of them', async () => {
  const { user, there, tokens } = await signedIn()
  const code = await authorize(there, agent)
  const elsewhere = browser(house)
  await signIn(elsewhere, user)
  await redeem(house, agent, await authorize(elsewhere, agent, { scope: 'openid' }))
  const other = await signedIn()

  const page = await there.get('/account')
  const csrf = /name="csrf" value="([^"]*)"/.exec(page.text)?.[1]
  const done = await there.post('/sign-out/everywhere', { csrf })
  assert.match(done.text, /You are signed out/)
  assert.equal(there.cookies.has('session'), false)
  assert.equal(await isSignedIn(elsewhere), false)
  assert.equal((await redeem(house, agent, code)).body.error, 'invalid_grant')
  assert.equal((await refresh(house, agent, tokens.refresh_token)).body.error, 'invalid_grant')
  assert.ok(await isSignedIn(other.there), 'nobody else')

  const [holding, ended] = await familiesOf(user)
  assert.deepEqual([holding?.ended_at, ended?.end_reason], [null, 'signed_out_everywhere'])
  const [event] = await events(house, 'session.ended')
  assert.deepEqual([event?.actor_kind, event?.actor_id, event?.user_id], ['user', user.id, user.id])
  assert.deepEqual(event?.detail, {
    why: 'signed_out_everywhere',
    sessions: 2,
    family_ids: [ended?.id],
  })
})

test('signing out everywhere works only from a page of this browser', async () => {
  const { user, there } = await signedIn()
  const elsewhere = browser(house)
  await signIn(elsewhere, user)
  const csrf = /name="csrf" value="([^"]*)"/.exec((await elsewhere.get('/account')).text)?.[1]
  for (const fields of [{}, { csrf: 'x' }, { csrf }]) {
    assert.equal((await there.post('/sign-out/everywhere', fields)).status, 403)
  }
  assert.equal((await there.get('/sign-out/everywhere')).status, 405)
  assert.ok((await isSignedIn(there)) && (await isSignedIn(elsewhere)))
  assert.equal((await browser(house).post('/sign-out/everywhere', {})).status, 403)
})

test('the old cookie is worth nothing after signing out', async () => {
  const { there } = await signedIn()
  const kept = there.cookies.get('session') ?? ''
  const page = await there.get('/oauth2/logout')
  await there.post('/oauth2/logout', { csrf: /name="csrf" value="([^"]*)"/.exec(page.text)?.[1] })
  there.cookies.set('session', kept)
  assert.equal(await isSignedIn(there), false)
})

test('asks before a logout that comes from elsewhere', async () => {
  const { there } = await signedIn()
  const { text } = await there.get('/oauth2/logout')
  assert.match(text, /Sign out\?/)
  assert.match(text, /agents stop as well, but for those that you allowed to go on/)
  assert.match((await there.post('/oauth2/logout', {})).text, /Sign out\?/)
  assert.ok(await isSignedIn(there))
})

test('logs out without asking for an ID token of this session', async () => {
  const { there, tokens } = await signedIn()
  const query = new URLSearchParams({
    id_token_hint: tokens.id_token,
    post_logout_redirect_uri: 'https://evil.example/',
  })
  const visit = await there.get(`/oauth2/logout?${query}`)
  assert.match(visit.text, /You are signed out/)
  assert.equal(await isSignedIn(there), false)
})

test("asks when the ID token is another user's, or forged", async () => {
  const other = await signedIn()
  const { there, tokens } = await signedIn()
  const [head, , tail] = tokens.id_token.split('.')
  const claims = { ...claimsOf(tokens.id_token), email: 'x@y.example' }
  const forged = `${head}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${tail}`
  for (const hint of [other.tokens.id_token, forged, tokens.access_token, 'nonsense']) {
    const visit = await there.get(`/oauth2/logout?${new URLSearchParams({ id_token_hint: hint })}`)
    assert.match(visit.text, /Sign out\?/)
  }
  assert.ok(await isSignedIn(there))
})

test('signing in again in the same browser keeps what agents hold, and signing out then ends it all', async () => {
  const { user, there, tokens } = await signedIn()
  house.wait(10)
  const page = await there.get('/sign-in?prompt=login')
  assert.match(page.text, /Sign in again/)
  await there.submit(page, { email: user.email, password: user.password })
  const kept = await refresh(house, agent, tokens.refresh_token)
  assert.equal(kept.status, 200, kept.text)
  const { auth_time, sid } = claimsOf(tokens.id_token)
  assert.equal(claimsOf(kept.body.id_token).auth_time, auth_time)
  assert.equal(claimsOf(kept.body.id_token).sid, sid)

  const logout = await there.get('/oauth2/logout')
  await there.post('/sign-out', { csrf: /name="csrf" value="([^"]*)"/.exec(logout.text)?.[1] })
  const refused = await refresh(house, agent, kept.body.refresh_token)
  assert.equal(refused.body.error, 'invalid_grant')
})

test("another person's sign-in ends the session of the one before, like signing out", async () => {
  const { user, there, tokens } = await signedIn()
  await redeem(house, agent, await authorize(there, agent, { scope: 'openid' }))
  const other = await enrolUser(house)
  const page = await there.get('/sign-in?prompt=login')
  await there.submit(page, { email: other.email, password: other.password })
  const refused = await refresh(house, agent, tokens.refresh_token)
  assert.equal(refused.body.error, 'invalid_grant')
  const [holding, ended] = await familiesOf(user)
  assert.deepEqual([holding?.ended_at, ended?.end_reason], [null, 'replaced'])
})
