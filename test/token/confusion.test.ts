import assert from 'node:assert/strict'
import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { after, test } from 'node:test'
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose'
import { keepSchedule } from '../../src/keys/keep-schedule.ts'
import { CLIENT_ASSERTION_TYPE, GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { authorize, authorizeUrl, redirected } from '../support/browser.ts'
import { openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import { clientAssertion, clientAuthentication, newAgent, tellStory } from '../support/story.ts'

// A token of one kind is never taken for one of another (TV-60, TX-23, RFC 8725 §3.11): every kind there
// is, ours and others', at every place where we verify one.

const DAY = 86_400
const house = await openHouse({ after }, { SESSION_LIFETIME: String(10 * DAY) })
const { keys } = house.deps
const { issuer } = house.config
const story = await tellStory(house, { agent: { id_token_signed_response_alg: 'ES256' } })
await story.delegate()
const tokens = await story.signIn()
const claims = decodeJwt(tokens.id_token) as Record<string, unknown>
const [MARKER] = Object.keys(claims).filter((name) => /grant/.test(name)) as [string]
const stranger = await newAgent(house, story.owner)
const elsewhere = await tellStory(house)

const now = () => Math.floor(house.clock.now.getTime() / 1000)

/** What an ID token says, by a key of ours, with whatever is odd about it. */
async function signed(
  changes: Record<string, unknown> = {},
  { purpose = 'id_token', alg = 'ES256', typ = 'JWT' }: Partial<Signing> = {},
): Promise<string> {
  return (await keys.sign(purpose, alg, typ, { ...claims, ...changes })).jws
}
type Signing = { purpose: 'id_token' | 'id_jag' | 'seal'; alg: 'ES256' | 'RS256'; typ: string }

async function bySomebodyElse(header: object = {}, changes: object = {}): Promise<string> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return new SignJWT({ ...claims, ...changes })
    .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: 'theirs', ...header })
    .sign(privateKey)
}

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const { kid } = decodeProtectedHeader(tokens.id_token) as { kid: string }
const [head, body, signature] = tokens.id_token.split('.') as [string, string, string]
const jwks = JSON.parse(keys.jwks().body).keys as { kid: string }[]
const publicKey = createPublicKey({
  key: jwks.find((jwk) => jwk.kid === kid) as never,
  format: 'jwk',
})
const pem = publicKey.export({ type: 'spki', format: 'pem' })

