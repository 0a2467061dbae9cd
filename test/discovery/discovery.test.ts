import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { calculateJwkThumbprint } from 'jose'
import { newId } from '../../src/db/ids.ts'
import { type House, ISSUER, openHouse } from '../support/house.ts'

const METADATA = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']
const JWKS = '/.well-known/jwks.json'
const PROVIDER = '/agent-provider.json'

const get = (house: House, url: string, headers: Record<string, string> = {}) =>
  house.inject({ method: 'GET', url, headers })

test('TV-101: one document at both metadata locations, with all that clients ask for', async (t) => {
  const house = await openHouse(t)
  const [oauth, openid] = await Promise.all(METADATA.map((url) => get(house, url)))
  assert.ok(oauth && openid)
  assert.equal(oauth.text, openid.text)
  const { body } = oauth
  assert.equal(body.issuer, ISSUER)
  assert.equal(body.jwks_uri, `${ISSUER}${JWKS}`)
  const required = [
    'issuer',
    'authorization_endpoint',
    'token_endpoint',
    'jwks_uri',
    'response_types_supported',
    'grant_types_supported',
    'code_challenge_methods_supported',
    'subject_types_supported',
    'id_token_signing_alg_values_supported',
  ]
  for (const name of required) assert.ok(body[name]?.length > 0, name)
  assert.deepEqual(body.code_challenge_methods_supported, ['S256'])
  assert.deepEqual(body.id_token_signing_alg_values_supported, [
    'RS256',
    'ES256',
    'EdDSA',
    'PS256',
    'ES384',
  ])
  const ofClients = ['ES256', 'RS256', 'EdDSA']
  assert.deepEqual(body.token_endpoint_auth_signing_alg_values_supported, ofClients)
  assert.deepEqual(body.dpop_signing_alg_values_supported, ofClients)
  assert.equal(body.authorization_response_iss_parameter_supported, true)
})

test('advertises no more than there is (DS-06, DS-07, DS-11, DS-12)', async (t) => {
  const house = await openHouse(t)
  const { body } = await get(house, METADATA[0] as string)
  for (const value of Object.values(body)) {
    assert.notEqual(value, null)
    if (Array.isArray(value)) assert.ok(value.length > 0)
  }
  assert.deepEqual(body.identity_chaining_requested_token_types_supported, [
    'urn:ietf:params:oauth:token-type:id-jag',
  ])
  assert.equal(body.authorization_grant_profiles_supported, undefined)
  assert.deepEqual(body.grant_types_supported, [
    'authorization_code',
    'refresh_token',
    'urn:ietf:params:oauth:grant-type:token-exchange',
    'client_credentials',
  ])
  for (const scope of ['ssf.read', 'ssf.manage']) assert.ok(body.scopes_supported.includes(scope))
  assert.ok(!body.token_endpoint_auth_signing_alg_values_supported.includes('none'))
  const notBuilt = [
    'introspection_endpoint',
    'pushed_authorization_request_endpoint',
    'device_authorization_endpoint',
    'registration_endpoint',
    'authorization_details_types_supported',
    'agent_auth',
  ]
  for (const name of notBuilt) assert.equal(body[name], undefined, name)
})

test('TV-102: the JWKS is public, named by thumbprint, and has ES256 and RS256, and three more', async (t) => {
  const house = await openHouse(t)
  const { status, body, headers } = await get(house, JWKS)
  assert.equal(status, 200)
  assert.match(String(headers['content-type']), /^application\/json/)
  assert.equal(headers['cache-control'], 'public, max-age=300, stale-if-error=3600')
  const algs = new Set(body.keys.map(({ alg }: { alg: string }) => alg))
  assert.deepEqual([...algs].sort(), ['ES256', 'ES384', 'EdDSA', 'PS256', 'RS256'])
  for (const key of body.keys) {
    assert.equal(key.kid, await calculateJwkThumbprint(key))
    for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k', 'oth']) {
      assert.equal(key[secret], undefined)
    }
    assert.equal(key.use, 'sig')
    if (key.kty === 'RSA') assert.ok(Buffer.from(key.n, 'base64url').length >= 256)
  }
})

test('nothing may be cached for longer than JWKS_CEILING', async (t) => {
  const house = await openHouse(t, { JWKS_CEILING: '60' })
  const { headers } = await get(house, JWKS)
  assert.equal(headers['cache-control'], 'public, max-age=60, stale-if-error=0')
})

test('a key set that nobody could ask about is cached for seconds, until somebody could (DS-24)', async (t) => {
  const house = await openHouse(t)
  const { keys } = house.deps
  const { freshJwks } = keys
  let stale = false
  keys.freshJwks = async () => ({ ...(await freshJwks()), stale })
  const cached = async () => {
    const { text, headers } = await get(house, JWKS)
    assert.equal(text, keys.jwks().body)
    return headers['cache-control']
  }
  assert.equal(await cached(), 'public, max-age=300, stale-if-error=3600')
  stale = true
  assert.equal(await cached(), 'public, max-age=10, stale-if-error=0')
  stale = false
  assert.equal(await cached(), 'public, max-age=300, stale-if-error=3600')
})

