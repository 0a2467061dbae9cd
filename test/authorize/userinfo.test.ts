import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { authorize, browser, signIn } from '../support/browser.ts'
import { enrolAgent, enrolUser, redeem, refresh } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const agent = await enrolAgent(house)

async function begin(scope: string) {
  const user = await enrolUser(house, { name: 'Kim Reyes', email_verified: true })
  const there = browser(house)
  await signIn(there, user)
  const { body } = await redeem(house, agent, await authorize(there, agent, { scope }))
  return { user, there, body }
}

const ask = (token: string | undefined, method: 'GET' | 'POST' = 'GET') =>
  house.inject({
    method,
    url: '/oauth2/userinfo',
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  })

test('tells the claims of the scope, as they are now (OP-25)', async () => {
  const { user, body } = await begin('openid email')
  await house.admin('PATCH', `/users/${user.id}`, { email: 'moved@orbit.example' })
  for (const method of ['GET', 'POST'] as const) {
    const answer = await ask(body.access_token, method)
    assert.equal(answer.status, 200, answer.text)
    const email = { email: 'moved@orbit.example', email_verified: false }
    assert.deepEqual(answer.body, { sub: user.id, ...email })
    assert.equal(answer.headers['cache-control'], 'no-store')
  }
})

test('takes the token from a form as well, but not from two places', async () => {
  const { user, body } = await begin('openid profile')
  const { access_token } = body
  const answer = await house.form('/oauth2/userinfo', { access_token })
  assert.deepEqual(answer.body, { sub: user.id, name: 'Kim Reyes' })
  const both = { authorization: `Bearer ${access_token}` }
  assert.equal((await house.form('/oauth2/userinfo', { access_token }, both)).status, 400)
})

test('asks for a token where there is none, and says so of a bad one', async () => {
  const none = await ask(undefined)
  assert.equal(none.status, 401)
  const ways = 'Bearer realm="agent-idp", DPoP realm="agent-idp", algs="ES256 RS256 EdDSA"'
  assert.equal(none.headers['www-authenticate'], ways)
  const { body } = await begin('openid offline_access')
  for (const token of [body.id_token, body.refresh_token, 'x.y.z', `${body.access_token}x`]) {
    const bad = await ask(token)
    assert.equal(bad.status, 401)
    assert.match(String(bad.headers['www-authenticate']), /^Bearer [^,]*, error="invalid_token"/)
    assert.equal(bad.body.error, 'invalid_token')
  }
})

test('a token without openid is not enough', async () => {
  const { body } = await begin('openid email offline_access')
  const less = await refresh(house, agent, body.refresh_token, { scope: 'email' })
  const answer = await ask(less.body.access_token)
  assert.equal(answer.status, 403)
  assert.match(String(answer.headers['www-authenticate']), /error="insufficient_scope"/)
})

test('a token ends after five minutes, and with its session', async () => {
  const { there, body } = await begin('openid')
  const page = await there.get('/oauth2/logout')
  assert.equal((await ask(body.access_token)).status, 200)
  await there.post('/sign-out', { csrf: /name="csrf" value="([^"]*)"/.exec(page.text)?.[1] })
  assert.equal((await ask(body.access_token)).status, 401)
  const late = await begin('openid')
  house.wait(300)
  assert.equal((await ask(late.body.access_token)).status, 401)
})

// Straight in the tables, as a worker suspends: an administrator's suspension ends the grant itself as well.
const { db } = house.deps
type Status = 'active' | 'suspended'
const setUser = (id: string, status: Status) =>
  db.updateTable('users').set({ status }).where('id', '=', id).execute()
const OF_THE_GRANT: Record<string, (of: { user: { id: string } }, status: Status) => unknown> = {
  user: ({ user }, status) => setUser(user.id, status),
  agent: (_, status) =>
    db.updateTable('agents').set({ status }).where('id', '=', agent.id).execute(),
  "agent's owner": (_, status) => setUser(agent.owner_id, status),
  tenant: (_, status) => db.updateTable('tenants').set({ status }).execute(),
}
for (const [who, set] of Object.entries(OF_THE_GRANT)) {
  test(`a token tells nothing while its ${who} is suspended`, async () => {
    const { user, body } = await begin('openid')
    await set({ user }, 'suspended')
    assert.equal((await ask(body.access_token)).status, 401)
    await set({ user }, 'active')
    assert.equal((await ask(body.access_token)).status, 200)
  })
}
