import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { openPrivateKey } from '../../src/keys/private-key-envelope.ts'
import { CLIENT_ASSERTION_TYPE, GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { authorize, browser, PASSWORD, signIn } from '../support/browser.ts'
import { ADMIN_KEY, openHouse } from '../support/house.ts'
import { pushDue } from '../support/push-due.ts'
import { clientAssertion, newAgent, tellStory } from '../support/story.ts'

// A whole story at LOG_LEVEL=trace, with every kind of thing going wrong in it. Each secret is written down
// when it is used, and at the end looked for by value.

const NAME = 'Kimberley Unmistakable'
const WORDS = 'because Kimberley lost her laptop'
const house = await openHouse({ after }, { LOG_LEVEL: 'trace' })
const secrets: [what: string, value: string][] = []
/** What only rows may not hold. */
const personal = new Map<string, string>()

const keep = <Value extends string | undefined>(what: string, value: Value): Value => {
  assert.ok(value && value.length >= 20, `${what} is too short to be looked for: ${value}`)
  secrets.push([what, value])
  return value
}
/** A JWS also in parts: neither its claims nor its signature may stand anywhere alone. */
function keepJws(what: string, jws: string): string {
  const [, payload = '', signature = ''] = jws.split('.')
  keep(`payload of ${what}`, payload)
  keep(`signature of ${what}`, signature)
  return keep(what, jws)
}

async function tellAll(): Promise<void> {
  const story = await tellStory(house, {
    user: { name: NAME, phone_number: '+33612345678', phone_number_verified: true },
    audience: { claims: ['email', 'phone', 'name'] },
  })
  const { agent, user } = story
  personal.set('name', NAME)
  personal.set('address', user.email)
  personal.set('phone number', '+33612345678')
  personal.set('words of an administrator', WORDS)
  keep('admin key', ADMIN_KEY)
  keep('password', PASSWORD)
  for (const key of house.config.keyEncryptionKeys ?? []) {
    keep('key encryption key', key.toString('base64'))
    keep('key encryption key, hexadecimal', key.toString('hex'))
  }
  await keepSigningKeys()

  // Signing in, rightly and wrongly.
  const visitor = browser(house)
  for (const password of ['a password of somebody', `${PASSWORD} nearly`]) {
    await signIn(visitor, { email: user.email, password: keep(`wrong ${password}`, password) })
  }
  const nobody = 'nobody-at-all@orbit.example'
  personal.set('address nobody has', nobody)
  await signIn(visitor, { email: nobody })
  await signIn(visitor, user)
  const cookie = keep('session cookie', visitor.cookies.get('session')) as string

  // A code, used rightly, wrongly, and twice.
  const code = await authorize(visitor, agent, { scope: 'openid email profile offline_access' })
  keep('code', code.code)
  keep('code verifier', code.code_verifier)
  const authenticated = async () => ({
    client_assertion_type: CLIENT_ASSERTION_TYPE,
    client_assertion: keepJws('client assertion', await clientAssertion(house, agent)),
  })
  const ask = async (fields: Record<string, string>) =>
    house.form('/oauth2/token', { ...(await authenticated()), ...fields })
  const redeem = (code_verifier: string) =>
    ask({ grant_type: GRANT.authorizationCode, ...code, code_verifier })
  await redeem(keep('wrong code verifier', 'w'.repeat(43)))
  const { body: tokens } = await redeem(code.code_verifier)
  keepJws('ID token', tokens.id_token)
  keepJws('access token', tokens.access_token)
  keep('refresh token', tokens.refresh_token)
  const refresh = (refresh_token: string) => ask({ grant_type: GRANT.refreshToken, refresh_token })
  const { body: refreshed } = await refresh(tokens.refresh_token)
  keep('second refresh token', refreshed.refresh_token)
  keepJws('second ID token', refreshed.id_token)

  // The exchange, granted and refused.
  const exchange = (fields: Record<string, string> = {}) =>
    ask({
      grant_type: GRANT.tokenExchange,
      requested_token_type: TOKEN_TYPE.idJag,
      audience: story.audience.issuer,
      scope: 'docs.read',
      subject_token: refreshed.id_token,
      subject_token_type: TOKEN_TYPE.idToken,
      ...fields,
    })
  const asked = await exchange()
  assert.equal(asked.body.error, 'interaction_required')
  await visitor.get(new URL(asked.body.interaction_uri).pathname)
  await story.delegate()
  const granted = await exchange()
  keepJws('ID-JAG', granted.body.access_token)
  for (const fields of [
    { subject_token: `${refreshed.id_token}x` },
    { subject_token: tokens.access_token },
    { subject_token: refreshed.id_token, subject_token_type: 'nonsense' },
    { scope: 'admin' },
    { audience: `https://${'x'.repeat(20)}.example/?token=${refreshed.refresh_token}` },
    { client_secret: keep('secret beside an assertion', 'secret-beside-an-assertion') },
    { client_assertion: `${(await authenticated()).client_assertion}x` },
    { actor_token: keep('actor token', 'eyJhY3RvciI6InRva2VuIn0.e30.c2ln') },
  ] as Record<string, string>[]) {
    assert.ok((await exchange(fields)).status >= 400)
  }
  const dpop = keep('DPoP proof', 'eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.cHJvb2Y')
  await house.form('/oauth2/token', { grant_type: GRANT.tokenExchange }, { dpop })

  // A client with a secret, by body and by header, rightly and wrongly.
  const other = await newAgent(house, story.owner, {
    token_endpoint_auth_method: 'client_secret_basic',
  })
  const secret = keep('client secret', other.client_secret) as string
  const byHeader = Buffer.from(`${other.client_id}:${secret}`).toString('base64')
  keep('basic credential', byHeader)
  const body = { grant_type: GRANT.refreshToken, refresh_token: refreshed.refresh_token }
  await house.form('/oauth2/token', body, { authorization: `Basic ${byHeader}` })
  await house.form('/oauth2/token', body, { authorization: `Basic ${byHeader}!` })
  await house.form('/oauth2/token', { ...body, client_id: other.client_id, client_secret: secret })
  const wrong = keep('wrong client secret', 'a-wrong-client-secret-0123456789')
  await house.form('/oauth2/token', { ...body, client_id: other.client_id, client_secret: wrong })

  // Tokens where they do not belong: in addresses, and at the other doors.
  for (const url of [
    `/oauth2/token?access_token=${tokens.access_token}&client_secret=${secret}`,
    `/oauth2/authorize?id_token_hint=${refreshed.id_token}&client_id=${agent.client_id}`,
    `/oauth2/logout?id_token_hint=${tokens.access_token}`,
    `/sign-in?return_to=/${tokens.refresh_token}`,
    `/admin/v1/users?cursor=${tokens.refresh_token}`,
  ]) {
    for (const authorization of [`Bearer ${ADMIN_KEY}`, `Bearer ${tokens.access_token}`]) {
      await house.inject({ method: 'GET', url, headers: { authorization, cookie } })
    }
  }
  await house.inject({
    method: 'GET',
    url: '/oauth2/userinfo',
    headers: { authorization: `Bearer ${tokens.access_token}` },
  })

  // Administrators: malformed bodies with secrets in them, and a private key sent by mistake.
  const typo = keep('password in a malformed body', 'password-in-a-malformed-body')
  await house.inject({
    method: 'POST',
    url: '/admin/v1/users',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    payload: `{"password": "${typo}",}`,
  })
  await house.admin('POST', '/users', { password: typo, email: 7 })
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = privateKey.export({ format: 'jwk' })
  keep('private key of an agent', jwk.d as string)
  const refused = await house.admin('POST', `/agents/${agent.id}/credentials`, { jwk })
  assert.equal(refused.status, 422)
  const made = await house.admin('POST', '/admin-keys', {
    name: 'reader',
    scopes: ['users:read'],
    expires_at: new Date(house.clock.now.getTime() + 3_600_000).toISOString(),
  })
  const key = keep('second admin key', made.body.key) as string
  const reader = { authorization: `Bearer ${key}` }
  await house.inject({ method: 'GET', url: '/admin/v1/agents', headers: reader })
  await house.admin('POST', `/agents/${other.id}/suspend`, { reason: WORDS })

  // A receiver of Shared Signals, its token, and the header that it wants to see with each event.
  const { body: receiver } = await house.admin('POST', '/ssf-receivers', {
    name: 'x',
    audience: 'https://receiver.example/',
  })
  const { client_id, client_secret } = receiver
  keep('secret of a receiver', client_secret)
  const grant = { grant_type: 'client_credentials', client_id }
  await house.form('/oauth2/token', { ...grant, client_secret: `${client_secret}x` })
  const { body: received } = await house.form('/oauth2/token', { ...grant, client_secret })
  keepJws('access token of a receiver', received.access_token)
  const call = (url: string, payload: object) =>
    house.inject({
      method: 'POST',
      url,
      headers: {
        authorization: `Bearer ${received.access_token}`,
        'content-type': 'application/json',
      },
      payload: JSON.stringify(payload),
    })
  const delivery = {
    method: 'urn:ietf:rfc:8935',
    endpoint_url: 'http://127.0.0.1:1/events',
    authorization_header: keep('header of a receiver', 'Bearer header-of-a-receiver-0123456789'),
  }
  await call('/ssf/stream', { delivery, events_requested: 7 })
  const stream = (await call('/ssf/stream', { delivery })).body
  const { stream_id } = stream
  assert.equal((await call('/ssf/verify', { stream_id, state: 'x' })).status, 204)
  const subject = { format: 'email', email: user.email }
  assert.equal((await call('/ssf/subjects/add', { stream_id, subject })).status, 200)
  await pushDue(house.deps)

  // The database fails in the middle of it, and says what it was given.
  await sql`alter table issuances add constraint odd check (kid = 'nonsense') not valid`.execute(
    house.deps.db,
  )
  assert.equal((await exchange()).status, 500)
  await sql`alter table issuances drop constraint odd`.execute(house.deps.db)
  await sql`alter table users add constraint odd check (phone_number <> '+33687654321') not valid`.execute(
    house.deps.db,
  )
  const phone = { phone_number: '+33687654321' }
  personal.set('another phone number', phone.phone_number)
  assert.equal((await house.admin('PATCH', `/users/${user.id}`, phone)).status, 500)
  await sql`alter table users drop constraint odd`.execute(house.deps.db)
  for (const table of ['issuances', 'refresh_tokens', 'audit_events', 'authorization_codes']) {
    await sql`alter table ${sql.table(table)} rename to away`.execute(house.deps.db)
    await exchange()
    await refresh(refreshed.refresh_token)
    await redeem(code.code_verifier)
    await exchange({ scope: 'admin' })
    await signIn(browser(house), { email: user.email, password: typo })
    await sql`alter table away rename to ${sql.table(table)}`.execute(house.deps.db)
  }

  // And the ends: reuse, revocation, sign-out.
  await refresh(tokens.refresh_token)
  await redeem(code.code_verifier)
  await ask({ grant_type: GRANT.refreshToken, refresh_token: refreshed.refresh_token })
  await house.form('/oauth2/revoke', {
    ...(await authenticated()),
    token: refreshed.refresh_token,
  })
  const page = await visitor.get('/oauth2/logout')
  const csrf = keep('anti-forgery token', /name="csrf" value="([^"]+)"/.exec(page.text)?.[1])
  await visitor.post('/oauth2/logout', { csrf: `${csrf}x` })
  await visitor.post('/oauth2/logout', { csrf })
  await house.admin('POST', '/revocations', { user_id: user.id, reason: WORDS })
  await house.admin('PATCH', `/users/${user.id}`, { status: 'deleted' })
}

