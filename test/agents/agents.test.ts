import assert from 'node:assert/strict'
import { generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import { after, test } from 'node:test'
import { calculateJwkThumbprint } from 'jose'
import { newTimeOrderedId } from '../../src/db/ids.ts'
import { GRANT } from '../../src/oauth/names.ts'
import { hashSecret } from '../../src/oauth/secret.ts'
import { SIGNING_ALGS } from '../../src/oauth/signing-alg.ts'
import { openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })
const { db } = house.deps

const publicOf = ({ publicKey }: { publicKey: { export(o: { format: 'jwk' }): JsonWebKey } }) =>
  publicKey.export({ format: 'jwk' })
const ecKey = () => publicOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }))
const inAYear = () => new Date(house.clock.now.getTime() + 365 * 86_400_000).toISOString()
const { body: owner } = await house.admin('POST', '/users', { name: 'Olu Owner' })

const asked = (body: object = {}) => ({
  name: 'Travel planner',
  purpose: 'Books business trips',
  owner_id: owner.id,
  expires_at: inAYear(),
  token_endpoint_auth_method: 'client_secret_basic',
  ...body,
})
const ask = (body: object = {}) => house.admin('POST', '/agents', asked(body))
const enrol = async (body: object = {}) => {
  const answer = await ask(body)
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const withKeys = (...keys: object[]) => ({
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: { keys },
})
const credentialsOf = async (id: string, query = '') => {
  const { body, text } = await house.admin('GET', `/agents/${id}/credentials${query}`)
  assert.doesNotMatch(text, /secret_hash|client_secret|"jwk":/)
  return body.data
}
const move = (id: string, verb: string) => house.admin('POST', `/agents/${id}/${verb}`, {})

test('an agent made by an administrator is active at once; its secret is shown once', async () => {
  const { client_secret, ...agent } = await enrol({ environment: 'production' })
  const now = house.clock.now.toISOString()
  assert.deepEqual(agent, {
    id: agent.id,
    client_id: agent.id,
    tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA',
    name: 'Travel planner',
    purpose: 'Books business trips',
    owner_id: owner.id,
    environment: 'production',
    expires_at: inAYear(),
    token_endpoint_auth_method: 'client_secret_basic',
    jwks_uri: null,
    redirect_uris: [],
    grant_types: [GRANT.authorizationCode, GRANT.refreshToken, GRANT.tokenExchange],
    id_token_signed_response_alg: 'RS256',
    dpop_bound_access_tokens: false,
    status: 'active',
    status_reason: null,
    last_used_at: null,
    created_at: now,
    updated_at: now,
  })
  assert.match(client_secret, /^[\w-]{43}$/)
  const kept = await db
    .selectFrom('credentials')
    .select(['secret_hash'])
    .where('agent_id', '=', agent.id)
    .executeTakeFirstOrThrow()
  assert.deepEqual(kept.secret_hash, hashSecret(client_secret))
  assert.deepEqual((await house.admin('GET', `/agents/${agent.id}`)).body, agent)
  assert.doesNotMatch(house.logs.join(''), new RegExp(client_secret))
})

test('a retried enrolment answers with the same agent, without the secret', async () => {
  const headers = { 'idempotency-key': 'one-agent' }
  const first = await house.admin('POST', '/agents', asked(), headers)
  const second = await house.admin('POST', '/agents', asked(), headers)
  const { client_secret, ...agent } = first.body
  assert.ok(client_secret)
  assert.equal(second.status, 201)
  assert.deepEqual(second.body, agent)
})

test('keys of every supported kind are kept, named by their thumbprint unless they have a name', async () => {
  const rsa = publicOf(generateKeyPairSync('rsa', { modulusLength: 2048 }))
  const agent = await enrol(withKeys({ ...rsa, kid: 'mine', alg: 'RS256', use: 'sig' }))
  assert.equal(agent.client_secret, undefined)
  const [kept] = await credentialsOf(agent.id)
  assert.deepEqual(kept, {
    id: kept.id,
    kind: 'jwk',
    kid: 'mine',
    status: 'active',
    created_at: house.clock.now.toISOString(),
    ended_at: null,
  })
  const ed = publicOf(generateKeyPairSync('ed25519'))
  const ec = ecKey()
  const { id } = await enrol(withKeys(ed, ec))
  const kids = (await credentialsOf(id)).map(({ kid }: { kid: string }) => kid)
  assert.deepEqual(
    kids.sort(),
    [await calculateJwkThumbprint(ed), await calculateJwkThumbprint(ec)].sort(),
  )
})

test('a public client has no credentials and no token exchange', async () => {
  const agent = await enrol({ token_endpoint_auth_method: 'none' })
  assert.deepEqual(agent.grant_types, [GRANT.authorizationCode, GRANT.refreshToken])
  assert.equal(agent.client_secret, undefined)
  assert.deepEqual(await credentialsOf(agent.id), [])
  const answer = await house.admin('POST', `/agents/${agent.id}/credentials`, {})
  assertRefused(answer, 422, 'validation_failed')
})

const privateKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  format: 'jwk',
})
const smallRsa = publicOf(generateKeyPairSync('rsa', { modulusLength: 1024 }))
const p384 = publicOf(generateKeyPairSync('ec', { namedCurve: 'P-384' }))
const ec = ecKey()
const jwt = { token_endpoint_auth_method: 'private_key_jwt' }
const REFUSED: [why: string, body: object, pointer: string][] = [
  ['without a name', { name: undefined }, '/name'],
  ['without a purpose', { purpose: undefined }, '/purpose'],
  ['with a blank purpose', { purpose: ' \n ' }, '/purpose'],
  ['without an owner', { owner_id: undefined }, '/owner_id'],
  ['with an unknown owner', { owner_id: 'usr_unknown' }, '/owner_id'],
  ['without an end', { expires_at: undefined }, '/expires_at'],
  ['with an end that has passed', { expires_at: '2020-01-01T00:00:00Z' }, '/expires_at'],
  ['with an end that is no instant', { expires_at: 'next year' }, '/expires_at'],
  ['by an unknown method', { token_endpoint_auth_method: 'tls' }, '/token_endpoint_auth_method'],
  ['with a long environment', { environment: 'x'.repeat(65) }, '/environment'],
  ['in an unknown tenant', { tenant_id: 'ten_unknown' }, '/tenant_id'],
  ['with an unknown member', { client_name: 'x' }, '/client_name'],
  ['with U+0000 in its name', { name: 'a\0b' }, '/name'],
  [
    'whose ID token would be unsigned',
    { id_token_signed_response_alg: 'none' },
    '/id_token_signed_response_alg',
  ],
  ['with keys and a secret', { jwks: { keys: [ec] } }, '/jwks'],
  ['with a jwks_uri and a secret', { jwks_uri: 'https://a.example/jwks' }, '/jwks_uri'],
  ['without the keys it needs', jwt, '/jwks'],
  ['with both kinds of keys', { ...withKeys(ec), jwks_uri: 'https://a.example/j' }, '/jwks_uri'],
  ['without any key in its jwks', withKeys(), '/jwks/keys'],
  ['with three keys', withKeys(ec, ecKey(), ecKey()), '/jwks/keys'],
  ['with a private key', withKeys(privateKey), '/jwks/keys/0/d'],
  ['with a symmetric key', withKeys({ kty: 'oct', k: 'c2VjcmV0' }), '/jwks/keys/0/k'],
  ['with a weak RSA key', withKeys(ec, smallRsa), '/jwks/keys/1/n'],
  ['with a key on another curve', withKeys(p384), '/jwks/keys/0'],
  ['with a point off the curve', withKeys({ ...ec, x: ec.y }), '/jwks/keys/0'],
  ['with half a key', withKeys({ ...ec, y: undefined }), '/jwks/keys/0'],
  ['with a key for encryption', withKeys({ ...ec, use: 'enc' }), '/jwks/keys/0/use'],
  ['with a key for another algorithm', withKeys({ ...ec, alg: 'ES384' }), '/jwks/keys/0/alg'],
  [
    'with two keys of one name',
    withKeys({ ...ec, kid: 'a' }, { ...ecKey(), kid: 'a' }),
    '/jwks/keys/1',
  ],
  ['with keys at a plain http address', { ...jwt, jwks_uri: 'http://a.example/j' }, '/jwks_uri'],
  ['with keys at a private address', { ...jwt, jwks_uri: 'https://10.0.0.1/j' }, '/jwks_uri'],
  ['with keys at metadata', { ...jwt, jwks_uri: 'https://0xa9fea9fe/j' }, '/jwks_uri'],
  ['with keys behind userinfo', { ...jwt, jwks_uri: 'https://u:p@a.example/j' }, '/jwks_uri'],
  [
    'that is public and wants to exchange',
    { token_endpoint_auth_method: 'none', grant_types: [GRANT.tokenExchange] },
    '/grant_types',
  ],
  ['that redirects to plain http', { redirect_uris: ['http://a.example/cb'] }, '/redirect_uris/0'],
  [
    'that redirects to a fragment',
    { redirect_uris: ['https://a.example/cb', 'https://a.example/cb#x'] },
    '/redirect_uris/1',
  ],
  ['that redirects to a path', { redirect_uris: ['/cb'] }, '/redirect_uris/0'],
  ['that redirects to script', { redirect_uris: ['javascript:alert(1)'] }, '/redirect_uris/0'],
  ['that redirects to a bare scheme', { redirect_uris: ['planner:/cb'] }, '/redirect_uris/0'],
  [
    'that redirects behind userinfo',
    { redirect_uris: ['https://id@a.example/cb'] },
    '/redirect_uris/0',
  ],
]
for (const [why, body, pointer] of REFUSED) {
  test(`an agent ${why} is refused`, async () => {
    assertRefused(await ask(body), 422, 'validation_failed', pointer)
  })
}

