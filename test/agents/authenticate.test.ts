import assert from 'node:assert/strict'
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  KeyObject,
  randomUUID,
  sign,
} from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, type TestContext, test } from 'node:test'
import { exportJWK, type JWK, SignJWT } from 'jose'
import { CLIENT_ASSERTION_TYPE, GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { type Answer, type Form, openHouse } from '../support/house.ts'
import { assertOAuthError, assertRefusal } from '../support/refusals.ts'
import { clientAssertion, newAgent, type StoryAgent, tellStory } from '../support/story.ts'

const house = await openHouse({ after }, { RATE_LIMITS: 'off' })
const { issuer } = house.config
const story = await tellStory(house)
await story.delegate()
const { agent, owner } = story

const SECRET_METHODS = ['client_secret_basic', 'client_secret_post'] as const

/** A request that says nothing right but who sends it: `invalid_grant` once that is believed. */
const ask = (fields: Form, headers?: Record<string, string>): Promise<Answer> =>
  house.form(
    '/oauth2/token',
    { grant_type: GRANT.refreshToken, refresh_token: 'unknown', ...fields },
    headers,
  )

async function assertBelieved(answer: Promise<Answer>): Promise<void> {
  assertOAuthError(await answer, 400, 'invalid_grant')
}

async function assertNotBelieved(
  request: () => Promise<Answer>,
  reason: string | null = 'bad_credentials',
): Promise<Answer> {
  // Of what fails before its sender is known, one a second is certain to be written down.
  house.wait(1)
  return assertRefusal(house, request, [401, 'invalid_client', reason])
}

const byAssertion = (client_assertion: string): Form => ({
  client_assertion_type: CLIENT_ASSERTION_TYPE,
  client_assertion,
})

const basic = (id: string, secret: string) => ({
  authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
})

const inSeconds = (seconds: number) => Math.floor(house.clock.now.getTime() / 1000) + seconds

async function act(method: string, path: string, body?: unknown) {
  const answer = await house.admin(method, path, body)
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.text}`)
  return answer.body
}

// Secrets.

for (const token_endpoint_auth_method of SECRET_METHODS) {
  const enrol = () => newAgent(house, owner, { token_endpoint_auth_method })

  test(`${token_endpoint_auth_method}: the secret works in the body and in the header`, async () => {
    const { client_id, client_secret = '' } = await enrol()
    await assertBelieved(ask({ client_id, client_secret }))
    await assertBelieved(ask({}, basic(client_id, client_secret)))
    await assertBelieved(ask({ client_id }, basic(client_id, client_secret)))
  })

  test(`${token_endpoint_auth_method}: a wrong one is refused, with a challenge where the header was used (TV-64, CA-02)`, async () => {
    const { client_id, client_secret = '' } = await enrol()
    for (const wrong of ['wrong', `${client_secret}x`, client_secret.slice(1), client_id]) {
      const inBody = await assertNotBelieved(() => ask({ client_id, client_secret: wrong }))
      assert.equal(inBody.headers['www-authenticate'], undefined)
      const inHeader = await assertNotBelieved(() => ask({}, basic(client_id, wrong)))
      assert.match(String(inHeader.headers['www-authenticate']), /^Basic realm="[^"]+"$/)
    }
    await assertNotBelieved(() => ask({}, basic(client_id, '')))
    await assertNotBelieved(() => ask({ client_id }))
  })

  test(`${token_endpoint_auth_method}: of two live secrets both work, an ended one no more`, async () => {
    const { id, client_id, client_secret: first, credential_id } = await enrol()
    const { client_secret: second } = await act('POST', `/agents/${id}/credentials`, {})
    await assertBelieved(ask({ client_id, client_secret: first }))
    await assertBelieved(ask({ client_id, client_secret: second }))
    await act('DELETE', `/agents/${id}/credentials/${credential_id}`)
    await assertNotBelieved(() => ask({ client_id, client_secret: first }))
    await assertBelieved(ask({ client_id, client_secret: second }))
  })
}

test('id and secret are form-urlencoded within the header (RFC 6749 §2.3.1)', async () => {
  const secret = await newAgent(house, owner, { token_endpoint_auth_method: 'client_secret_basic' })
  const { client_id, client_secret = '' } = secret
  const encoded = (text: string) =>
    [...text].map((letter) => `%${letter.charCodeAt(0).toString(16).padStart(2, '0')}`).join('')
  await assertBelieved(ask({}, basic(encoded(client_id), encoded(client_secret))))
  await assertBelieved(ask({}, basic(encoded(client_id).toUpperCase(), client_secret)))
  // A plus sign is a space there, and no part of any secret.
  await assertNotBelieved(() => ask({}, basic(client_id, `${client_secret}+`)))
})

for (const authorization of [
  'Basic',
  'Basic ',
  'Basic !!!',
  'Basic ====',
  `Basic ${Buffer.from('no colon').toString('base64')}`,
  `Basic ${Buffer.from(':secret').toString('base64')}`,
  `Basic ${Buffer.from('agt_x:%zz').toString('base64')}`,
  `Basic ${Buffer.from('agt_x:%ff').toString('base64')}`,
  'Bearer token',
  'DPoP token',
  'Digest username="x"',
]) {
  test(`the header ${authorization} is a failed authentication (CA-02)`, async () => {
    const answer = await assertNotBelieved(() => ask({}, { authorization }), null)
    assert.match(String(answer.headers['www-authenticate']), /^Basic realm="[^"]+"$/)
  })
}

test('one client may not come as another: the header and client_id must agree', async () => {
  const { client_id, client_secret = '' } = await newAgent(house, owner, {
    token_endpoint_auth_method: 'client_secret_basic',
  })
  await assertRefusal(
    house,
    () => ask({ client_id: agent.client_id }, basic(client_id, client_secret)),
    [400, 'invalid_request', null],
  )
})

test('a request that does not say who sends it is refused', async () => {
  await assertNotBelieved(() => ask({}), null)
  await assertNotBelieved(() => ask({ client_secret: 'secret' }), null)
})

test('an unknown client is refused as a wrong secret is', async () => {
  const answer = await assertNotBelieved(
    () => ask({ client_id: 'agt_unknown', client_secret: 'x' }),
    'unknown_client',
  )
  const wrong = await newAgent(house, owner, { token_endpoint_auth_method: 'client_secret_post' })
  const { text } = await assertNotBelieved(() => ask({ ...wrong, client_secret: 'x' } as Form))
  assert.equal(answer.text, text)
})

// One method at a time, and the client's own.

test('refuses two methods at once (TV-65, CA-01)', async () => {
  const { client_id, client_secret = '' } = await newAgent(house, owner, {
    token_endpoint_auth_method: 'client_secret_basic',
  })
  const header = basic(client_id, client_secret)
  const assertion = byAssertion(await clientAssertion(house, agent))
  for (const request of [
    () => ask({ client_id, client_secret }, header),
    () => ask({ client_id, client_secret, ...assertion }),
    () => ask(assertion, header),
    () => ask({ client_assertion: assertion.client_assertion }),
    () => ask({ client_assertion_type: CLIENT_ASSERTION_TYPE, client_id }),
  ]) {
    await assertRefusal(house, request, [400, 'invalid_request', null])
  }
  // None of that spent the assertion.
  await assertBelieved(ask(assertion))
})

test('a client proves itself by its own method alone', async () => {
  const secret = await newAgent(house, owner, { token_endpoint_auth_method: 'client_secret_post' })
  const open = await newAgent(house, owner, { token_endpoint_auth_method: 'none' })
  await assertBelieved(ask({ client_id: open.client_id }))
  await assertNotBelieved(() => ask({ client_id: agent.client_id }))
  await assertNotBelieved(() => ask({ client_id: agent.client_id, client_secret: 'x' }))
  await assertNotBelieved(() => ask({ client_id: open.client_id, client_secret: 'x' }))
  const keyed = { ...agent, client_id: secret.client_id }
  const assertion = await clientAssertion(house, keyed)
  await assertNotBelieved(() => ask(byAssertion(assertion)))
})

// Client assertions (private_key_jwt): each of them has one thing wrong, or nothing.

/** An assertion signed by hand, for what a library would not sign. */
async function forged(header: object, signer: (input: string) => string): Promise<string> {
  const [, payload] = (await clientAssertion(house, agent)).split('.')
  const input = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${payload}`
  return `${input}.${signer(input)}`
}
const hmac = (key: string | Buffer) => (input: string) =>
  createHmac('sha256', key).update(input).digest('base64url')

