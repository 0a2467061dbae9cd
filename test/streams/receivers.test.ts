import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import type { KeyPurpose } from '../../src/db/tables.ts'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { authorize, browser, signIn } from '../support/browser.ts'
import { enrolAgent, enrolUser, events, redeem } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'
import { openReceiver } from './receiver.ts'

const house = await openHouse({ after }, { DELEGATE_TOKENS: 'on' })
const basic = (id: string, secret: string) => ({
  authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
})
const ask = (fields: object, headers = {}) =>
  house.form('/oauth2/token', { grant_type: 'client_credentials', ...fields }, headers)

test('a receiver is enrolled, listed and ended by an administrator; its secret shows once', async () => {
  const made = await house.admin('POST', '/ssf-receivers', {
    name: 'Paperclip',
    audience: 'https://auth.paperclip.example/signals',
  })
  assert.equal(made.status, 201, made.text)
  assert.match(made.body.id, /^rcv_[A-Za-z0-9_-]{22}$/)
  assert.equal(made.body.client_id, made.body.id)
  assert.deepEqual(made.body.scopes, ['ssf.read', 'ssf.manage'])
  assert.ok(made.body.client_secret.length >= 40)
  const { client_secret, ...shown } = made.body
  const read = await house.admin('GET', `/ssf-receivers/${made.body.id}`)
  assert.deepEqual(read.body, shown)
  const { body: list } = await house.admin('GET', '/ssf-receivers?status=active')
  assert.deepEqual(list.data[0], shown)
  for (let time = 1; time <= 2; time += 1) {
    assert.equal((await house.admin('DELETE', `/ssf-receivers/${shown.id}`)).status, 204)
  }
  const { body: ended } = await house.admin('GET', `/ssf-receivers/${shown.id}`)
  assert.equal(ended.status, 'ended')
  assert.equal((await events(house, 'ssf_receiver.ended')).length, 1)
  assert.equal((await house.admin('DELETE', '/ssf-receivers/rcv_unknown')).status, 404)
  assert.equal((await house.admin('GET', '/ssf-receivers/rcv_unknown')).status, 404)
  assert.ok(!JSON.stringify(house.logs).includes(client_secret))
})

test('a receiver is refused that lacks a name, an audience or a tenant', async () => {
  for (const [body, pointer] of [
    [{ name: 'x', audience: 'nowhere' }, '/audience'],
    [{ name: 'x', audience: 'https://a.example/#b' }, '/audience'],
    [{ name: 'x', audience: 'https://u:p@a.example/' }, '/audience'],
    [{ name: 'x', audience: 'https://@a.example/' }, '/audience'],
    [{ name: 'x', audience: house.config.issuer }, '/audience'],
    [{ name: 'x', audience: `${house.config.issuer}/` }, '/audience'],
    [{ name: 'x', audience: `${house.config.issuer}/ssf` }, '/audience'],
    [{ name: 'x', audience: 'https://a.example', tenant_id: 'ten_unknown' }, '/tenant_id'],
    [{ name: 'x', audience: 'https://a.example', scopes: [] }, '/scopes'],
    [{ name: 'x', audience: 'https://a.example', scopes: ['openid'] }, '/scopes/0'],
    [{ audience: 'https://a.example' }, '/name'],
  ] as const) {
    const refused = await house.admin('POST', '/ssf-receivers', body)
    assert.equal(refused.status, 422, refused.text)
    assert.equal(refused.body.errors[0].pointer, pointer)
  }
})

test('the same call again makes no second receiver, and shows no secret', async () => {
  const body = { name: 'once', audience: 'https://once.example/' }
  const key = { 'idempotency-key': 'one-receiver' }
  const first = await house.admin('POST', '/ssf-receivers', body, key)
  const second = await house.admin('POST', '/ssf-receivers', body, key)
  assert.equal(second.body.id, first.body.id)
  assert.equal(second.body.client_secret, undefined)
})

