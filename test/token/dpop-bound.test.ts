import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { GRANT, TOKEN_TYPE, TYP } from '../../src/oauth/names.ts'
import { authorize, browser, signIn } from '../support/browser.ts'
import { newDpopKey, proving } from '../support/dpop.ts'
import { claimsOf, enrolAgent, enrolUser, events, redeem, refresh } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'
import { assertOAuthError, assertRefusal } from '../support/refusals.ts'
import { clientAuthentication, tellStory } from '../support/story.ts'

// What is bound to a key, and who may use it: codes, grants with their refresh tokens, access tokens.

const house = await openHouse({ after }, { DELEGATE_TOKENS: 'on' })
const there = browser(house)
await signIn(there, await enrolUser(house))
const CLIENTS = {
  confidential: await enrolAgent(house),
  public: await enrolAgent(house, {
    token_endpoint_auth_method: 'none',
    grant_types: [GRANT.authorizationCode, GRANT.refreshToken],
  }),
}
const key = await newDpopKey()
const other = await newDpopKey('EdDSA')

const OFFLINE = { scope: 'openid offline_access' }
const WRONG = [400, 'invalid_grant', 'wrong_dpop_key'] as const
type Client = (typeof CLIENTS)['public']
const withKey = (of: typeof key) => proving(of, house)

/** Redeems a new code, with a proof of this key if one is given. */
const begin = async (client: Client, of?: typeof key) => {
  const code = await authorize(there, client, OFFLINE)
  const answer = await redeem(house, client, code, of && (await withKey(of)))
  assert.equal(answer.status, 200, answer.text)
  return answer.body
}
const renew = async (client: Client, token: string, of?: typeof key) =>
  refresh(house, client, token, {}, of && (await withKey(of)))

test('an access token is bound to the key that was proved, the ID token is not (DP-11)', async () => {
  const bound = await begin(CLIENTS.confidential, key)
  assert.equal(bound.token_type, 'DPoP')
  assert.deepEqual(claimsOf(bound.access_token).cnf, { jkt: key.jkt })
  assert.equal('cnf' in claimsOf(bound.id_token), false)
  const plain = await begin(CLIENTS.confidential)
  assert.equal(plain.token_type, 'Bearer')
  assert.equal('cnf' in claimsOf(plain.access_token), false)
})

test('a code with dpop_jkt is for that key alone (DP-10)', async () => {
  for (const client of Object.values(CLIENTS)) {
    const code = await authorize(there, client, { ...OFFLINE, dpop_jkt: key.jkt })
    await assertRefusal(house, () => redeem(house, client, code), WRONG)
    const stolen = await withKey(other)
    const answer = await assertRefusal(house, () => redeem(house, client, code, stolen), WRONG)
    assert.match(answer.body.error_description, /dpop_jkt/)
    const { body } = await redeem(house, client, code, await withKey(key))
    assert.equal(body.token_type, 'DPoP')
  }
})

for (const [kind, client] of Object.entries(CLIENTS)) {
  test(`a refresh token of a ${kind} client is bound to the key that its grant began with (DP-12)`, async () => {
    let { refresh_token } = await begin(client, key)
    for (const thief of [undefined, other]) {
      const headers = thief && (await withKey(thief))
      const asked = () => refresh(house, client, refresh_token, {}, headers)
      await assertRefusal(house, asked, WRONG)
    }
    for (let times = 0; times < 2; times++) {
      const { body } = await renew(client, refresh_token, key)
      assert.equal(body.token_type, 'DPoP')
      assert.deepEqual(claimsOf(body.access_token).cnf, { jkt: key.jkt })
      refresh_token = body.refresh_token
    }
    assertOAuthError(await renew(client, refresh_token), 400, 'invalid_grant')
  })

  test(`a spent one of a ${kind} client ends its grant, whoever has the key (OP-22)`, async () => {
    const { refresh_token } = await begin(client, key)
    const next = (await renew(client, refresh_token, key)).body.refresh_token
    assertOAuthError(await renew(client, refresh_token, other), 400, 'invalid_grant')
    assertOAuthError(await renew(client, next, key), 400, 'invalid_grant')
    const [event] = await events(house, 'refresh_token.refused')
    assert.equal(event?.reason, 'refresh_token_revoked')
  })
}

