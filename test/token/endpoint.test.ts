// The token endpoint as an address, and what none of its answers is.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { REASONS } from '../../src/audit/reason.ts'
import { loadConfig } from '../../src/config.ts'
import { serverMetadata } from '../../src/discovery/metadata.ts'
import { TOKEN_TYPE } from '../../src/oauth/names.ts'
import { isTold, Refusal } from '../../src/token/refusals.ts'
import { type Answer, type Form, formBody, openHouse } from '../support/house.ts'
import { tellStory } from '../support/story.ts'

const house = await openHouse({ after })
type Send = (path: string, fields: Form, headers?: Record<string, string>) => Promise<Answer>
let send: Send = house.form
const story = await tellStory({ ...house, form: (...asked) => send(...asked) })
await story.delegate()
await story.signIn()

/** The exchange that is granted, sent in another way. */
async function exchangeBy(other: Send): Promise<Answer> {
  send = other
  return story.exchange().finally(() => {
    send = house.form
  })
}
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

const assertStays = (answer: Answer, what: string) => {
  assert.ok(answer.status < 300 || answer.status >= 400, `${what}: ${answer.status}`)
  assert.equal(answer.headers.location, undefined, what)
}

const PATHS = [
  '/oauth2/token',
  '/oauth2/token/',
  '//oauth2/token',
  '/oauth2//token',
  '/OAuth2/Token',
  '/oauth2/./token',
  '/oauth2/token?x=1',
  '/oauth2/token;x',
]
for (const method of ['POST', 'GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
  test(`${method} at the token endpoint, and beside it, leads nowhere else (TX-42)`, async () => {
    for (const url of PATHS) {
      const answer = await exchangeBy((_path, fields) =>
        house.inject({
          method,
          url,
          headers: FORM,
          ...(method !== 'GET' && method !== 'HEAD' && { payload: formBody(fields) }),
        }),
      )
      assertStays(answer, `${method} ${url}`)
    }
  })
}

test('whichever host and scheme a request names, it is answered where it came (TX-42)', async () => {
  const NAMES: Record<string, string>[] = [
    { host: 'evil.example' },
    { host: 'localhost:4000.evil.example' },
    { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'http' },
    { forwarded: 'host=evil.example;proto=http' },
    { origin: 'https://evil.example', referer: 'https://evil.example/' },
  ]
  for (const headers of NAMES) {
    const answer = await exchangeBy((path, fields) => house.form(path, fields, headers))
    assert.equal(answer.status, 200, answer.text)
    assertStays(answer, JSON.stringify(headers))
    assert.equal(decodeJwt(answer.body.access_token).iss, house.config.issuer)
  }
})

test('what stands in the address is no parameter of a request (FL-01)', async () => {
  const MOVED = [
    Object.keys(await rightFields()),
    ['subject_token'],
    ['audience'],
    ['client_assertion', 'client_assertion_type'],
  ]
  for (const names of MOVED) {
    const fields = Object.entries(await rightFields())
    const inAddress = Object.fromEntries(fields.filter(([name]) => names.includes(name)))
    const inBody = Object.fromEntries(fields.filter(([name]) => !names.includes(name)))
    const answer = await house.form(`/oauth2/token?${formBody(inAddress)}`, inBody)
    assert.ok([400, 401].includes(answer.status), `${names}: ${answer.status} ${answer.text}`)
  }
  assert.equal((await house.form('/oauth2/token', await rightFields())).status, 200)
})

/** Of the exchange that is granted, not sent yet. */
async function rightFields(): Promise<Form> {
  let kept: Form = {}
  await exchangeBy((_path, fields) => {
    kept = fields
    return Promise.resolve({ status: 0, body: undefined, headers: {}, text: '' })
  })
  return kept
}

test('the metadata name an endpoint with https, but for a loopback address (TX-44, FL-01)', () => {
  const endpointOf = (ISSUER: string) => {
    const settings = { ISSUER, DATABASE_URL: 'postgres://h/d', ADMIN_API_KEY: 'x'.repeat(32) }
    const KEY_ENCRYPTION_KEY = Buffer.alloc(32).toString('base64')
    return serverMetadata(loadConfig({ ...settings, KEY_ENCRYPTION_KEY })).token_endpoint
  }
  const secure = 'https://id.orbit.example'
  assert.equal(endpointOf(secure), `${secure}/oauth2/token`)
  for (const loopback of ['http://localhost:4000', 'http://127.0.0.1:4000', 'http://[::1]:4000']) {
    assert.equal(endpointOf(loopback), `${loopback}/oauth2/token`)
  }
  for (const open of [
    'http://id.orbit.example',
    'http://localhost.orbit.example',
    'http://10.0.0.1',
    'http://0.0.0.0:4000',
    'http://[::ffff:10.0.0.1]',
    'ws://localhost:4000',
  ]) {
    assert.throws(() => endpointOf(open), /ISSUER must be/, open)
  }
})

const ELSEWHERE = ['login_required', 'consent_required']

test('no refusal has a code of the authorization endpoint (TX-62)', () => {
  const told = REASONS.filter(isTold)
  assert.ok(told.length > 60)
  for (const reason of told) {
    assert.ok(!ELSEWHERE.includes(new Refusal(reason).code), reason)
  }
})

test('a user who has to consent or to sign in is spoken of in codes of this endpoint (TX-62)', async () => {
  const asked = await tellStory(house, { audience: { max_auth_age: 600 } })
  const { refresh_token } = await asked.signIn()
  const subject = { subject_token: refresh_token, subject_token_type: TOKEN_TYPE.refreshToken }
  assert.equal((await asked.exchange()).body.error, 'interaction_required')
  await asked.delegate()
  house.wait(301)
  assert.equal((await asked.exchange(subject)).body.error, 'insufficient_user_authentication')
  const { text } = await asked.browser.get('/oauth2/logout')
  await asked.browser.post('/oauth2/logout', {
    csrf: /name="csrf" value="([^"]+)"/.exec(text)?.[1],
  })
  assert.equal((await asked.exchange(subject)).body.error, 'invalid_grant')
})
