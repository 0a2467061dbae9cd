import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { hashSecret } from '../../src/oauth/secret.ts'
import { shareParties } from '../../src/sessions/lock.ts'
import { authorize, browser, signIn } from '../support/browser.ts'
import { claimsOf, enrolAgent, enrolUser, redeem, refresh } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const { db } = house.deps

async function begin() {
  const agent = await enrolAgent(house)
  const user = await enrolUser(house)
  const there = browser(house)
  await signIn(there, user)
  const code = await authorize(there, agent, { scope: 'openid offline_access' })
  const { body } = await redeem(house, agent, code)
  const { sid } = claimsOf(body.id_token)
  const session = await db
    .selectFrom('sessions')
    .selectAll()
    .where('id', '=', sid)
    .executeTakeFirstOrThrow()
  return { agent, user, there, body, session }
}

const parties = ({ agent, session }: Awaited<ReturnType<typeof begin>>) => ({
  tenant_id: session.tenant_id,
  user_id: session.user_id,
  agent_id: agent.id,
  session_id: session.id,
})

test('a session cookie is kept as a digest (SE-07)', async () => {
  const { there, session } = await begin()
  const token = there.cookies.get('session') ?? ''
  assert.deepEqual(session.token_hash, hashSecret(token))
  assert.deepEqual(session.amr, ['pwd'])
})

test('a suspension waits for the grant that was first, and is seen by the one after', async () => {
  const story = await begin()
  const order: string[] = []
  let suspension: Promise<unknown> | undefined
  await db.transaction().execute(async (tx) => {
    assert.ok(!('refused' in (await shareParties(tx, parties(story), house.clock.now))))
    suspension = house
      .admin('PATCH', `/users/${story.user.id}`, { status: 'suspended' })
      .then(() => order.push('suspended'))
    // Long enough for a statement that does not wait.
    await Promise.race([suspension, sql`select pg_sleep(0.3)`.execute(tx)])
    order.push('granted')
  })
  await suspension
  assert.deepEqual(order, ['granted', 'suspended'])
  const later = await db
    .transaction()
    .execute((tx) => shareParties(tx, parties(story), house.clock.now))
  assert.deepEqual(later, { refused: 'user_inactive' })
})

test('a refresh and a sign-out at once end signed out', async () => {
  for (let round = 1; round <= 5; round++) {
    const { agent, there, body } = await begin()
    const page = await there.get('/oauth2/logout')
    const csrf = /name="csrf" value="([^"]*)"/.exec(page.text)?.[1]
    const [refreshed] = await Promise.all([
      refresh(house, agent, body.refresh_token),
      there.post('/sign-out', { csrf }),
    ])
    assert.ok([200, 400].includes(refreshed.status), refreshed.text)
    const token = refreshed.body.refresh_token ?? body.refresh_token
    assert.equal((await refresh(house, agent, token)).body.error, 'invalid_grant')
  }
})

test('a revocation by agent ends its refresh tokens and voids its codes', async () => {
  const { agent, there, body } = await begin()
  const code = await authorize(there, agent)
  const revoked = await house.admin('POST', '/revocations', { agent_id: agent.id, reason: 'test' })
  assert.equal(revoked.status, 202, revoked.text)
  assert.equal((await refresh(house, agent, body.refresh_token)).body.error, 'invalid_grant')
  assert.equal((await redeem(house, agent, code)).body.error, 'invalid_grant')
})

test('a new password signs the user out everywhere (OP-23)', async () => {
  const { agent, user, there, body } = await begin()
  const password = 'another battery staple'
  const patched = await house.admin('PATCH', `/users/${user.id}`, { password })
  assert.equal(patched.status, 200, patched.text)
  assert.match((await there.get('/sign-in')).text, /Password/)
  assert.equal((await refresh(house, agent, body.refresh_token)).body.error, 'invalid_grant')
  assert.equal((await signIn(browser(house), { ...user, password })).url, '/account')
})