/** As ES256 has it, whatever the header says. */
const byTheKey = (input: string) =>
  sign('sha256', Buffer.from(input), {
    key: KeyObject.from(agent.privateKey as never),
    dsaEncoding: 'ieee-p1363',
  }).toString('base64url')

const GOOD: [string, () => Promise<string>][] = [
  ['aud is the issuer', () => clientAssertion(house, agent)],
  ['aud is a list of the issuer alone', () => clientAssertion(house, agent, { aud: [issuer] })],
  ['typ says client assertion (CA-05)', () => typed('client-authentication+jwt')],
  ['typ says JWT', () => typed('JWT')],
  ['it ends in ten minutes', () => clientAssertion(house, agent, { exp: inSeconds(600) })],
  ['it ended within the skew', () => clientAssertion(house, agent, { exp: inSeconds(-59) })],
  ['iat is within the skew', () => clientAssertion(house, agent, { iat: inSeconds(60) })],
  ['there is no iat', () => clientAssertion(house, agent, { iat: undefined })],
  ['it was signed by hand', () => forged({ alg: 'ES256', kid: agent.jwk?.kid }, byTheKey)],
  ['there is no kid', () => clientAssertion(house, agent, { header: { kid: undefined } })],
]
for (const [what, make] of GOOD) {
  test(`believes a client assertion: ${what} (CA-03)`, async () => {
    await assertBelieved(ask(byAssertion(await make())))
  })
}

