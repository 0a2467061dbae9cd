import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { authorize, browser, signIn } from '../support/browser.ts'
import { enrolAgent, enrolUser, events } from '../support/enrol.ts'
import { ISSUER, openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const { privateKey, publicKey } = await generateKeyPair('ES256')
const agent = await enrolAgent(house, {
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: { keys: [await exportJWK(publicKey)] },
})
const there = browser(house)
await signIn(there, await enrolUser(house))

const assertion = () =>
  new SignJWT()
    .setProtectedHeader({ alg: 'ES256', typ: 'client-authentication+jwt' })
    .setIssuer(agent.client_id)
    .setSubject(agent.client_id)
    .setAudience(ISSUER)
    .setJti(randomUUID())
    .setExpirationTime(Math.floor(house.clock.now.getTime() / 1000) + 60)
    .sign(privateKey)

const redeemWith = (client_assertion: string, code: object) =>
  house.form('/oauth2/token', {
    grant_type: 'authorization_code',
    client_assertion,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    ...code,
  })

test('a client assertion works once, whatever came of it', async () => {
  const code = await authorize(there, agent)
  const first = await assertion()
  const refused = await redeemWith(first, { ...code, code: 'unknown' })
  assert.equal(refused.body.error, 'invalid_grant', refused.text)
  const again = await redeemWith(first, code)
  assert.equal(again.status, 401)
  assert.equal(again.body.error, 'invalid_client')
  const [event] = await events(house, 'authorization_code.refused')
  assert.equal(event?.reason, 'replayed_assertion')

  const second = await assertion()
  assert.equal((await redeemWith(second, code)).status, 200)
  assert.equal((await redeemWith(second, code)).body.error, 'invalid_client')
})

test('of two requests with one assertion, one is answered', async () => {
  const [one, two] = [await authorize(there, agent), await authorize(there, agent)]
  const once = await assertion()
  const answers = await Promise.all([redeemWith(once, one), redeemWith(once, two)])
  assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 401])
})
