import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import {
  authorizeUrl,
  type Browser,
  browser,
  newVerifier,
  redirected,
  signIn,
  type Visit,
} from '../support/browser.ts'
import { claimsOf, enrolAgent, enrolUser, redeem } from '../support/enrol.ts'
import { type Form, openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const agent = await enrolAgent(house)

async function signedIn() {
  const user = await enrolUser(house)
  const there = browser(house)
  await signIn(there, user)
  return { user, there }
}

/** The ID token of an authorization request; `act` does what the pages in between ask for. */
async function idToken(there: Browser, fields: Form, act = async (page: Visit) => page) {
  const verifier = newVerifier()
  const visit = await act(await there.get(authorizeUrl(agent, { verifier, ...fields })))
  const code = redirected(visit, agent).get('code') ?? undefined
  const redirect_uri = agent.redirect_uri
  const { body } = await redeem(house, agent, { code, redirect_uri, code_verifier: verifier })
  return body.id_token as string
}

const errorOf = async (there: Browser, fields: Form) =>
  redirected(await there.get(authorizeUrl(agent, fields)), agent).get('error')

test('prompt=none shows no page: a code for the signed-in, login_required for the rest (OP-05)', async () => {
  const { there } = await signedIn()
  assert.ok(await idToken(there, { prompt: 'none' }))
  assert.equal(await errorOf(browser(house), { prompt: 'none' }), 'login_required')
})

for (const fields of [{ prompt: 'login' }, { prompt: 'select_account' }, { max_age: '0' }]) {
  test(`${JSON.stringify(fields)} asks for a new authentication, once, and says its time (TX-52, TX-53)`, async () => {
    const { user, there } = await signedIn()
    const before = claimsOf(await idToken(there, {}))
    house.wait(100)
    const again = async (page: Visit) => {
      assert.match(page.url, /^\/sign-in\?/)
      assert.match(page.text, /Sign in again/)
      return there.submit(page, { email: user.email, password: user.password })
    }
    const after = claimsOf(await idToken(there, fields, again))
    assert.equal(after.auth_time, before.auth_time + 100)
    assert.notEqual(after.sid, before.sid)
  })
}

test('max_age asks only when the authentication is older (OP-06)', async () => {
  const { user, there } = await signedIn()
  const { auth_time } = claimsOf(await idToken(there, { max_age: '300' }))
  house.wait(300)
  assert.equal(claimsOf(await idToken(there, { max_age: '300' })).auth_time, auth_time)
  house.wait(1)
  assert.equal(await errorOf(there, { max_age: '300', prompt: 'none' }), 'login_required')
  const again = (page: Visit) => there.submit(page, { email: user.email, password: user.password })
  assert.equal(claimsOf(await idToken(there, { max_age: '300' }, again)).auth_time, auth_time + 301)
})

test('a failed new authentication leads nowhere and changes nothing', async () => {
  const { user, there } = await signedIn()
  const page = await there.get(authorizeUrl(agent, { prompt: 'login' }))
  const refused = await there.submit(page, { email: user.email, password: 'not the password' })
  assert.equal(refused.status, 403)
  assert.match(refused.text, /Sign in again/)
  const visit = await there.submit(refused, { email: user.email, password: user.password })
  assert.ok(redirected(visit, agent).get('code'))
})

test('prompt=consent asks, and only then: yes gives a code, no gives access_denied (OP-05)', async () => {
  const { there } = await signedIn()
  const fields = { prompt: 'consent', scope: 'openid email offline_access' }
  const yes = async (page: Visit) => {
    assert.match(page.text, /your e-mail address/)
    return there.submit(page, { decision: 'allow' })
  }
  assert.ok(await idToken(there, fields, yes))
  const page = await there.get(authorizeUrl(agent, fields))
  const no = redirected(await there.submit(page, { decision: 'deny' }), agent)
  assert.equal(no.get('error'), 'access_denied')
  assert.equal(no.get('state'), 'the state')
})

test('the answer to prompt=consent counts only from our own page', async () => {
  const { there } = await signedIn()
  const query = authorizeUrl(agent, { prompt: 'consent' }).split('?')[1]
  const forged = await there.post('/oauth2/authorize/confirm', { query, decision: 'allow' })
  assert.equal(forged.status, 403)
})

test('prompt=login consent asks for both, one after the other', async () => {
  const { user, there } = await signedIn()
  const act = async (page: Visit) => {
    const next = await there.submit(page, { email: user.email, password: user.password })
    assert.match(next.text, /Continue/)
    return there.submit(next, { decision: 'allow' })
  }
  assert.ok(await idToken(there, { prompt: 'login consent' }, act))
})

test('id_token_hint of the signed-in user passes, also expired; of another user it is login_required (OP-07)', async () => {
  const { there } = await signedIn()
  const other = await signedIn()
  const hint = await idToken(there, {})
  assert.ok(await idToken(there, { prompt: 'none', id_token_hint: hint }))
  house.wait(3600)
  assert.ok(await idToken(there, { prompt: 'none', id_token_hint: hint }))
  const fields = { prompt: 'none', id_token_hint: hint }
  assert.equal(await errorOf(other.there, fields), 'login_required')
})

test('id_token_hint of another client is refused', async () => {
  const { there } = await signedIn()
  const hint = await idToken(there, {})
  const foreign = await enrolAgent(house)
  const url = authorizeUrl(foreign, { id_token_hint: hint })
  assert.equal(redirected(await there.get(url), foreign).get('error'), 'invalid_request')
})

test('an expired session has to be begun anew', async () => {
  const { there } = await signedIn()
  house.wait(86_401)
  assert.match((await there.get(authorizeUrl(agent))).url, /^\/sign-in\?/)
})

test('a session of a suspended user is none', async () => {
  const { user, there } = await signedIn()
  await house.admin('PATCH', `/users/${user.id}`, { status: 'suspended' })
  assert.equal(await errorOf(there, { prompt: 'none' }), 'login_required')
})

test('a request too long to be carried through the sign-in is refused with a page', async () => {
  const visit = await browser(house).post('/oauth2/authorize', {
    client_id: agent.client_id,
    redirect_uri: agent.redirect_uri,
    state: 'x'.repeat(20_000),
  })
  assert.equal(visit.status, 400)
})