const typed = (typ: string) => clientAssertion(house, agent, { header: { typ } })
const stranger = await newAgent(house, owner)

const BAD: [string, () => Promise<string>][] = [
  [
    'aud has two values (TV-66)',
    () => clientAssertion(house, agent, { aud: [issuer, 'https://other.example'] }),
  ],
  ['aud is the issuer twice', () => clientAssertion(house, agent, { aud: [issuer, issuer] })],
  [
    'aud is the token endpoint (TV-66, CA-04)',
    () => clientAssertion(house, agent, { aud: `${issuer}/oauth2/token` }),
  ],
  ['aud has a slash more', () => clientAssertion(house, agent, { aud: `${issuer}/` })],
  ['aud is another server', () => clientAssertion(house, agent, { aud: 'https://other.example' })],
  ['aud is an empty list', () => clientAssertion(house, agent, { aud: [] })],
  ['there is no aud', () => clientAssertion(house, agent, { aud: undefined })],
  ['it ends in an hour (TV-66)', () => clientAssertion(house, agent, { exp: inSeconds(3600) })],
  ['it ends too late', () => clientAssertion(house, agent, { exp: inSeconds(661) })],
  ['it has ended', () => clientAssertion(house, agent, { exp: inSeconds(-60) })],
  ['it has no end', () => clientAssertion(house, agent, { exp: undefined })],
  ['its end is text', () => clientAssertion(house, agent, { exp: `${inSeconds(60)}` as never })],
  ['it is of the future', () => clientAssertion(house, agent, { iat: inSeconds(62) })],
  ['it is not to be used yet', () => clientAssertion(house, agent, { nbf: inSeconds(62) })],
  ['there is no jti', () => clientAssertion(house, agent, { jti: undefined })],
  ['jti is empty', () => clientAssertion(house, agent, { jti: '' })],
  ['jti is a number', () => clientAssertion(house, agent, { jti: 7 as never })],
  ['jti is endless', () => clientAssertion(house, agent, { jti: 'x'.repeat(513) })],
  ['iss is another than sub', () => clientAssertion(house, agent, { iss: stranger.client_id })],
  ['there is no iss', () => clientAssertion(house, agent, { iss: undefined })],
  ['another client signed it', () => clientAssertion(house, { ...stranger, client_id: agent.id })],
  [
    'another client signed it under this kid',
    () => clientAssertion(house, { ...stranger, client_id: agent.id, jwk: agent.jwk }),
  ],
  ['the kid is unknown', () => clientAssertion(house, agent, { header: { kid: 'unknown' } })],
  ['the kid is no text', () => clientAssertion(house, agent, { header: { kid: 7 as never } })],
  ['typ is that of an access token (CA-05)', () => typed('at+jwt')],
  ['typ is that of an ID-JAG (CA-05)', () => typed('oauth-id-jag+jwt')],
  ['typ is that of a DPoP proof (CA-05)', () => typed('dpop+jwt')],
  ['typ is that of a security event (CA-05)', () => typed('secevent+jwt')],
  ['typ is that of a logout token (CA-05)', () => typed('logout+jwt')],
  ['typ is of nothing', () => typed('')],
  [
    'HS256 with the public key as JSON (TV-66)',
    () => forged({ alg: 'HS256', kid: agent.jwk?.kid }, hmac(JSON.stringify(agent.jwk))),
  ],
  [
    'HS256 with the public key as PEM (TV-66)',
    () => {
      const pem = createPublicKey({ key: agent.jwk as never, format: 'jwk' })
      const secret = pem.export({ type: 'spki', format: 'pem' })
      return forged({ alg: 'HS256', kid: agent.jwk?.kid }, hmac(secret))
    },
  ],
  ['alg none without a signature', () => forged({ alg: 'none', kid: agent.jwk?.kid }, () => '')],
  ...['none', 'RS256', 'ES384', 'EdDSA', 'HS256', ''].map(
    (alg): [string, () => Promise<string>] => [
      `the right signature, under the alg ${alg || 'empty'}`,
      () => forged({ alg, kid: agent.jwk?.kid }, byTheKey),
    ],
  ),
  ['alg None', () => forged({ alg: 'None' }, () => '')],
  ['ES256 without a signature', () => forged({ alg: 'ES256', kid: agent.jwk?.kid }, () => '')],
  [
    'ES256 with a signature of zeros (CVE-2022-21449)',
    () =>
      forged({ alg: 'ES256', kid: agent.jwk?.kid }, () => Buffer.alloc(64).toString('base64url')),
  ],
  [
    'a key of its own in the header',
    async () => {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const jwk = await exportJWK(publicKey)
      const attacker = { ...agent, privateKey: privateKey as never, jwk: undefined as never }
      return clientAssertion(house, attacker, { header: { jwk, kid: undefined } })
    },
  ],
]
for (const [what, make] of BAD) {
  test(`refuses a client assertion: ${what}`, async () => {
    const answer = await assertNotBelieved(async () => ask(byAssertion(await make())))
    assert.equal(answer.headers['www-authenticate'], undefined)
  })
}

