import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeProtectedHeader } from 'jose'
import { authorize, browser, signIn } from '../support/browser.ts'
import { claimsOf, enrolAgent, enrolUser, events, redeem, refresh } from '../support/enrol.ts'
import { type Answer, openHouse } from '../support/house.ts'

const house = await openHouse({ after }, { SESSION_LIFETIME: String(60 * 86_400) })
const agent = await enrolAgent(house)

async function begin(scope = 'openid email offline_access') {
  const user = await enrolUser(house)
  const there = browser(house)
  await signIn(there, user)
  const { body } = await redeem(house, agent, await authorize(there, agent, { scope }))
  return { user, there, body }
}

function refused(answer: Answer, error: string) {
  assert.equal(answer.status, 400, answer.text)
  assert.equal(answer.body.error, error)
}

const lastReason = async () => (await events(house, 'refresh_token.refused'))[0]?.reason

test('gives a new refresh token and keeps the authentication as it was (OP-22, OP-24, TX-28)', async () => {
  const { user, body } = await begin()
  const before = claimsOf(body.id_token)
  house.wait(1000)
  const answer = await refresh(house, agent, body.refresh_token)
  assert.equal(answer.status, 200, answer.text)
  assert.notEqual(answer.body.refresh_token, body.refresh_token)
  assert.equal(answer.body.scope, 'openid email offline_access')
  const claims = claimsOf(answer.body.id_token)
  assert.equal(claims.sub, user.id)
  assert.equal(claims.aud, agent.client_id)
  assert.equal(claims.auth_time, before.auth_time)
  assert.equal(claims.sid, before.sid)
  assert.deepEqual(claims.amr, before.amr)
  assert.equal(claims.agent_idp_grant, before.agent_idp_grant)
  assert.equal(claims.iat, before.iat + 1000)
  assert.equal(claims.nonce, undefined)
})

test('while keys keep changing nothing is given or spent; what changed once is signed by the new key (DS-26)', async (t) => {
  const { body } = await begin()
  const { keys } = house.deps
  const { stillSign } = keys
  t.after(() => Object.assign(keys, { stillSign }))
  keys.stillSign = async () => false
  const late = await refresh(house, agent, body.refresh_token)
  assert.deepEqual([late.status, late.body.error], [503, 'temporarily_unavailable'])
  assert.equal(late.headers['retry-after'], '1')
  const asked: string[][] = []
  keys.stillSign = async (db, kids) => {
    asked.push([...kids])
    return asked.length > 1 && stillSign(db, kids)
  }
  const answer = await refresh(house, agent, body.refresh_token)
  assert.equal(answer.status, 200, answer.text)
  assert.equal(asked.length, 2)
  const { access_token, id_token } = answer.body
  assert.deepEqual(
    new Set(asked[1]),
    new Set([access_token, id_token].map((token) => decodeProtectedHeader(token).kid)),
  )
})

test('a spent token is refused and takes the family along (TV-62)', async () => {
  const { body } = await begin()
  const next = await refresh(house, agent, body.refresh_token)
  refused(await refresh(house, agent, body.refresh_token), 'invalid_grant')
  assert.equal(await lastReason(), 'spent_refresh_token')
  refused(await refresh(house, agent, next.body.refresh_token), 'invalid_grant')
  assert.equal(await lastReason(), 'refresh_token_revoked')
  const [event] = await events(house, 'refresh_token.reused')
  assert.equal(event?.agent_id, agent.id)
})

test('of two refreshes at once one succeeds, the other shows reuse: the family ends', async () => {
  const { body } = await begin()
  const answers = await Promise.all([
    refresh(house, agent, body.refresh_token),
    refresh(house, agent, body.refresh_token),
  ])
  assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 400])
  const won = answers.find((answer) => answer.status === 200)
  refused(await refresh(house, agent, won?.body.refresh_token), 'invalid_grant')
})