/** Everything that is no ID token at all, or none of ours. */
const OTHERS: [string, () => Promise<string>][] = [
  ['an access token of ours', async () => tokens.access_token],
  ['an ID-JAG of ours', async () => (await story.exchange()).body.access_token],
  ['the seal of our log', () => signed({}, { purpose: 'seal', typ: 'audit-seal+jwt' })],
  ['a client assertion', () => clientAssertion(house, story.agent)],
  ['a service assertion', async () => 'reg_2fUJb5gSSSuB1zZz4ZkqVA'],
  ['a refresh token', async () => tokens.refresh_token],
  ...[
    'at+jwt',
    'AT+JWT',
    'oauth-id-jag+jwt',
    'secevent+jwt',
    'logout+jwt',
    'dpop+jwt',
    'client-authentication+jwt',
    'application/at+jwt',
    'JOSE',
    '',
  ].map((typ): [string, () => Promise<string>] => [
    `the claims and key of an ID token with typ ${typ || 'empty'}`,
    () => signed({}, { typ }),
  ]),
  ['an ID token by a key for ID-JAGs', () => signed({}, { purpose: 'id_jag' })],
  [
    'an ID token by an RS256 key for ID-JAGs',
    () => signed({}, { purpose: 'id_jag', alg: 'RS256' }),
  ],
  ['an ID token by a key for seals', () => signed({}, { purpose: 'seal' })],
  ['an ID token of another issuer', () => bySomebodyElse({}, { iss: 'https://other.example' })],
  ['an ID token by the key of somebody else', () => bySomebodyElse()],
  ['an ID token by the key of somebody else, under our kid', () => bySomebodyElse({ kid })],
  ['an ID token without a kid', () => bySomebodyElse({ kid: undefined })],
  [
    'an ID token by the key of the agent itself',
    () =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: story.agent.jwk?.kid as string })
        .sign(story.agent.privateKey as never),
  ],
  [
    'an ID token with a key of its own in the header',
    async () => {
      const { privateKey, publicKey: own } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      return new SignJWT(claims)
        .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid, jwk: own.export({ format: 'jwk' }) })
        .sign(privateKey)
    },
  ],
  ['an ID token with alg none', async () => `${part({ alg: 'none', typ: 'JWT' })}.${body}.`],
  [
    'an ID token with alg none and our kid and signature',
    async () => `${part({ alg: 'none', typ: 'JWT', kid })}.${body}.${signature}`,
  ],
  [
    'an ID token by HMAC with our public key',
    async () => {
      const input = `${part({ alg: 'HS256', typ: 'JWT', kid })}.${body}`
      return `${input}.${createHmac('sha256', pem).update(input).digest('base64url')}`
    },
  ],
  [
    'an ID token whose header names a key of another purpose',
    async () => {
      const other = (await keys.sign('id_jag', 'ES256', 'JWT', {})).kid
      return `${part({ alg: 'ES256', typ: 'JWT', kid: other })}.${body}.${signature}`
    },
  ],
  [
    'an ID token with claims changed after it was signed',
    async () => `${head}.${part({ ...claims, amr: ['hwk'] })}.${signature}`,
  ],
  ['an ID token without its signature', async () => `${head}.${body}.`],
  ['an ID token with its signature cut', async () => tokens.id_token.slice(0, -2)],
  ['an ID token with a part more', async () => `${tokens.id_token}.${signature}`],
  ['an ID token with a critical header', () => bySomebodyElse({ crit: ['b64'], b64: true })],
  ['an ID token in JSON serialisation', async () => part({ payload: body, signatures: [] })],
  ['an ID token of another issuer by our key', () => signed({ iss: 'https://other.example' })],
  ['an ID token of us with a slash', () => signed({ iss: `${issuer}/` })],
  ['an ID token without an issuer', () => signed({ iss: undefined })],
  ['an ID token without its marker', () => signed({ [MARKER]: undefined })],
  ['an ID token whose marker is no text', () => signed({ [MARKER]: 7 })],
]

/** ID tokens of ours, and yet not one that this client may exchange. */
const NOT_HERE: [string, string, () => Promise<string>][] = [
  ['another client', 'wrong_subject_audience', () => signed({ aud: stranger.client_id })],
  ['nobody', 'wrong_subject_audience', () => signed({ aud: undefined })],
  ['this provider', 'wrong_subject_audience', () => signed({ aud: issuer })],
  [
    'two clients',
    'wrong_subject_audience',
    () => signed({ aud: [story.agent.id, stranger.client_id] }),
  ],
  [
    'two clients, with the other as its party',
    'wrong_subject_audience',
    () => signed({ aud: [story.agent.id, stranger.client_id], azp: stranger.client_id }),
  ],
  [
    'other clients, with this one as their party',
    'wrong_subject_audience',
    () => signed({ aud: [stranger.client_id], azp: story.agent.id }),
  ],
  ['another user', 'bad_subject_token', () => signed({ sub: elsewhere.user.id })],
  ['nobody in particular', 'bad_subject_token', () => signed({ sub: undefined })],
  ['another session', 'bad_subject_token', () => signed({ sid: 'ses_unknown' })],
  ['no session', 'bad_subject_token', () => signed({ sid: undefined })],
  ['a grant that never was', 'bad_subject_token', () => signed({ [MARKER]: 'rtf_unknown' })],
  [
    'the grant of another client',
    'bad_subject_token',
    async () => signed({ [MARKER]: decodeJwt((await elsewhere.signIn()).id_token)[MARKER] }),
  ],
  [
    'the grant, user and session of another client',
    'bad_subject_token',
    async () => signed({ ...decodeJwt((await elsewhere.signIn()).id_token), aud: story.agent.id }),
  ],
  ['the past', 'subject_token_expired', () => signed({ exp: now() })],
  ['eternity', 'bad_subject_token', () => signed({ exp: undefined })],
  ['an end in words', 'bad_subject_token', () => signed({ exp: String(now() + 60) })],
  ['the future', 'bad_subject_token', () => signed({ iat: now() + 61 })],
  ['an unknown time', 'bad_subject_token', () => signed({ iat: undefined })],
]