test('refuses a client assertion signed by HMAC with the secret (TV-66)', async () => {
  const { client_id, client_secret = '' } = await newAgent(house, owner, {
    token_endpoint_auth_method: 'client_secret_post',
  })
  const [, payload] = (await clientAssertion(house, { ...agent, client_id })).split('.')
  const input = `${Buffer.from('{"alg":"HS256"}').toString('base64url')}.${payload}`
  await assertNotBelieved(() => ask(byAssertion(`${input}.${hmac(client_secret)(input)}`)))
})

test('refuses what is no JWT at all, or of another type, or for another client', async () => {
  const good = await clientAssertion(house, agent)
  for (const fields of [
    byAssertion('nonsense'),
    byAssertion(`${good}.`),
    byAssertion(` ${good}`),
    byAssertion(good.slice(0, good.lastIndexOf('.'))),
    byAssertion(`${good}=`),
    byAssertion(await clientAssertion(house, agent, { sub: undefined })),
    { ...byAssertion(good), client_assertion_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer' },
    { ...byAssertion(good), client_id: stranger.client_id },
  ]) {
    await assertNotBelieved(() => ask(fields), null)
  }
  await assertBelieved(ask({ ...byAssertion(good), client_id: agent.client_id }))
})

// Replay.

test('a client assertion is good for once (TV-66, CA-03)', async () => {
  const assertion = byAssertion(await clientAssertion(house, agent))
  assert.equal((await story.exchange(assertion)).status, 200)
  await assertNotBelieved(() => story.exchange(assertion), 'replayed_assertion')
  await assertNotBelieved(() => ask(assertion), 'replayed_assertion')
})

for (const [what, fault] of [
  ['an unknown audience', { audience: 'https://unknown.example' }],
  ['a bad subject token', { subject_token: 'nonsense' }],
  ['a scope that nobody grants', { scope: 'admin' }],
  ['a lack of consent', { scope: 'docs.write' }],
] as [string, Form][]) {
  test(`a request refused for ${what} has spent its client assertion (rule 6)`, async () => {
    const assertion = byAssertion(await clientAssertion(house, agent))
    assert.equal((await story.exchange({ ...fault, ...assertion })).status, 400)
    await assertNotBelieved(() => story.exchange(assertion), 'replayed_assertion')
  })
}

test('a suspended agent has spent its client assertion too (rule 6)', async () => {
  const { agent: suspended } = await tellStory(house)
  await act('POST', `/agents/${suspended.id}/suspend`, {})
  const assertion = byAssertion(await clientAssertion(house, suspended))
  assertOAuthError(await ask(assertion), 400, 'unauthorized_client')
  await assertNotBelieved(() => ask(assertion), 'replayed_assertion')
})

test('what was spent at one grant is spent at every grant, and ends nothing there', async () => {
  const { refresh_token } = await story.signIn()
  const assertion = byAssertion(await clientAssertion(house, agent))
  assert.equal((await story.exchange(assertion)).status, 200)
  await assertNotBelieved(() => ask({ ...assertion, refresh_token }), 'replayed_assertion')
  const code = { grant_type: GRANT.authorizationCode, code: 'x', redirect_uri: agent.redirect_uri }
  await assertNotBelieved(() => ask({ ...code, ...assertion }), 'replayed_assertion')

  const another = byAssertion(await clientAssertion(house, agent))
  await assertBelieved(ask({ ...code, ...another }))
  await assertNotBelieved(() => story.exchange(another), 'replayed_assertion')
  const subject = { subject_token: refresh_token, subject_token_type: TOKEN_TYPE.refreshToken }
  assert.equal((await story.exchange(subject)).status, 200)
})

test('of one client assertion presented many times at once, one is believed', async () => {
  const assertion = byAssertion(await clientAssertion(house, agent))
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, at) => (at % 2 ? ask(assertion) : story.exchange(assertion))),
  )
  assert.equal(answers.filter(({ status }) => status !== 401).length, 1)
})