test('its secret gets an access token for these endpoints, by header or in the form', async () => {
  const { client_id, client_secret, call, metadata } = await openReceiver(house)
  for (const answer of [
    await ask({}, basic(client_id, client_secret)),
    await ask({ client_id, client_secret, scope: 'ssf.manage ssf.read' }),
  ]) {
    assert.equal(answer.status, 200, answer.text)
    assert.equal(answer.headers['cache-control'], 'no-store')
    const { access_token, ...others } = answer.body
    assert.deepEqual(others, {
      token_type: 'Bearer',
      expires_in: 600,
      scope: 'ssf.read ssf.manage',
    })
    const read = await call(
      'GET',
      metadata.configuration_endpoint as string,
      undefined,
      access_token,
    )
    assert.deepEqual([read.status, read.body], [200, []])
  }
})

test('while keys keep changing it gets none; one that changed once signs it anew (DS-26)', async (t) => {
  const { client_id, client_secret } = await openReceiver(house)
  const { keys } = house.deps
  const { stillSign } = keys
  t.after(() => Object.assign(keys, { stillSign }))
  keys.stillSign = async () => false
  const late = await ask({ client_id, client_secret })
  assert.deepEqual([late.status, late.body.error], [503, 'temporarily_unavailable'])
  assert.equal(late.headers['retry-after'], '1')
  let asked = 0
  keys.stillSign = async (db, kids) => ++asked > 1 && stillSign(db, kids)
  assert.equal((await ask({ client_id, client_secret })).status, 200)
  assert.equal(asked, 2)
})

test('a scope is granted as far as the receiver may have it', async () => {
  const reader = await openReceiver(house, { scopes: ['ssf.read'] })
  const { client_id, client_secret } = reader
  const of = { client_id, client_secret }
  assert.equal((await ask({ ...of, scope: 'ssf.manage ssf.read openid' })).body.scope, 'ssf.read')
  for (const scope of ['ssf.manage', 'openid', 'a  b']) {
    const refused = await ask({ ...of, scope })
    assert.deepEqual([refused.status, refused.body.error], [400, 'invalid_scope'])
  }
})

test('a wrong secret, no secret, and a receiver that has ended get nothing', async () => {
  const { client_id, client_secret } = await openReceiver(house)
  for (const fields of [
    { client_id, client_secret: `${client_secret}x` },
    { client_id },
    { client_id: `rcv_${'x'.repeat(22)}`, client_secret },
  ]) {
    const refused = await ask(fields)
    assert.deepEqual([refused.status, refused.body.error], [401, 'invalid_client'], refused.text)
  }
  const challenged = await ask({}, basic(client_id, 'wrong'))
  assert.match(String(challenged.headers['www-authenticate']), /^Basic/)
  await house.admin('DELETE', `/ssf-receivers/${client_id}`)
  assert.equal((await ask({ client_id, client_secret })).status, 401)
})

test('an agent has no such grant, and a receiver no other', async () => {
  const agent = await enrolAgent(house)
  const { client_id, client_secret } = agent
  const refused = await ask({ client_id, client_secret, scope: 'ssf.read' })
  assert.deepEqual([refused.status, refused.body.error], [400, 'unauthorized_client'])
  const wrong = await ask({ client_id, client_secret: 'wrong', scope: 'ssf.read' })
  assert.deepEqual([wrong.status, wrong.body.error], [401, 'invalid_client'])
  const receiver = await openReceiver(house)
  const exchange = {
    requested_token_type: TOKEN_TYPE.idJag,
    audience: 'https://app.example',
    subject_token: 'x',
    subject_token_type: TOKEN_TYPE.idToken,
  }
  for (const grant_type of Object.values(GRANT)) {
    const of = { client_id: receiver.client_id, client_secret: receiver.client_secret }
    const answer = await house.form('/oauth2/token', {
      ...{ ...of, ...exchange, grant_type },
      code: 'x',
      refresh_token: 'x',
    })
    assert.deepEqual([answer.status, answer.body.error], [400, 'unauthorized_client'])
    assert.match(answer.body.error_description, /client_credentials/)
    const unproved = { ...of, ...exchange, grant_type, client_secret: 'wrong' }
    const other = await house.form('/oauth2/token', unproved)
    assert.deepEqual([other.status, other.body.error], [401, 'invalid_client'])
  }
})

