// What rests on a key for ID tokens ends with it: what it signed, and the sessions that that stands for (DS-26).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeProtectedHeader } from 'jose'
import { replicaMargin } from '../../src/keys/schedule.ts'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import type { SigningAlg } from '../../src/oauth/signing-alg.ts'
import { authorizeUrl, PASSWORD, redirected, signIn } from '../support/browser.ts'
import { claimsOf } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import { clientAuthentication, type Story, type StoryAgent, tellStory } from '../support/story.ts'
import {
  auditOf,
  drop,
  dropped,
  keyOf,
  kidOf,
  publishedKids,
  sessionsOf,
  userinfo,
} from './compromised.ts'

const house = await openHouse({ after })
const { db } = house.deps
/** Seconds after which a key that was made counts as published: before, nothing would be signed with it. */
const UNTIL_PUBLISHED = replicaMargin(house.config) + 1

/** A user who is signed in, with ID tokens of this algorithm, and who allowed the agent something. */
async function signedIn(alg: SigningAlg, scope?: string) {
  house.wait(UNTIL_PUBLISHED)
  const story = await tellStory(house, { agent: { id_token_signed_response_alg: alg } })
  await story.delegate()
  const tokens = await story.signIn(story.agent, scope)
  assert.equal(decodeProtectedHeader(tokens.id_token).alg, alg)
  const { sid } = claimsOf(tokens.id_token)
  return { story, tokens, sid, kid: kidOf(tokens.id_token) }
}

const refresh = async (agent: StoryAgent, refresh_token: string) =>
  house.form('/oauth2/token', {
    grant_type: GRANT.refreshToken,
    refresh_token,
    ...(await clientAuthentication(house, agent)),
  })

/** A little later, in the same browser, which has a session already. */
async function signInAgain({ browser, agent, user }: Story): Promise<void> {
  house.wait(1)
  const page = await browser.get(authorizeUrl(agent, { prompt: 'login' }))
  redirected(await browser.submit(page, { email: user.email, password: PASSWORD }), agent)
}

/** Why the sessions of a user ended, each; null for those that live. */
const endsOf = async (story: Story) =>
  (await sessionsOf(house, story)).map(({ end_reason }) => end_reason)

test('an ID token of a dropped key is no subject token any more, and its session is over', async () => {
  const { story, tokens, sid, kid } = await signedIn('EdDSA')
  assert.equal((await story.exchange()).status, 200)
  const { sessions_ended } = await dropped(house, kid)
  assert.equal(sessions_ended, 1)
  const refusal = [400, 'invalid_grant', 'bad_subject_token'] as const
  await assertRefusal(house, () => story.exchange(), refusal)
  assert.deepEqual(await endsOf(story), ['key_compromised'])
  const late = await refresh(story.agent, tokens.refresh_token)
  assert.equal(late.body.error, 'invalid_grant')

  const ended = (await auditOf(house, 'session.ended')).filter(
    ({ user_id }) => user_id === story.user.id,
  )
  assert.equal(ended.length, 1)
  assert.deepEqual([ended[0]?.actor_kind, ended[0]?.actor_id], ['system', null])
  const { why, session_ids, family_ids } = ended[0]?.detail ?? {}
  assert.deepEqual([why, session_ids, family_ids], ['key_compromised', [sid], []])
})

test('it is no hint of who is meant any more', async () => {
  const { story, tokens, kid } = await signedIn('EdDSA')
  const hinted = { prompt: 'none', id_token_hint: tokens.id_token }
  const ask = async () =>
    redirected(await story.browser.get(authorizeUrl(story.agent, hinted)), story.agent)
  assert.ok((await ask()).get('code'))
  await dropped(house, kid)
  assert.equal((await ask()).get('error'), 'invalid_request')
  // Nor after another sign-in, when it would be right about the user.
  await signIn(story.browser, story.user)
  assert.equal((await ask()).get('error'), 'invalid_request')
})

test('an access token of a dropped key opens nothing', async () => {
  const { tokens } = await signedIn('RS256')
  assert.equal((await userinfo(house, tokens.access_token)).status, 200)
  await dropped(house, kidOf(tokens.access_token))
  const refused = await userinfo(house, tokens.access_token)
  assert.deepEqual([refused.status, refused.body.error], [401, 'invalid_token'])
})