test('a key set that nobody may keep any more is not given away: 503 until it can be read', async (t) => {
  const house = await openHouse(t)
  const { keys } = house.deps
  const { freshJwks } = keys
  keys.freshJwks = async () => ({ ...(await freshJwks()), stale: true, expired: true })
  const { status, body, headers } = await get(house, JWKS)
  assert.equal(status, 503)
  assert.equal(body.type, '/problems/unavailable')
  assert.equal(headers['cache-control'], 'no-store')
  assert.equal(headers['retry-after'], '10')
  keys.freshJwks = freshJwks
  assert.equal((await get(house, JWKS)).status, 200)
})

test('an unchanged document answers 304, a rotated key set does not', async (t) => {
  const house = await openHouse(t)
  for (const url of [...METADATA, JWKS, PROVIDER]) {
    const etag = String((await get(house, url)).headers.etag)
    assert.match(etag, /^"[\w-]{43}"$/)
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const answer = await get(house, url, { 'if-none-match': known })
      assert.equal(answer.status, 304)
      assert.equal(answer.text, '')
      assert.equal(answer.headers.etag, etag)
      assert.ok(answer.headers['cache-control'])
      assert.equal(answer.headers['access-control-allow-origin'], '*')
    }
    assert.equal((await get(house, url, { 'if-none-match': '"other"' })).status, 200)
  }
  const { etag } = (await get(house, JWKS)).headers
  house.wait(86_400)
  assert.equal((await house.admin('POST', '/keys/rotate', {})).status, 200)
  const answer = await get(house, JWKS, { 'if-none-match': String(etag) })
  assert.equal(answer.status, 200)
  assert.notEqual(answer.headers.etag, etag)
})

test('any origin may read, also after a preflight, and no cookie is set (DS-03)', async (t) => {
  const house = await openHouse(t)
  const origin = { origin: 'https://inspector.example' }
  for (const url of [...METADATA, JWKS, PROVIDER, `/agents/${newId('agt')}/client.json`]) {
    const answer = await get(house, url, origin)
    assert.equal(answer.headers['access-control-allow-origin'], '*')
    assert.equal(answer.headers['set-cookie'], undefined)
    const preflight = await house.inject({
      method: 'OPTIONS',
      url,
      headers: {
        ...origin,
        'access-control-request-method': 'GET',
        'access-control-request-headers': 'mcp-protocol-version',
      },
    })
    assert.equal(preflight.status, 204)
    assert.equal(preflight.headers['access-control-allow-origin'], '*')
    assert.equal(preflight.headers['access-control-allow-headers'], '*')
  }
})

test('paths of tenants that are not there answer 404', async (t) => {
  const house = await openHouse(t)
  for (const url of [
    ...METADATA.map((path) => `${path}/t/acme`),
    '/t/acme/.well-known/jwks.json',
  ]) {
    assert.equal((await get(house, url)).status, 404)
  }
})

test('the provider document names itself and the key set of the metadata (DS-41, DS-42, DS-48, DS-51)', async (t) => {
  const house = await openHouse(t)
  const { body } = await get(house, PROVIDER)
  const { body: metadata } = await get(house, METADATA[0] as string)
  assert.equal(body.client_id, `${ISSUER}${PROVIDER}`)
  assert.equal(body.jwks_uri, metadata.jwks_uri)
  assert.equal(body.token_endpoint_auth_method, 'private_key_jwt')
  assert.deepEqual(body.grant_types, [
    'urn:ietf:params:oauth:grant-type:token-exchange',
    'urn:ietf:params:oauth:grant-type:jwt-bearer',
  ])
  assert.equal(body.client_secret, undefined)
  assert.ok(body.client_name)
})

const newJwk = () => ({
  ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }),
  kid: 'first',
})

async function enrol(house: House, members: object = {}) {
  const owner = await house.admin('POST', '/users', { email: 'owner@orbit.example' })
  assert.equal(owner.status, 201, owner.text)
  const agent = await house.admin('POST', '/agents', {
    name: 'Travel <agent>',
    purpose: 'Books journeys',
    owner_id: owner.body.id,
    expires_at: new Date(house.clock.now.getTime() + 3_600_000).toISOString(),
    token_endpoint_auth_method: 'private_key_jwt',
    ...members,
  })
  assert.equal(agent.status, 201, agent.text)
  return { id: agent.body.id as string, owner: owner.body.id as string }
}

