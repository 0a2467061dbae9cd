import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { authorize, browser, signIn } from '../support/browser.ts'
import { enrolAgent, enrolUser, events, redeem, refresh } from '../support/enrol.ts'
import { type Form, openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const agent = await enrolAgent(house)
const there = browser(house)
await signIn(there, await enrolUser(house))

async function begin() {
  const code = await authorize(there, agent, { scope: 'openid offline_access' })
  return (await redeem(house, agent, code)).body
}

const revoke = (token: string | undefined, of = agent, others: Form = {}) => {
  const { client_id, client_secret } = of
  return house.form('/oauth2/revoke', { client_id, client_secret, token, ...others })
}

test('a client gives up a refresh token, and everything made with it ends (OP-27)', async () => {
  const { refresh_token, access_token } = await begin()
  const answer = await revoke(refresh_token, agent, { token_type_hint: 'refresh_token' })
  assert.equal(answer.status, 200)
  assert.equal(answer.text, '')
  assert.equal((await refresh(house, agent, refresh_token)).body.error, 'invalid_grant')
  const headers = { authorization: `Bearer ${access_token}` }
  assert.equal((await house.inject({ url: '/oauth2/userinfo', headers })).status, 401)
  const [event] = await events(house, 'refresh_token.revoked')
  assert.equal(event?.agent_id, agent.id)
})

test('an unknown token, one given up before and a wrong hint are no fault', async () => {
  const { refresh_token } = await begin()
  assert.equal((await revoke('unknown')).status, 200)
  const hint = { token_type_hint: 'access_token' }
  assert.equal((await revoke(refresh_token, agent, hint)).status, 200)
  assert.equal((await revoke(refresh_token)).status, 200)
  assert.equal((await refresh(house, agent, refresh_token)).status, 400)
})

test("another client's token is answered like an unknown one and stays good", async () => {
  const { refresh_token } = await begin()
  const other = await enrolAgent(house)
  assert.equal((await revoke(refresh_token, other)).status, 200)
  assert.equal((await refresh(house, agent, refresh_token)).status, 200)
})

test('refuses a client that does not authenticate, a missing token and a signed one', async () => {
  const { refresh_token, access_token } = await begin()
  const wrong = await revoke(refresh_token, { ...agent, client_secret: 'wrong' })
  assert.equal(wrong.status, 401)
  assert.equal(wrong.body.error, 'invalid_client')
  assert.equal((await revoke(undefined)).body.error, 'invalid_request')
  assert.equal((await revoke(access_token)).body.error, 'unsupported_token_type')
  assert.equal((await refresh(house, agent, refresh_token)).status, 200)
})