test('two clients may use the same jti', async () => {
  const jti = randomUUID()
  await assertBelieved(ask(byAssertion(await clientAssertion(house, agent, { jti }))))
  await assertBelieved(ask(byAssertion(await clientAssertion(house, stranger, { jti }))))
})

test('an assertion is remembered until its end and the skew are over', async () => {
  const assertion = byAssertion(await clientAssertion(house, agent))
  await assertBelieved(ask(assertion))
  house.wait(120 + 59)
  await assertNotBelieved(() => ask(assertion), 'bad_credentials')
})

// Keys of other kinds, and more than one of them.

type Pair = { privateKey: KeyObject; publicKey: KeyObject }
const PAIRS: Record<string, () => Pair> = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: () => generateKeyPairSync('ed25519'),
}

async function keyOf(alg: string, kid: string | undefined = randomUUID()) {
  const { privateKey, publicKey } = (PAIRS[alg] as () => Pair)()
  const jwk: JWK = { ...(await exportJWK(publicKey)), ...(kid && { kid }) }
  return { alg, privateKey, jwk }
}
type Key = Awaited<ReturnType<typeof keyOf>>

function assertionBy({ client_id }: StoryAgent, { alg, privateKey, jwk }: Key, header = {}) {
  return new SignJWT({ jti: randomUUID() })
    .setProtectedHeader({ alg, kid: jwk.kid as string, ...header })
    .setIssuer(client_id)
    .setSubject(client_id)
    .setAudience(issuer)
    .setExpirationTime(inSeconds(60))
    .sign(privateKey)
}

for (const alg of ['RS256', 'EdDSA']) {
  test(`an agent may have an ${alg} key (CA-03)`, async () => {
    const key = await keyOf(alg)
    const keyed = await newAgent(house, owner, { jwks: { keys: [key.jwk] } })
    await assertBelieved(ask(byAssertion(await assertionBy(keyed, key))))
    await assertBelieved(ask(byAssertion(await assertionBy(keyed, key, { kid: undefined }))))
    const wrong = await keyOf(alg, key.jwk.kid)
    await assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, wrong))))
  })
}