test('its token opens nothing else, and no other token opens its doors (SE-10)', async () => {
  const receiver = await openReceiver(house)
  const token = await receiver.token()
  const url = receiver.metadata.configuration_endpoint as string
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  for (const [method, door, payload] of [
    ['GET', '/oauth2/userinfo'],
    ['GET', '/grants'],
    ['POST', '/id-jag', { audience: 'https://chat.example' }],
    ['GET', '/admin/v1/ssf-receivers'],
    ['GET', '/metrics'],
  ] as const) {
    const request = { method, url: door, headers, ...(payload && { payload }) }
    const refused = await house.inject(request)
    assert.equal(refused.status, 401, `${door}: ${refused.text}`)
  }
  const agent = await enrolAgent(house)
  const there = browser(house)
  await signIn(there, await enrolUser(house))
  const { body: tokens } = await redeem(house, agent, await authorize(there, agent))
  for (const other of [tokens.access_token, tokens.id_token, 'nonsense', 'a.b.c']) {
    const refused = await receiver.call('GET', url, undefined, other)
    assert.equal(refused.status, 401)
    assert.equal(refused.body.err, 'invalid_token')
    assert.match(String(refused.headers['www-authenticate']), /^Bearer .*error="invalid_token"/)
  }
})

test('a token for its doors by a key of ours is none with one thing wrong (SE-10, RFC 9068 §4)', async () => {
  const receiver = await openReceiver(house)
  const url = receiver.metadata.configuration_endpoint as string
  const now = Math.floor(house.clock.now.getTime() / 1000)
  const claims = decodeJwt(await receiver.token()) as Record<string, unknown>
  const status = async (changes: object, typ = 'at+jwt', purpose: KeyPurpose = 'id_token') => {
    const { jws } = await house.deps.keys.sign(purpose, 'ES256', typ, { ...claims, ...changes })
    return (await receiver.call('GET', url, undefined, jws)).status
  }
  assert.equal(await status({}), 200)
  for (const changes of [
    { iss: 'https://other.example' },
    { aud: house.config.issuer },
    { aud: `${house.config.issuer}/ssf/stream` },
    { exp: now },
    { iat: now + 6 },
    { sub: (await openReceiver(house)).client_id },
    { sub: 'agt_1', client_id: 'agt_1' },
    { client_id: undefined },
  ]) {
    assert.equal(await status(changes), 401, JSON.stringify(changes))
  }
  assert.equal(await status({}, 'JWT'), 401)
  assert.equal(await status({}, 'secevent+jwt'), 401)
  assert.equal(await status({}, 'at+jwt', 'id_jag'), 401)
})

test('without a token one is told how to ask; with the wrong scope, what it lacks (RFC 6750)', async () => {
  const receiver = await openReceiver(house)
  const bare = await house.inject({ method: 'GET', url: '/ssf/stream' })
  assert.equal(bare.status, 401)
  assert.equal(bare.headers['www-authenticate'], 'Bearer realm="agent-idp"')
  const reading = await receiver.token('ssf.read')
  const refused = await receiver.call('POST', `${house.config.issuer}/ssf/stream`, {}, reading)
  assert.deepEqual([refused.status, refused.body.err], [403, 'insufficient_scope'])
  assert.match(String(refused.headers['www-authenticate']), /scope="ssf.manage"/)
  const managing = await receiver.token('ssf.manage')
  assert.equal(
    (await receiver.call('GET', `${house.config.issuer}/ssf/stream`, undefined, managing)).status,
    200,
  )
})

