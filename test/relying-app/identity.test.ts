// Steps 10 to 14 of the auth.md service: contacts, the provider's document, and whose account it is.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { IssuerUnavailable, refusalBody } from '../../src/relying-app/verify-id-jag.ts'
import {
  accounts,
  authMd,
  CLAIMS,
  idJag,
  ORBIT,
  PROVIDER_DOCUMENT,
  recognised,
  refused,
  TV_05,
} from './paperclip.ts'

const PHONE = { phone_number: '+15550100', phone_number_verified: true }

test('step 10: only verified contacts are told, the e-mail address in lower case', async () => {
  const email = 'kim@orbit.example'
  for (const [claims, contact] of [
    [{ email: 'Kim@ORBIT.example' }, { email }],
    [PHONE, { email, phone_number: '+15550100' }],
    [{ ...PHONE, email_verified: 'true' }, { phone_number: '+15550100' }],
    [{ ...PHONE, phone_number_verified: 'true' }, { email }],
    [{ ...PHONE, phone_number: 15550100 }, { email }],
    [{ ...PHONE, phone_number: '' }, { email }],
    [{ ...PHONE, email: '' }, { phone_number: '+15550100' }],
  ] as const) {
    const { contact: told } = await recognised(idJag(claims))
    assert.deepEqual(told, contact)
  }
})

test('step 10: a flag without its contact is no contact (TV-35)', async () => {
  for (const claims of [
    { email: undefined },
    { email: '' },
    { email: ['kim@orbit.example'] },
    { email_verified: false, phone_number: '+15550100' },
    { email_verified: false, phone_number_verified: true },
  ]) {
    const { error } = await refused(idJag(claims), authMd())
    assert.equal(error, 'missing_verified_email', JSON.stringify(claims))
  }
})

test('step 11: the document at client_id is the provider, by its own name and its keys (TV-29)', async () => {
  const asked: string[] = []
  const with_ = (document: unknown) =>
    authMd({
      fetchClientDocument: async (url) => {
        asked.push(url)
        return document
      },
    })
  await recognised(TV_05, with_(PROVIDER_DOCUMENT))
  await recognised(TV_05, with_({ ...PROVIDER_DOCUMENT, client_name: 'Orbit Agents' }))
  assert.deepEqual(new Set(asked), new Set([CLAIMS.client_id]))

  for (const document of [
    undefined,
    null,
    'x',
    [],
    [PROVIDER_DOCUMENT],
    {},
    { client_id: CLAIMS.client_id },
    { jwks_uri: PROVIDER_DOCUMENT.jwks_uri },
    { ...PROVIDER_DOCUMENT, client_id: `${CLAIMS.client_id}/` },
    { ...PROVIDER_DOCUMENT, jwks_uri: `${PROVIDER_DOCUMENT.jwks_uri}?` },
    { ...PROVIDER_DOCUMENT, jwks_uri: [PROVIDER_DOCUMENT.jwks_uri] },
  ]) {
    const refusal = await refused(TV_05, with_(document))
    assert.deepEqual([refusal.status, refusal.error], [400, 'invalid_client_id'])
  }
})

test('step 11: what is no client metadata URL is not fetched (DS-40)', async () => {
  for (const client_id of [
    undefined,
    '',
    1,
    [CLAIMS.client_id],
    ORBIT,
    `${ORBIT}/`,
    'http://id.orbit.example/agent-provider.json',
    'http://localhost/agent-provider.json',
    'https://kim@id.orbit.example/agent-provider.json',
    'https://id.orbit.example/agent-provider.json#x',
    'https://id.orbit.example/a/../agent-provider.json',
    'https://id.orbit.example/./agent-provider.json',
    'https://ID.orbit.example/agent-provider.json',
    'agent-provider.json',
    'file:///etc/passwd',
  ]) {
    const fetchClientDocument = () => assert.fail(`fetched ${client_id}`)
    const { error } = await refused(idJag({ client_id }), authMd({ fetchClientDocument }))
    assert.equal(error, 'invalid_client_id', JSON.stringify(client_id))
    await recognised(idJag({ client_id }), authMd())
  }
  const client_id = 'https://id.orbit.example:8443/tenants/blue/client.json'
  const fetchClientDocument = async () => ({ ...PROVIDER_DOCUMENT, client_id })
  await recognised(idJag({ client_id }), authMd({ fetchClientDocument }))
})

test('step 11: a document that cannot be had now blames nobody', async () => {
  const fetchClientDocument = () => Promise.reject(new IssuerUnavailable('it is down'))
  assert.equal((await refused(TV_05, authMd({ fetchClientDocument }))).status, 503)
})

test('step 12: a user who is linked is that account, whatever the contact says', async () => {
  const context = authMd({
    accounts: accounts({
      findLinked: async ({ iss, sub }) =>
        iss === ORBIT && sub === CLAIMS.sub ? 'acc_1' : undefined,
      findByContact: async () => 'acc_2',
    }),
  })
  const { account, claims, header } = await recognised(TV_05, context)
  assert.equal(account, 'acc_1')
  assert.deepEqual([claims.sub, header.alg], [CLAIMS.sub, 'ES256'])
})

test('step 12: an account by an empty name is an account', async () => {
  const linked = authMd({
    accounts: accounts({ findLinked: async () => '', findByContact: async () => 'acc_2' }),
  })
  assert.equal((await recognised(TV_05, linked)).account, '')
  const owned = authMd({ accounts: accounts({ findByContact: async () => '' }) })
  assert.equal((await refused(TV_05, owned)).error, 'interaction_required')
})

test('step 13: the answer carries the claim that the service has begun (TV-37, IJ-72)', async () => {
  const claim = { user_code: '123456', verification_uri: 'https://paperclip.example/claim' }
  const begun: unknown[] = []
  const context = authMd({
    accounts: accounts({
      findByContact: async (contact) => {
        begun.push(contact)
        return 'acc_1'
      },
      startClaim: async (account, { sub }) => {
        begun.push([account, sub])
        return { claim }
      },
    }),
  })
  const refusal = await refused(idJag(PHONE), context)
  assert.equal(refusal.status, 401)
  assert.deepEqual(refusalBody(refusal), {
    error: 'interaction_required',
    error_description: 'The user has to confirm this at the service',
    message: 'The user has to confirm this at the service',
    claim,
  })
  assert.deepEqual(refusal.headers, {})
  const contact = { email: 'kim@orbit.example', phone_number: '+15550100' }
  assert.deepEqual(begun, [contact, ['acc_1', CLAIMS.sub]])
})

test('step 14: a user whom nobody knows is to get an account', async () => {
  const verdict = await recognised(TV_05)
  assert.ok('account' in verdict)
  assert.equal(verdict.account, undefined)
})

test('step 1: the assertion is a text, and its type is told', async () => {
  for (const assertion of [undefined, null, '', 1, [TV_05], { assertion: TV_05 }]) {
    assert.equal((await refused(assertion, authMd())).error, 'invalid_request')
  }
  for (const assertionType of [
    undefined,
    '',
    'id-jag',
    ['urn:ietf:params:oauth:token-type:id-jag'],
  ]) {
    assert.equal((await refused(TV_05, authMd({ assertionType }))).error, 'invalid_request')
  }
})