test('a public client binds an unbound grant by its first proof (DP-12)', async () => {
  const client = CLIENTS.public
  const { refresh_token } = await begin(client)
  const first = await renew(client, refresh_token)
  assert.equal(first.body.token_type, 'Bearer')
  const bound = await renew(client, first.body.refresh_token, key)
  assert.deepEqual(claimsOf(bound.body.access_token).cnf, { jkt: key.jkt })
  const token = bound.body.refresh_token
  await assertRefusal(house, () => renew(client, token), WRONG)
  await assertRefusal(house, () => renew(client, token, other), WRONG)
  assert.equal((await renew(client, token, key)).status, 200)
})

test('a client that authenticates binds access tokens of an unbound grant, each to its proof', async () => {
  const client = CLIENTS.confidential
  let { refresh_token } = await begin(client)
  for (const holder of [key, other, undefined]) {
    const { body } = await renew(client, refresh_token, holder)
    assert.equal(body.token_type, holder ? 'DPoP' : 'Bearer')
    assert.deepEqual(claimsOf(body.access_token).cnf, holder && { jkt: holder.jkt })
    refresh_token = body.refresh_token
  }
})

test('of two first proofs at once one is answered (DP-12, OP-22)', async () => {
  const client = CLIENTS.public
  const { refresh_token } = await begin(client)
  const answers = await Promise.all([key, other].map((of) => renew(client, refresh_token, of)))
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400])
})

test('a bound refresh token is a subject for who holds its key (DP-09, TX-26)', async () => {
  const story = await tellStory(house)
  await story.delegate()
  await story.signIn()
  const code = await authorize(story.browser, story.agent, OFFLINE)
  const fields = {
    grant_type: GRANT.authorizationCode,
    ...code,
    ...(await clientAuthentication(house, story.agent)),
  }
  const { body } = await house.form('/oauth2/token', fields, await withKey(key))
  const exchange = async (of?: typeof key) =>
    story.exchange(
      { subject_token: body.refresh_token, subject_token_type: TOKEN_TYPE.refreshToken },
      story.agent,
      of && (await withKey(of)),
    )
  await assertRefusal(house, () => exchange(), WRONG)
  await assertRefusal(house, () => exchange(other), WRONG)
  const answer = await exchange(key)
  assert.equal(answer.status, 200, answer.text)
  assert.deepEqual(claimsOf(answer.body.access_token).cnf, { jkt: key.jkt })

  const idToken = { subject_token: body.id_token }
  const loose = await story.exchange(idToken)
  assert.equal(loose.status, 200, 'an ID token is not bound')
})

test('an access token says itself which key it is bound to (DP-09, TX-29)', async () => {
  const story = await tellStory(house)
  await story.delegate()
  const { access_token } = await story.signIn()
  const subjectBoundTo = async (cnf: unknown) => ({
    subject_token_type: TOKEN_TYPE.accessToken,
    subject_token: (
      await house.deps.keys.sign('id_token', 'ES256', TYP.accessToken, {
        ...claimsOf(access_token),
        scope: 'openid delegate',
        ...(cnf === undefined ? {} : { cnf }),
      })
    ).jws,
  })
  const exchange = async (subject: object, of?: typeof key) =>
    story.exchange({ ...subject }, story.agent, of && (await withKey(of)))

  assert.equal((await exchange(await subjectBoundTo(undefined))).status, 200)
  const bound = await subjectBoundTo({ jkt: key.jkt })
  await assertRefusal(house, () => exchange(bound), WRONG)
  await assertRefusal(house, () => exchange(bound, other), WRONG)
  assert.equal((await exchange(bound, key)).status, 200)
  for (const cnf of [{}, { jkt: null }, null, 'x', { 'x5t#S256': key.jkt }]) {
    const odd = await subjectBoundTo(cnf)
    await assertRefusal(house, () => exchange(odd), WRONG)
    await assertRefusal(house, () => exchange(odd, key), WRONG)
  }
})