test('a grant that is not built is refused by name', async () => {
  assertRefused(
    await ask({ grant_types: [GRANT.tokenExchange, 'client_credentials'] }),
    422,
    'unsupported_value',
    '/grant_types/1',
  )
})

test('an agent may be bound to prove a key with every token request, and set free again (DP-08)', async () => {
  const agent = await enrol({ dpop_bound_access_tokens: true })
  assert.equal(agent.dpop_bound_access_tokens, true)
  const bind = async (dpop_bound_access_tokens: boolean | null) =>
    (await house.admin('PATCH', `/agents/${agent.id}`, { dpop_bound_access_tokens })).body
  assert.equal((await bind(null)).dpop_bound_access_tokens, false)
  assert.equal((await bind(true)).dpop_bound_access_tokens, true)
})

test('redirect URIs are kept as written: https, loopback http, or a private-use scheme', async () => {
  const redirect_uris = [
    'https://planner.example/callback?from=idp',
    'http://127.0.0.1/callback',
    'http://localhost:8123/callback',
    'com.example.planner:/callback',
  ]
  const agent = await enrol({ redirect_uris })
  assert.deepEqual(agent.redirect_uris, redirect_uris)
})

test('an owner must be an active user of the same tenant', async () => {
  const { body: idle } = await house.admin('POST', '/users', {})
  await house.admin('PATCH', `/users/${idle.id}`, { status: 'suspended' })
  assertRefused(await ask({ owner_id: idle.id }), 422, 'owner_inactive', '/owner_id')
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
  assertRefused(await ask({ tenant_id: tenant.id }), 422, 'owner_inactive', '/owner_id')
  const agent = await enrol()
  const answer = await house.admin('PATCH', `/agents/${agent.id}`, { owner_id: idle.id })
  assertRefused(answer, 422, 'owner_inactive', '/owner_id')
})