test('the scope may shrink for one answer, and never grow (OP-24)', async () => {
  const { body } = await begin()
  const less = await refresh(house, agent, body.refresh_token, { scope: 'openid' })
  assert.equal(less.body.scope, 'openid')
  assert.equal(claimsOf(less.body.id_token).email, undefined)
  const token = less.body.refresh_token
  refused(await refresh(house, agent, token, { scope: 'openid phone' }), 'invalid_scope')
  refused(await refresh(house, agent, token, { scope: 'openid  email' }), 'invalid_scope')
  const full = await refresh(house, agent, token)
  assert.equal(full.body.scope, 'openid email offline_access')
  const bare = await refresh(house, agent, full.body.refresh_token, { scope: 'email' })
  assert.equal(bare.body.id_token, undefined)
})

test("another client's refresh token is unknown, and stays good for its own", async () => {
  const { body } = await begin()
  const thief = await enrolAgent(house)
  refused(await refresh(house, thief, body.refresh_token), 'invalid_grant')
  assert.equal(await lastReason(), 'unknown_refresh_token')
  assert.equal((await refresh(house, agent, body.refresh_token)).status, 200)
})

test('refuses what is no refresh token', async () => {
  const { body } = await begin()
  refused(await refresh(house, agent, 'nonsense'), 'invalid_grant')
  refused(await refresh(house, agent, body.access_token), 'invalid_grant')
  refused(await refresh(house, agent, ''), 'invalid_request')
})

test('is bounded by fourteen idle days and by the life of the family (OP-23)', async () => {
  const day = 86_400
  const idle = await begin()
  house.wait(14 * day)
  refused(await refresh(house, agent, idle.body.refresh_token), 'invalid_grant')
  assert.equal(await lastReason(), 'refresh_token_expired')

  let token = (await begin()).body.refresh_token
  for (let week = 1; week <= 4; week++) {
    house.wait(7 * day)
    const answer = await refresh(house, agent, token)
    assert.equal(answer.status, 200, answer.text)
    token = answer.body.refresh_token
  }
  house.wait(2 * day)
  refused(await refresh(house, agent, token), 'invalid_grant')
  assert.equal(await lastReason(), 'refresh_token_expired')
})

test('ends with the session', async () => {
  const { body } = await begin()
  const { sid } = claimsOf(body.id_token)
  await house.deps.db
    .updateTable('sessions')
    .set({ expires_at: house.clock.now })
    .where('id', '=', sid)
    .execute()
  refused(await refresh(house, agent, body.refresh_token), 'invalid_grant')
  assert.equal(await lastReason(), 'session_ended')
})

test('refuses when user, owner or agent were stopped', async () => {
  const { user, body } = await begin()
  await house.admin('PATCH', `/users/${user.id}`, { status: 'suspended' })
  refused(await refresh(house, agent, body.refresh_token), 'invalid_grant')

  const mine = await enrolAgent(house)
  const there = browser(house)
  await signIn(there, await enrolUser(house))
  const scope = 'openid offline_access'
  const held = await redeem(house, mine, await authorize(there, mine, { scope }))
  await house.admin('PATCH', `/users/${mine.owner_id}`, { status: 'suspended' })
  refused(await refresh(house, mine, held.body.refresh_token), 'unauthorized_client')
})

test('refuses an agent that lost the grant', async () => {
  const mine = await enrolAgent(house)
  const there = browser(house)
  await signIn(there, await enrolUser(house))
  const scope = 'openid offline_access'
  const held = await redeem(house, mine, await authorize(there, mine, { scope }))
  await house.deps.db
    .updateTable('agents')
    .set({ grant_types: ['authorization_code'] })
    .where('id', '=', mine.id)
    .execute()
  refused(await refresh(house, mine, held.body.refresh_token), 'unauthorized_client')
})

test('refresh tokens are kept as digests (SE-07)', async () => {
  const { body } = await begin()
  const rows = await house.deps.db.selectFrom('refresh_tokens').selectAll().execute()
  const text = JSON.stringify(rows.map((row) => ({ ...row, hash: row.hash.toString('base64url') })))
  assert.ok(!text.includes(body.refresh_token))
  assert.ok(!house.logs.some((line) => line.includes(body.refresh_token)))
})