/** They name an issuer that is not us, and that nobody has registered. */
const OF_OTHERS = [
  'a client assertion',
  'an ID token of another issuer',
  'an ID token of another issuer by our key',
  'an ID token of us with a slash',
]

for (const [what, make] of OTHERS) {
  test(`as a subject token, ${what} is no ID token (TV-60, TX-23)`, async () => {
    const subject_token = await make()
    await assertRefusal(house, () => story.exchange({ subject_token }), [
      400,
      'invalid_grant',
      OF_OTHERS.includes(what) ? 'issuer_not_trusted' : 'bad_subject_token',
    ])
  })
}

for (const [what, reason, make] of NOT_HERE) {
  test(`as a subject token, an ID token for ${what} is refused (TX-21, TX-22, TX-24)`, async () => {
    const subject_token = await make()
    await assertRefusal(house, () => story.exchange({ subject_token }), [
      400,
      'invalid_grant',
      reason,
    ])
  })
}

for (const [what, make] of [
  ['one that was issued', async () => tokens.id_token],
  ['one without a typ', () => signed({}, { typ: undefined as never })],
  ['one signed by RS256', () => signed({}, { alg: 'RS256' })],
  [
    'one whose aud is a list with this client as its party',
    () => {
      const aud = [story.agent.id, stranger.client_id]
      return signed({ aud, azp: story.agent.id })
    },
  ],
] as [string, () => Promise<string>][]) {
  test(`as a subject token, ${what} is an ID token (TX-22, TX-23)`, async () => {
    const { status, text } = await story.exchange({ subject_token: await make() })
    assert.equal(status, 200, text)
  })
}

test('claims of a subject token are not copied: what it says of the user is read anew (TX-25)', async () => {
  const subject_token = await signed({ email: 'evil@evil.example', auth_time: now(), amr: ['hwk'] })
  const { body } = await story.exchange({ subject_token })
  const idJag = decodeJwt(body.access_token)
  assert.deepEqual(idJag.amr, ['pwd'])
  assert.equal(idJag.email, undefined)
  assert.equal(idJag.auth_time, claims.auth_time)
})

test('no signed token is a refresh token (TX-26)', async () => {
  for (const [what, make] of OTHERS.filter(([what]) => what !== 'a refresh token')) {
    const subject = { subject_token: await make(), subject_token_type: TOKEN_TYPE.refreshToken }
    await assertRefusal(house, () => story.exchange(subject), [
      400,
      'invalid_grant',
      'bad_subject_token',
    ]).catch((error) => {
      error.message = `${what}: ${error.message}`
      throw error
    })
  }
})

test('no token but a client assertion authenticates a client (TV-60, CA-05)', async () => {
  const all = [...OTHERS, ['an ID token', async () => tokens.id_token]] as typeof OTHERS
  for (const [what, make] of all.filter(([what]) => what !== 'a client assertion')) {
    const { status } = await story.exchange({
      client_assertion_type: CLIENT_ASSERTION_TYPE,
      client_assertion: await make(),
    })
    assert.equal(status, 401, what)
  }
})

test('no token but an access token opens userinfo (TV-60, OP-21)', async () => {
  const open = (token: string) =>
    house.inject({
      method: 'GET',
      url: '/oauth2/userinfo',
      headers: { authorization: `Bearer ${token}` },
    })
  assert.equal((await open(tokens.access_token)).status, 200)
  const expected = new Set(['an access token of ours'])
  const all = [...OTHERS, ['an ID token', async () => tokens.id_token]] as typeof OTHERS
  for (const [what, make] of all) {
    if (!expected.has(what)) assert.equal((await open(await make())).status, 401, what)
  }
  const access = decodeJwt(tokens.access_token)
  for (const [what, changes, signing] of [
    ['by a key for ID-JAGs', {}, { purpose: 'id_jag' }],
    ['for another server', { aud: 'https://other.example' }, {}],
    ['of another issuer', { iss: 'https://other.example' }, {}],
    ['that is over', { exp: now() }, {}],
    ['from the future', { iat: now() + 6 }, {}],
    ['of another user', { sub: elsewhere.user.id }, {}],
    ['of another client', { client_id: stranger.client_id }, {}],
    ['without its marker', { [MARKER]: undefined }, {}],
  ] as [string, Record<string, unknown>, Partial<Signing>][]) {
    const { purpose = 'id_token' } = signing
    const { jws } = await keys.sign(purpose, 'ES256', 'at+jwt', { ...access, ...changes })
    assert.equal((await open(jws)).status, 401, `an access token ${what}`)
  }
})