test('agents are found by owner, environment and status', async () => {
  const { body: other } = await house.admin('POST', '/users', {})
  const { client_secret: _, ...agent } = await enrol({ owner_id: other.id, environment: 'staging' })
  for (const query of [`owner_id=${other.id}`, 'environment=staging']) {
    const { body } = await house.admin('GET', `/agents?${query}&status=active`)
    assert.deepEqual(body.data, [agent])
  }
  const { body } = await house.admin('GET', `/agents?owner_id=${other.id}&status=retired`)
  assert.deepEqual(body, { data: [], next_cursor: null })
})

test('a patch changes what it names, and goes through the same checks', async () => {
  const { client_secret: _, ...agent } = await enrol({ environment: 'staging' })
  const patch = (body: object) => house.admin('PATCH', `/agents/${agent.id}`, body)
  house.wait(1)
  const changed = await patch({
    name: 'Trip planner',
    environment: null,
    redirect_uris: ['https://planner.example/cb'],
    grant_types: [GRANT.tokenExchange],
    id_token_signed_response_alg: 'ES256',
  })
  assert.equal(changed.status, 200, changed.text)
  assert.deepEqual(changed.body, {
    ...agent,
    name: 'Trip planner',
    environment: null,
    redirect_uris: ['https://planner.example/cb'],
    grant_types: [GRANT.tokenExchange],
    id_token_signed_response_alg: 'ES256',
    updated_at: house.clock.now.toISOString(),
  })
  const standard = await patch({ grant_types: null, redirect_uris: null })
  assert.deepEqual(standard.body.grant_types, agent.grant_types)
  assert.deepEqual(standard.body.redirect_uris, [])

  const wrong: [object, string][] = [
    [{ purpose: null }, '/purpose'],
    [{ owner_id: null }, '/owner_id'],
    [{ expires_at: '2020-01-01T00:00:00Z' }, '/expires_at'],
    [{ redirect_uris: ['http://a.example'] }, '/redirect_uris/0'],
    [{ jwks_uri: 'https://a.example/jwks' }, '/jwks_uri'],
    [{ jwks: { keys: [ec] } }, '/jwks'],
    [{ token_endpoint_auth_method: 'none' }, '/token_endpoint_auth_method'],
    [{ status: 'retired' }, '/status'],
    [{ tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA' }, '/tenant_id'],
  ]
  for (const [body, pointer] of wrong) {
    assertRefused(await patch(body), 422, 'validation_failed', pointer)
  }
  assertRefused(await patch({ dpop_bound_access_tokens: 'yes' }), 422, 'validation_failed')
  const events = await db
    .selectFrom('audit_events')
    .select(['detail'])
    .where('agent_id', '=', agent.id)
    .where('type', '=', 'agent.updated')
    .execute()
  assert.equal(events.length, 2)
  assert.doesNotMatch(JSON.stringify(events), /Trip planner/)
})

test('an agent chooses what its ID tokens are signed with, and goes back to RS256 (OP-20)', async () => {
  for (const id_token_signed_response_alg of SIGNING_ALGS) {
    const agent = await enrol({ id_token_signed_response_alg })
    assert.equal(agent.id_token_signed_response_alg, id_token_signed_response_alg)
    const patch = (alg: string | null) =>
      house.admin('PATCH', `/agents/${agent.id}`, { id_token_signed_response_alg: alg })
    const pointer = '/id_token_signed_response_alg'
    assertRefused(await patch('HS256'), 422, 'validation_failed', pointer)
    assert.equal((await patch(null)).body.id_token_signed_response_alg, 'RS256')
    const changed = await patch(id_token_signed_response_alg)
    assert.equal(changed.body.id_token_signed_response_alg, id_token_signed_response_alg)
  }
})

test('two live credentials at the most; ending one makes room, and ending is idempotent', async () => {
  const agent = await enrol(withKeys(ecKey()))
  const path = `/agents/${agent.id}/credentials`
  const second = await house.admin('POST', path, { jwk: { ...ecKey(), kid: 'second' } })
  assert.equal(second.status, 201, second.text)
  assert.equal(second.body.kid, 'second')
  assertRefused(await house.admin('POST', path, { jwk: ecKey() }), 409, 'invalid_transition')

  assert.equal((await house.admin('DELETE', `${path}/${second.body.id}`)).status, 204)
  assert.equal((await house.admin('DELETE', `${path}/${second.body.id}`)).status, 204)
  assert.deepEqual(await credentialsOf(agent.id, '?status=ended'), [
    { ...second.body, status: 'ended', ended_at: house.clock.now.toISOString() },
  ])
  const third = await house.admin('POST', path, { jwk: { ...ecKey(), kid: 'second' } })
  assert.equal(third.status, 201, third.text)
  assert.equal((await credentialsOf(agent.id, '?status=active')).length, 2)
})

test('four calls at once still make two live credentials', async () => {
  const agent = await enrol()
  const answers = await Promise.all(
    [1, 2, 3, 4].map(() => house.admin('POST', `/agents/${agent.id}/credentials`, {})),
  )
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409])
  const made = answers.find(({ status }) => status === 201)
  assert.match(made?.body.client_secret, /^[\w-]{43}$/)
  assert.equal((await credentialsOf(agent.id, '?status=active')).length, 2)
})