test('a token stops at once with its receiver, and by itself after ten minutes', async () => {
  const url = `${house.config.issuer}/ssf/stream`
  const ended = await openReceiver(house)
  const late = await openReceiver(house)
  const tokens = await Promise.all([ended.token(), late.token()])
  const status = async (at: 0 | 1) => (await late.call('GET', url, undefined, tokens[at])).status
  assert.deepEqual([await status(0), await status(1)], [200, 200])
  await house.admin('DELETE', `/ssf-receivers/${ended.client_id}`)
  assert.equal(await status(0), 401)
  house.wait(599)
  assert.equal(await status(1), 200)
  house.wait(1)
  assert.equal(await status(1), 401)
})

test('while its tenant is suspended a receiver may read, and change nothing, with an older token either (EV-35)', async () => {
  const tenant = (await house.admin('POST', '/tenants', { name: 'Elsewhere' })).body.id
  const move = (status: string) => house.admin('PATCH', `/tenants/${tenant}`, { status })
  const all = await openReceiver(house, { tenant_id: tenant })
  const managing = await openReceiver(house, { tenant_id: tenant, scopes: ['ssf.manage'] })
  const { configuration_endpoint: url = '', verification_endpoint: verify = '' } = all.metadata
  const { stream_id } = (await all.create()).body
  const older = await all.token()
  await move('suspended')
  for (const token of [older, await all.token()]) {
    assert.equal((await all.call('GET', url, undefined, token)).status, 200)
    for (const [method, to, body] of [
      ['POST', url, { events_requested: [] }],
      ['PATCH', url, { stream_id }],
      ['DELETE', `${url}?stream_id=${stream_id}`],
      ['POST', verify, { stream_id }],
    ] as const) {
      const refused = await all.call(method, to, body, token)
      assert.deepEqual([refused.status, refused.body.err], [403, 'insufficient_scope'], method)
    }
  }
  const refused = await all.call('DELETE', `${url}?stream_id=${stream_id}`, undefined, older)
  assert.match(refused.body.description, /suspended/)
  for (const { token } of [all, managing]) {
    assert.equal(decodeJwt(await token()).scope, 'ssf.read')
    assert.equal(decodeJwt(await token('ssf.manage ssf.read')).scope, 'ssf.read')
    await assert.rejects(token('ssf.manage'), /invalid_scope/)
  }
  const reading = await managing.token()
  await move('active')
  assert.equal((await all.call('POST', verify, { stream_id }, older)).status, 204)
  assert.equal((await managing.call('GET', url, undefined, reading)).status, 200)
  assert.equal((await managing.call('POST', url, {}, reading)).status, 403)
})

test('its requests count, and too many of them wait (CA-07)', async () => {
  const { client_id, client_secret, call, token } = await openReceiver(house)
  const before = await token()
  const { tally } = house.deps
  const taken: string[] = []
  const take = tally.take
  tally.take = (budget, key) => {
    taken.push(`${budget.name} ${key}`)
    return key === client_id ? { retryAfter: 7, first: true } : undefined
  }
  try {
    const refused = await ask({ client_id, client_secret })
    assert.deepEqual([refused.status, refused.headers['retry-after']], [429, '7'])
    const url = `${house.config.issuer}/ssf/stream`
    const late = await call('GET', url, undefined, before)
    assert.deepEqual([late.status, late.headers['retry-after']], [429, '7'])
    assert.equal(late.body.err, 'too_many_requests')
    assert.ok(taken.includes(`client-requests ${client_id}`))
  } finally {
    tally.take = take
  }
})

test('a user is no receiver', async () => {
  const user = await enrolUser(house)
  const refused = await ask({ client_id: user.id, client_secret: user.password })
  assert.equal(refused.body.error, 'invalid_client')
})