test("an agent's document shows its public keys and nothing secret (DS-50)", async (t) => {
  const house = await openHouse(t)
  const jwk = newJwk()
  const { id } = await enrol(house, { jwks: { keys: [jwk] } })
  const url = `/agents/${id}/client.json`
  const { status, body, headers } = await get(house, url)
  assert.equal(status, 200)
  assert.equal(headers['cache-control'], 'public, max-age=60')
  assert.equal(body.client_id, `${ISSUER}${url}`)
  assert.equal(body.client_name, 'Travel <agent>')
  assert.equal(body.token_endpoint_auth_method, 'private_key_jwt')
  assert.equal(body.jwks_uri, undefined)
  assert.equal(body.jwks.keys.length, 1)
  const [shown] = body.jwks.keys
  assert.deepEqual([shown.kty, shown.crv, shown.x, shown.y], ['EC', 'P-256', jwk.x, jwk.y])
  for (const secret of ['owner', 'owner_id', 'purpose', 'client_secret', 'tenant_id']) {
    assert.equal(body[secret], undefined)
  }
  const again = await get(house, url, { 'if-none-match': String(headers.etag) })
  assert.equal(again.status, 304)
})

test('an agent with a jwks_uri of its own is shown with that', async (t) => {
  const house = await openHouse(t)
  const { id } = await enrol(house, { jwks_uri: 'https://agent.example/jwks.json' })
  const { body } = await get(house, `/agents/${id}/client.json`)
  assert.equal(body.jwks_uri, 'https://agent.example/jwks.json')
  assert.equal(body.jwks, undefined)
})

test('whoever may not act now has no document: suspended, retired, ended, without an owner', async (t) => {
  const house = await openHouse(t)
  const { id, owner } = await enrol(house, { jwks: { keys: [newJwk()] } })
  const url = `/agents/${id}/client.json`
  const status = async () => (await get(house, url)).status
  const set = (table: 'agents' | 'users' | 'tenants', change: object, row?: string) =>
    house.deps.db
      .updateTable(table)
      .set(change)
      .$if(row !== undefined, (query) => query.where('id', '=', row as string))
      .execute()

  assert.equal(await status(), 200)
  for (const word of ['suspended', 'requested', 'retired'] as const) {
    await set('agents', { status: word }, id)
    const { status: code, headers, body } = await get(house, url)
    assert.equal(code, 404)
    assert.equal(headers['cache-control'], 'no-store')
    assert.equal(body.type, '/problems/not_found')
  }
  await set('agents', { status: 'active' }, id)
  assert.equal(await status(), 200)
  await set('users', { status: 'suspended' }, owner)
  assert.equal(await status(), 404)
  await set('users', { status: 'active' }, owner)
  await set('tenants', { status: 'suspended' })
  assert.equal(await status(), 404)
  await set('tenants', { status: 'active' })
  await set('agents', { grant_types: ['authorization_code'] }, id)
  assert.equal(await status(), 404)
  await set('agents', { grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'] }, id)
  assert.equal(await status(), 200)
  house.wait(3_600)
  assert.equal(await status(), 404)
})

test('agents with a secret, ended keys, and ids that nobody has answer the same 404', async (t) => {
  const house = await openHouse(t)
  const secret = await enrol(house, { token_endpoint_auth_method: 'client_secret_basic' })
  const answers = await Promise.all(
    [secret.id, newId('agt'), 'agt_x', '%00', "'", `${newId('agt')}%0A`].map((id) =>
      get(house, `/agents/${id}/client.json`),
    ),
  )
  for (const answer of answers) {
    assert.equal(answer.status, 404)
    assert.equal(answer.text, answers[0]?.text)
  }
  // Longer than any id: no route is found at all.
  assert.equal((await get(house, `/agents/${'x'.repeat(150)}/client.json`)).status, 404)
})

test('what anyone may read is answered to another method with those it has', async (t) => {
  const house = await openHouse(t)
  const open = ['jwks.json', 'ssf-configuration', 'openid-configuration'].map(
    (name) => [`/.well-known/${name}`, 'GET, HEAD, OPTIONS'] as const,
  )
  for (const [url, allow] of [
    ...open,
    ['/agent-provider.json', 'GET, HEAD, OPTIONS'],
    [`/agents/agt_${'x'.repeat(22)}/client.json`, 'GET, HEAD, OPTIONS'],
    ['/openapi.json', 'GET, HEAD'],
    ['/docs', 'GET, HEAD'],
    ['/problems/not_found', 'GET, HEAD'],
    ['/livez', 'GET, HEAD'],
    ['/readyz', 'GET, HEAD'],
  ] as const) {
    const answer = await house.inject({ method: 'POST', url, payload: { any: 'body' } })
    assert.equal(`${url} ${answer.status}`, `${url} 405`)
    assert.equal(answer.headers.allow, allow, url)
    assert.equal(answer.body.type, '/problems/method_not_allowed')
  }
  const { adminApiKey } = house.config
  const headers = { authorization: `Bearer ${adminApiKey}` }
  const metrics = await house.inject({ method: 'POST', url: '/metrics', headers })
  assert.deepEqual([metrics.status, metrics.headers.allow], [405, 'GET, HEAD'])
})