test('a credential is of its agent’s kind, and named once', async () => {
  const named = { ...ecKey(), kid: 'a' }
  const keyed = await enrol(withKeys(named))
  const secret = await enrol()
  const remote = await enrol({ ...jwt, jwks_uri: 'https://a.example/jwks.json' })
  const post = (id: string, body: object) => house.admin('POST', `/agents/${id}/credentials`, body)
  assertRefused(await post(keyed.id, {}), 422, 'validation_failed', '/jwk')
  assertRefused(await post(secret.id, { jwk: ec }), 422, 'validation_failed', '/jwk')
  assertRefused(await post(remote.id, { jwk: ec }), 422, 'validation_failed', '/jwk')
  assertRefused(await post(keyed.id, { jwk: privateKey }), 422, 'validation_failed', '/jwk/d')
  assertRefused(
    await post(keyed.id, { jwk: { ...ecKey(), kid: 'a' } }),
    409,
    'already_exists',
    '/jwk/kid',
  )
  assertRefused(await post('agt_unknown', {}), 404, 'not_found')
})

test('a key is an agent’s once: not under another name, and not again after its end', async () => {
  const post = (id: string, jwk: object) =>
    house.admin('POST', `/agents/${id}/credentials`, { jwk })
  for (const key of [ecKey(), publicOf(generateKeyPairSync('rsa', { modulusLength: 2048 }))]) {
    const agent = await enrol(withKeys({ ...key, kid: 'k1' }))
    const [first] = await credentialsOf(agent.id)
    for (const again of [key, { ...key, kid: 'k2' }, { ...key, use: 'sig' }]) {
      const answer = await post(agent.id, again)
      assertRefused(answer, 422, 'validation_failed', '/jwk')
      assert.match(answer.body.detail, /^jwk is a key that this agent has already/)
    }
    assert.equal((await post(agent.id, ecKey())).status, 201)
    await house.admin('DELETE', `/agents/${agent.id}/credentials/${first.id}`)
    for (const again of [key, { ...key, kid: 'k1' }]) {
      const answer = await post(agent.id, again)
      assertRefused(answer, 422, 'validation_failed', '/jwk')
      assert.match(answer.body.detail, /was ended, which is final/)
    }
    assert.equal((await credentialsOf(agent.id)).length, 2)
    // Whose else it is, is not ours to judge.
    const other = await enrol(withKeys(ecKey()))
    assert.equal((await post(other.id, key)).status, 201)
  }
  const twice = ecKey()
  assertRefused(
    await ask(withKeys(twice, { ...twice, kid: 'again' })),
    422,
    'validation_failed',
    '/jwks/keys/1',
  )
})