/** Every member of the private keys that signed, and what is kept of them. */
async function keepSigningKeys(): Promise<void> {
  const keks = house.config.keyEncryptionKeys ?? []
  const rows = await house.deps.db.selectFrom('signing_keys').selectAll().execute()
  for (const row of rows) {
    const { d, p, q, dp, dq, qi } = openPrivateKey(keks, row, row.private_key as string).export({
      format: 'jwk',
    })
    for (const [name, value] of Object.entries({ d, p, q, dp, dq, qi })) {
      if (value) keep(`${name} of ${row.purpose} ${row.alg} ${row.status}`, value)
    }
    keep(`kept key of ${row.purpose} ${row.alg} ${row.status}`, row.private_key as string)
  }
}

await tellAll()

test('the log tells the whole story, errors included', () => {
  const lines = house.logs.map((line) => JSON.parse(line))
  assert.ok(lines.filter(({ msg }) => msg === 'request').length > 60)
  const failed = lines.filter(({ level }) => level >= 50)
  assert.ok(failed.length >= 5, `${failed.length} errors`)
  assert.ok(
    failed.some(({ err }) => err?.code === '23514'),
    'the broken constraint',
  )
})

test('nothing secret is in the log, whole or in part, plain or encoded', () => {
  assert.ok(secrets.length > 100, `${secrets.length} secrets`)
  const log = house.logs.join('\n')
  for (const [what, value] of secrets) {
    for (const form of [
      value,
      encodeURIComponent(value),
      JSON.stringify(value).slice(1, -1),
      Buffer.from(value).toString('base64').replace(/=+$/, '').slice(0, -2),
      Buffer.from(value).toString('hex'),
    ]) {
      assert.ok(!log.includes(form), `${what} is in the log`)
    }
  }
})