test('an RSA key verifies RS256 alone, whatever the token says', async () => {
  const key = await keyOf('RS256')
  const keyed = await newAgent(house, owner, { jwks: { keys: [key.jwk] } })
  for (const alg of ['PS256', 'RS384', 'RS512']) {
    const other = {
      ...key,
      alg,
      privateKey: createPrivateKey(key.privateKey.export({ type: 'pkcs8', format: 'pem' })),
    }
    await assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, other))))
  }
})

test('of two live keys both work, an ended one no more', async () => {
  const [first, second] = [await keyOf('ES256'), await keyOf('ES256')]
  const keyed = await newAgent(house, owner, { jwks: { keys: [first.jwk] } })
  await act('POST', `/agents/${keyed.id}/credentials`, { jwk: second.jwk })
  await assertBelieved(ask(byAssertion(await assertionBy(keyed, first))))
  await assertBelieved(ask(byAssertion(await assertionBy(keyed, second))))
  await act('DELETE', `/agents/${keyed.id}/credentials/${keyed.credential_id}`)
  await assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, first))))
  await assertBelieved(ask(byAssertion(await assertionBy(keyed, second))))
})

for (const algs of [
  ['ES256', 'RS256'],
  ['ES256', 'EdDSA'],
  ['ES256', 'ES256'],
] as const) {
  test(`without a kid, live keys of ${algs.join(' and ')} both work`, async () => {
    const keys = [await keyOf(algs[0]), await keyOf(algs[1])]
    const keyed = await newAgent(house, owner, { jwks: { keys: keys.map(({ jwk }) => jwk) } })
    for (const key of keys) {
      await assertBelieved(ask(byAssertion(await assertionBy(keyed, key, { kid: undefined }))))
    }
    const unknown = await keyOf(algs[0])
    await assertNotBelieved(async () =>
      ask(byAssertion(await assertionBy(keyed, unknown, { kid: undefined }))),
    )
  })
}

test('a key registered without a kid is known by its thumbprint, or without one', async () => {
  const key = await keyOf('ES256', '')
  const keyed = await newAgent(house, owner, { jwks: { keys: [key.jwk] } })
  const { data } = await act('GET', `/agents/${keyed.id}/credentials`)
  const { kid } = data[0]
  await assertBelieved(ask(byAssertion(await assertionBy(keyed, key, { kid }))))
  await assertBelieved(ask(byAssertion(await assertionBy(keyed, key, { kid: undefined }))))
})

// Keys that the agent publishes at its jwks_uri.