test('another agent’s credential is not found', async () => {
  const one = await enrol()
  const other = await enrol()
  const [credential] = await credentialsOf(other.id)
  for (const id of [credential.id, 'crd_unknown']) {
    assertRefused(
      await house.admin('DELETE', `/agents/${one.id}/credentials/${id}`),
      404,
      'not_found',
    )
  }
  assertRefused(await house.admin('GET', '/agents/agt_unknown/credentials'), 404, 'not_found')
})

test('keys come from a jwks_uri or are kept here, not both', async () => {
  const agent = await enrol(withKeys(ecKey()))
  const jwks_uri = 'https://planner.example/jwks.json'
  const patch = (body: object) => house.admin('PATCH', `/agents/${agent.id}`, body)
  assertRefused(await patch({ jwks_uri }), 409, 'invalid_transition')
  const [credential] = await credentialsOf(agent.id)
  await house.admin('DELETE', `/agents/${agent.id}/credentials/${credential.id}`)
  assert.equal((await patch({ jwks_uri })).body.jwks_uri, jwks_uri)
})

test('suspend and resume, each twice without harm', async () => {
  const agent = await enrol()
  for (const [verb, status] of [
    ['suspend', 'suspended'],
    ['suspend', 'suspended'],
    ['resume', 'active'],
    ['resume', 'active'],
    ['approve', 'active'],
  ] as const) {
    const answer = await move(agent.id, verb)
    assert.equal(answer.status, 200, answer.text)
    assert.equal(answer.body.status, status)
  }
  await move(agent.id, 'suspend')
  assertRefused(await move(agent.id, 'approve'), 409, 'invalid_transition')
  assertRefused(await move('agt_unknown', 'suspend'), 404, 'not_found')
})