test('no token of ours opens the admin door', async () => {
  const own = [tokens.access_token, tokens.id_token, tokens.refresh_token]
  for (const token of [...own, (await story.exchange()).body.access_token]) {
    const { status } = await house.inject({
      method: 'GET',
      url: '/admin/v1/users',
      headers: { authorization: `Bearer ${token}` },
    })
    assert.equal(status, 401)
  }
})

test('no token but an ID token is a hint of whom a sign-in is for (TV-60)', async () => {
  const ask = (id_token_hint: string) =>
    story.browser.get(authorizeUrl(story.agent, { prompt: 'none', id_token_hint }))
  assert.ok(redirected(await ask(tokens.id_token), story.agent).get('code'))
  for (const [what, make] of OTHERS) {
    const answer = redirected(await ask(await make()), story.agent)
    assert.equal(answer.get('error'), 'invalid_request', what)
    assert.equal(answer.get('code'), null, what)
  }
})

test('no token but an ID token of this session signs the user out unasked (TV-60, OP-29)', async () => {
  const other = await tellStory(house)
  const { id_token } = await other.signIn()
  const { sub, sid } = decodeJwt(id_token)
  const leave = (hint: string) =>
    other.browser.get(`/oauth2/logout?${new URLSearchParams({ id_token_hint: hint })}`)
  const ofThisSession = (purpose: Signing['purpose'], typ: string) =>
    signed({ sub, sid, aud: other.agent.id }, { purpose, typ })
  const hints = await Promise.all([
    ...OTHERS.map(([, make]) => make()),
    tokens.id_token,
    ofThisSession('id_token', 'at+jwt'),
    ofThisSession('id_token', 'logout+jwt'),
    ofThisSession('id_jag', 'JWT'),
    ofThisSession('seal', 'JWT'),
  ])
  for (const hint of hints) {
    await leave(hint)
    assert.ok(other.browser.cookies.has('session'), hint)
  }
  await leave(id_token)
  assert.ok(!other.browser.cookies.has('session'))
})

test('a code used twice takes its ID token along (OP-09, TX-24)', async () => {
  await story.signIn()
  const code = await authorize(story.browser, story.agent)
  const redeem = async () =>
    house.form('/oauth2/token', {
      grant_type: GRANT.authorizationCode,
      ...code,
      ...(await clientAuthentication(house, story.agent)),
    })
  const subject_token = (await redeem()).body.id_token
  assert.equal((await story.exchange({ subject_token })).status, 200)
  assert.equal((await redeem()).body.error, 'invalid_grant')
  await assertRefusal(house, () => story.exchange({ subject_token }), [
    400,
    'invalid_grant',
    'refresh_token_revoked',
  ])
  assert.equal((await story.exchange()).status, 200)
})

// Last, for this lets days pass.

test('an ID token outlives the rotation of its key, and is refused once the key is gone (TX-21)', async () => {
  const works = async (subject_token: string) =>
    (await story.exchange({ subject_token })).status === 200
  house.wait(DAY + 60)
  const old = (await story.signIn()).id_token
  // However late it says it ends, it ends with its key at the latest.
  const endless = await signed({ ...decodeJwt(old), exp: now() + 5 * DAY })
  const { status, text } = await house.admin('POST', '/keys/rotate', {})
  assert.equal(status, 200, text)
  const fresh = (await story.signIn()).id_token
  assert.notEqual(decodeProtectedHeader(fresh).kid, decodeProtectedHeader(old).kid)
  assert.ok(await works(old))
  assert.ok(await works(fresh))
  house.wait(599)
  assert.ok(await works(old))
  house.wait(1)
  assert.ok(!(await works(old)))

  // Ten minutes for the last token, a day for caches, and the time in which replicas learn of it.
  house.wait(DAY + 9)
  await keepSchedule(house.deps)
  assert.ok(await works(endless))
  house.wait(1)
  await keepSchedule(house.deps)
  await assertRefusal(house, () => story.exchange({ subject_token: endless }), [
    400,
    'invalid_grant',
    'bad_subject_token',
  ])
})