/** A server of the agent's own; `answer` may be changed while it runs. */
async function publisher(t: TestContext, keys: JWK[]) {
  const site = {
    url: '',
    asked: 0,
    status: 200,
    headers: {} as Record<string, string>,
    body: JSON.stringify({ keys }),
    publish: (published: JWK[]) => {
      site.body = JSON.stringify({ keys: published })
    },
  }
  const server = createServer((_request, response) => {
    site.asked += 1
    response.writeHead(site.status, { 'content-type': 'application/json', ...site.headers })
    response.end(site.body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => new Promise((done) => server.close(done)))
  site.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/${randomUUID()}`
  return site
}

/** `jwks` is what newAgent would register otherwise. */
const publishing = (jwks_uri: string) => newAgent(house, owner, { jwks: undefined, jwks_uri })

test('an agent may publish its keys: they are fetched once and used', async (t: TestContext) => {
  const [es, ed] = [await keyOf('ES256'), await keyOf('EdDSA')]
  const site = await publisher(t, [es.jwk, ed.jwk])
  const keyed = await publishing(site.url)
  await Promise.all(
    [es, ed, es, ed].map(async (key) =>
      assertBelieved(ask(byAssertion(await assertionBy(keyed, key)))),
    ),
  )
  assert.equal(site.asked, 1)
  const wrong = await keyOf('ES256', es.jwk.kid)
  await assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, wrong))))
  await assertNotBelieved(() => ask({ client_id: keyed.client_id }))
})

test('an unknown kid has the published keys fetched anew, at most every thirty seconds', async (t: TestContext) => {
  const [first, second] = [await keyOf('ES256'), await keyOf('ES256')]
  const site = await publisher(t, [first.jwk])
  const keyed = await publishing(site.url)
  await assertBelieved(ask(byAssertion(await assertionBy(keyed, first))))
  site.publish([second.jwk])
  house.wait(28)
  await assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, second))))
  assert.equal(site.asked, 1)
  house.wait(1)
  await assertBelieved(ask(byAssertion(await assertionBy(keyed, second))))
  assert.equal(site.asked, 2)
  await assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, first))))
  assert.equal(site.asked, 2)
})

test('a published key that was withdrawn is refused once the document is read again', async (t: TestContext) => {
  const [first, second] = [await keyOf('ES256'), await keyOf('ES256')]
  const site = await publisher(t, [first.jwk])
  const keyed = await publishing(site.url)
  await assertBelieved(ask(byAssertion(await assertionBy(keyed, first))))
  site.publish([second.jwk])
  house.wait(300)
  await assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, first))))
  assert.equal(site.asked, 2)
})

test('without its published keys an agent is not authenticated, until they are there again', async (t: TestContext) => {
  const key = await keyOf('ES256')
  const site = await publisher(t, [key.jwk])
  const keyed = await publishing(site.url)
  const refused = () =>
    assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, key))))
  for (const fault of [
    { status: 500 },
    { status: 404 },
    { status: 302, headers: { location: site.url } },
    { status: 200, headers: {}, body: '{' },
    { body: '[]' },
    { body: '{"keys":{}}' },
    { body: '{"keys":[1,null,{"kty":"EC"}]}' },
    { body: JSON.stringify({ keys: [], padding: 'x'.repeat(256 * 1024) }) },
  ]) {
    Object.assign(site, fault)
    const { asked } = site
    await refused()
    await refused()
    assert.equal(site.asked, asked + 1, 'a failure is remembered for a while')
    house.wait(30)
  }
  site.publish([key.jwk])
  await assertBelieved(ask(byAssertion(await assertionBy(keyed, key))))
})

test('an agent whose server is down is not authenticated', async (t: TestContext) => {
  const key = await keyOf('ES256')
  const site = await publisher(t, [key.jwk])
  const port = new URL(site.url).port
  const keyed = await publishing(site.url.replace(port, '1'))
  await assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, key))))
})

test('a published key that is private or symmetric is no key', async (t: TestContext) => {
  const key = await keyOf('ES256')
  const secret = { kty: 'oct', k: Buffer.from('secret').toString('base64url'), kid: 'sym' }
  const jwk = { ...(await exportJWK(key.privateKey)), kid: key.jwk.kid as string }
  const site = await publisher(t, [jwk, secret])
  const keyed = await publishing(site.url)
  await assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, key))))
  const [, payload] = (await assertionBy(keyed, key)).split('.')
  const input = `${Buffer.from('{"alg":"HS256","kid":"sym"}').toString('base64url')}.${payload}`
  await assertNotBelieved(() => ask(byAssertion(`${input}.${hmac('secret')(input)}`)))
})

for (const url of [
  'https://10.0.0.1/jwks.json',
  'https://169.254.169.254/jwks.json',
  'https://[::ffff:192.168.0.1]/jwks.json',
  'https://[fd00::1]/jwks.json',
]) {
  test(`keys are not fetched from ${url} (DR-31)`, async () => {
    const key = await keyOf('ES256')
    const keyed = await publishing('https://keys.example/jwks.json')
    // Refused at registration by now; one of before may have it.
    await house.deps.db
      .updateTable('agents')
      .set({ jwks_uri: url })
      .where('id', '=', keyed.id)
      .execute()
    house.logs.length = 0
    await assertNotBelieved(async () => ask(byAssertion(await assertionBy(keyed, key))))
    assert.ok(
      house.logs.some((line) => line.includes('no address that may be called')),
      `${house.logs}`,
    )
  })
}

test('an agent that publishes its keys is held to its own subject tokens like any other', async (t: TestContext) => {
  const key = await keyOf('RS256')
  const site = await publisher(t, [key.jwk])
  const keyed = await publishing(site.url)
  const other = { ...keyed, privateKey: key.privateKey as never, jwk: key.jwk }
  const answer = await house.form('/oauth2/token', {
    grant_type: GRANT.tokenExchange,
    requested_token_type: TOKEN_TYPE.idJag,
    audience: story.audience.issuer,
    subject_token: (await story.signIn()).id_token,
    subject_token_type: TOKEN_TYPE.idToken,
    ...byAssertion(await assertionBy(other, key)),
  })
  assertOAuthError(answer, 400, 'invalid_grant')
})