test('no address, name or phone number is in the log', () => {
  const log = house.logs.join('\n')
  for (const [what, value] of personal) {
    assert.ok(!log.includes(value), `${what} is in the log`)
  }
})

for (const table of ['issuances', 'audit_events'] as const) {
  test(`${table} hold no secret, address, name or free text`, async () => {
    const { rows } = await sql<{ line: string }>`
      select r::text as line from ${sql.table(table)} r`.execute(house.deps.db)
    assert.ok(rows.length > 0)
    const text = rows.map(({ line }) => line).join('\n')
    for (const [what, value] of [...secrets, ...personal]) {
      assert.ok(!text.includes(value), `${what} is in ${table}`)
    }
  })
}

test('no secret is kept where it could be read: only hashes, and keys encrypted', async () => {
  const { rows } = await sql<{ name: string }>`
    select table_name as name from information_schema.tables
    where table_schema = current_schema() and table_type = 'BASE TABLE'`.execute(house.deps.db)
  assert.ok(rows.length > 20)
  for (const { name } of rows) {
    const { rows: kept } = await sql<{ line: string }>`
      select r::text as line from ${sql.table(name)} r`.execute(house.deps.db)
    const text = kept.map(({ line }) => line).join('\n')
    for (const [what, value] of secrets) {
      if (what.startsWith('kept key')) continue
      assert.ok(!text.includes(value), `${what} is in ${name}`)
      const bytes = Buffer.from(value).toString('hex')
      assert.ok(!text.includes(bytes), `${what} is in ${name}, as bytes`)
    }
  }
})