test('only sessions with an ID token of the key end', async () => {
  const bystanders = [await signedIn('PS256'), await signedIn('ES384')]
  const affected = [await signedIn('EdDSA'), await signedIn('EdDSA', 'openid')]
  const { kid } = await keyOf(house, 'id_token', 'EdDSA')
  const { sessions_ended, notice } = await dropped(house, kid)
  assert.equal(sessions_ended, 2)
  assert.match(notice, /sign in again/)
  for (const { story } of affected) assert.deepEqual(await endsOf(story), ['key_compromised'])
  for (const { story, tokens } of bystanders) {
    assert.deepEqual(await endsOf(story), [null])
    assert.equal((await story.exchange()).status, 200)
    assert.equal((await refresh(story.agent, tokens.refresh_token)).status, 200)
  }
})

test('a key that signed the first ID token counts when the refreshed one is by another, and the other too', async () => {
  for (const which of [0, 1]) {
    const { story, tokens, kid } = await signedIn('EdDSA')
    const bystander = await signedIn('PS256')
    house.wait(86_410)
    await house.admin('POST', '/keys/rotate', { purpose: 'id_token', alg: 'EdDSA' })
    // Every session is a day old by now, and over.
    await db
      .updateTable('sessions')
      .set({ expires_at: new Date(house.clock.now.getTime() + 9e6) })
      .execute()
    const renewed = await refresh(story.agent, tokens.refresh_token)
    assert.equal(renewed.status, 200, renewed.text)
    const kids = [kid, kidOf(renewed.body.id_token)]
    assert.notEqual(kids[0], kids[1])
    house.wait(UNTIL_PUBLISHED)
    await dropped(house, kids[which] as string)
    assert.deepEqual(await endsOf(story), ['key_compromised'])
    assert.deepEqual(await endsOf(bystander.story), [null])
  }
})

test('a grant from before its keys were written down may be of any key', async () => {
  const { story, tokens } = await signedIn('PS256')
  const old = await signedIn('PS256')
  await db
    .updateTable('refresh_token_families')
    .set({ id_token_kids: null })
    .where('session_id', '=', old.sid)
    .execute()
  // A refresh does not make it known what was signed before.
  const renewed = await refresh(old.story.agent, old.tokens.refresh_token)
  assert.equal(renewed.status, 200, renewed.text)
  await dropped(house, (await keyOf(house, 'id_token', 'ES384')).kid)
  assert.deepEqual(await endsOf(old.story), ['key_compromised'])
  assert.deepEqual(await endsOf(story), [null])
  assert.equal((await refresh(story.agent, tokens.refresh_token)).status, 200)
})

test('with a session ends the line that it belongs to, wherever in it the key signed', async () => {
  for (const first of [true, false]) {
    const { story, tokens } = await signedIn(first ? 'EdDSA' : 'PS256')
    await signInAgain(story)
    await signInAgain(story)
    const other = await tellStory(house, {
      agent: { id_token_signed_response_alg: first ? 'PS256' : 'EdDSA' },
    })
    const later = await story.signIn(other.agent)
    const [one, ...more] = await sessionsOf(house, story)
    assert.ok(more.length > 0 && more.every(({ continues }) => continues === one?.id))
    const { sessions_ended } = await dropped(house, kidOf((first ? tokens : later).id_token))
    assert.equal(sessions_ended, more.length + 1)
    assert.ok((await endsOf(story)).every((why) => why === 'key_compromised'))
    assert.match((await story.browser.get('/sign-in')).text, /Password/)
  }
})

test('an offline delegation goes on without its session, as after a sign-out, and by the refresh token alone', async () => {
  house.wait(UNTIL_PUBLISHED)
  const expires_at = new Date(house.clock.now.getTime() + 9e8).toISOString()
  const story = await tellStory(house, { agent: { id_token_signed_response_alg: 'EdDSA' } })
  await story.delegate({ offline: true, expires_at })
  const tokens = await story.signIn()
  await dropped(house, kidOf(tokens.id_token))
  const renewed = await refresh(story.agent, tokens.refresh_token)
  assert.equal(renewed.status, 200, renewed.text)
  assert.equal(renewed.body.id_token, undefined)
  const subject_token_type = TOKEN_TYPE.refreshToken
  const minted = await story.exchange({
    subject_token: renewed.body.refresh_token,
    subject_token_type,
  })
  assert.equal(minted.status, 200, minted.text)
})

test('whoever signs in again gets ID tokens of the next key, and everything works', async () => {
  const { story, kid } = await signedIn('EdDSA')
  const next = await keyOf(house, 'id_token', 'EdDSA', 'next')
  await dropped(house, kid)
  story.browser.cookies.clear()
  const tokens = await story.signIn()
  assert.equal(kidOf(tokens.id_token), next.kid)
  assert.ok((await publishedKids(house)).includes(next.kid))
  assert.equal((await story.exchange()).status, 200)
  // The call is made once more, and ends nobody who came back.
  assert.equal((await drop(house, kid)).body.sessions_ended, 0)
  assert.equal((await story.exchange()).status, 200)
})