test('retiring is final and ends the credentials', async () => {
  const agent = await enrol()
  const retired = await house.admin('POST', `/agents/${agent.id}/retire`, { reason: 'replaced' })
  assert.equal(retired.status, 200, retired.text)
  assert.equal(retired.body.status, 'retired')
  assert.equal(retired.body.status_reason, 'replaced')
  assert.deepEqual(await credentialsOf(agent.id, '?status=active'), [])
  for (const verb of ['suspend', 'resume', 'approve']) {
    assertRefused(await move(agent.id, verb), 409, 'invalid_transition')
  }
  assert.equal((await move(agent.id, 'retire')).status, 200)
  assertRefused(
    await house.admin('PATCH', `/agents/${agent.id}`, { name: 'x' }),
    409,
    'invalid_transition',
  )
  assertRefused(
    await house.admin('POST', `/agents/${agent.id}/credentials`, {}),
    409,
    'invalid_transition',
  )
})

test('an agent resumes only with an active owner and an end that lies ahead', async () => {
  const { body: other } = await house.admin('POST', '/users', {})
  const soon = new Date(house.clock.now.getTime() + 60_000).toISOString()
  const agent = await enrol({ owner_id: other.id, expires_at: soon })
  await move(agent.id, 'suspend')
  await house.admin('PATCH', `/users/${other.id}`, { status: 'suspended' })
  assertRefused(await move(agent.id, 'resume'), 422, 'owner_inactive')
  await house.admin('PATCH', `/agents/${agent.id}`, { owner_id: owner.id })
  house.wait(60)
  assertRefused(await move(agent.id, 'resume'), 409, 'invalid_transition')
  await house.admin('PATCH', `/agents/${agent.id}`, { expires_at: inAYear() })
  assert.equal((await move(agent.id, 'resume')).status, 200)
})

test('a requested agent is approved once it has an owner, a purpose and an end', async () => {
  const agent = await enrol()
  await db
    .updateTable('agents')
    .set({ status: 'requested', owner_id: null, purpose: null, expires_at: null })
    .where('id', '=', agent.id)
    .execute()
  for (const verb of ['approve', 'suspend', 'resume']) {
    assertRefused(await move(agent.id, verb), 409, 'invalid_transition')
  }
  await house.admin('PATCH', `/agents/${agent.id}`, {
    owner_id: owner.id,
    purpose: 'Books trips',
    expires_at: inAYear(),
  })
  const approved = await move(agent.id, 'approve')
  assert.equal(approved.status, 200, approved.text)
  assert.equal(approved.body.status, 'active')
})

test('a requested agent is retired as it is', async () => {
  const agent = await enrol()
  await db
    .updateTable('agents')
    .set({ status: 'requested', owner_id: null, purpose: null, expires_at: null })
    .where('id', '=', agent.id)
    .execute()
  const retired = await move(agent.id, 'retire')
  assert.equal(retired.status, 200, retired.text)
  assert.equal(retired.body.status, 'retired')
  assert.equal(retired.body.owner_id, null)
  const read = await house.admin('GET', `/agents/${agent.id}`)
  assert.equal(read.body.status, 'retired', read.text)
})

test('an agent says when it was last used', async () => {
  const agent = await enrol()
  for (const seconds of [10, 5]) {
    const at = new Date(house.clock.now.getTime() - seconds * 1000)
    await db
      .insertInto('issuances')
      .values({
        jti: newTimeOrderedId('', at),
        at,
        agent_id: agent.id,
        owner_id: owner.id,
        user_id: owner.id,
        audience_id: 'aud_x',
        delegation_id: 'dlg_x',
        session_id: 'ses_x',
        resources: [],
        scopes: [],
        kid: 'x',
        auth_time: at,
        expires_at: at,
      })
      .execute()
  }
  const { body } = await house.admin('GET', `/agents/${agent.id}`)
  assert.equal(body.last_used_at, new Date(house.clock.now.getTime() - 5000).toISOString())
})
