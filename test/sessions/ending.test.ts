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
  credential_id: null,
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

/** The credential of an agent that has one, and what an administrator's ending of it answers. */
async function credentialOf({ agent }: Awaited<ReturnType<typeof begin>>) {
  const { body } = await house.admin('GET', `/agents/${agent.id}/credentials`)
  const { id } = body.data[0]
  return { id, end: () => house.admin('DELETE', `/agents/${agent.id}/credentials/${id}`) }
}

test('an ended credential stops the grant that was let in by it and waits (rule 3)', async () => {
  const story = await begin()
  const { agent, there, body } = story
  const code = await authorize(there, agent, { scope: 'openid' })
  const credential = await credentialOf(story)
  const { waiting } = await db.transaction().execute(async (tx) => {
    await tx.selectFrom('credentials').where('id', '=', credential.id).forUpdate().execute()
    const waiting = [refresh(house, agent, body.refresh_token), redeem(house, agent, code)]
    // Long enough for both to have read the credential as a live one.
    await Promise.race([...waiting, sql`select pg_sleep(0.5)`.execute(tx)])
    await tx
      .updateTable('credentials')
      .set({ ended_at: house.clock.now })
      .where('id', '=', credential.id)
      .execute()
    return { waiting }
  })
  for (const answer of await Promise.all(waiting)) {
    assert.deepEqual([answer.status, answer.body.error], [401, 'invalid_client'], answer.text)
  }
  const { rows } = await sql<{ type: string; reason: string }>`
    select type, reason from audit_events where agent_id = ${agent.id} and reason is not null
    order by type`.execute(db)
  assert.deepEqual(rows, [
    { type: 'authorization_code.refused', reason: 'credential_ended' },
    { type: 'refresh_token.refused', reason: 'credential_ended' },
  ])
})

test('a credential does not end while a refresh let in by it waits for its family', async () => {
  const story = await begin()
  const credential = await credentialOf(story)
  const order: string[] = []
  const inTurn = async (what: string, answer: Promise<{ status: number }>) => {
    order.push(`${what} ${(await answer).status}`)
  }
  const waiting = await db.transaction().execute(async (tx) => {
    await tx
      .selectFrom('refresh_token_families')
      .where('session_id', '=', story.session.id)
      .forUpdate()
      .execute()
    const { agent, body } = story
    const refreshed = inTurn('refreshed', refresh(house, agent, body.refresh_token))
    await Promise.race([refreshed, sql`select pg_sleep(0.3)`.execute(tx)])
    const ended = inTurn('ended', credential.end())
    await Promise.race([ended, sql`select pg_sleep(0.3)`.execute(tx)])
    return [refreshed, ended]
  })
  await Promise.all(waiting)
  assert.deepEqual(order, ['refreshed 200', 'ended 204'])
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
