// ID tokens of a trusted issuer as subject tokens: its registration stands in for TX-21, TX-22, TX-24 and the
// private marker of TX-23, and the `typ` rule stays.
import assert from 'node:assert/strict'
import { createHmac, randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { decodeJwt, exportSPKI, importJWK } from 'jose'
import { sql } from 'kysely'
import type { AgentFacts } from '../../src/agents/authenticate.ts'
import type { Db } from '../../src/db/tables.ts'
import { TOKEN_TYPE } from '../../src/oauth/names.ts'
import type { UserFacts } from '../../src/policy/facts.ts'
import { readSubjectToken, type Subject } from '../../src/token/subject.ts'
import { findUpstream, verifyUpstream } from '../../src/token/upstream.ts'
import { browser, signIn } from '../support/browser.ts'
import {
  CLIENT,
  type FakeIssuer,
  newIssuerKey,
  type Signing,
  startIssuer,
} from '../support/fake-issuer.ts'
import { type Answer, type Form, openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import {
  clientAssertion,
  entitle,
  newAgent,
  newAudience,
  newUser,
  type StoryAgent,
  tellStory,
} from '../support/story.ts'

const house = await openHouse({ after })
const { db, pool } = house.deps
const story = await tellStory(house)
await story.delegate()
await story.signIn()
const { user, agent } = story
const now = () => Math.floor(house.clock.now.getTime() / 1000)

type Trust = FakeIssuer & { id: string }

/** An issuer, and what is registered of it: nothing is provisioned unless it is asked for. */
async function trust(members: object = {}, upstream?: FakeIssuer): Promise<Trust> {
  const known = upstream ?? (await startIssuer({ after }, house))
  const { status, text, body } = await house.admin('POST', '/trusted-issuers', {
    issuer: known.issuer,
    jwks_uri: known.jwksUri,
    clients: [{ client_id: CLIENT, agent_ids: [agent.id] }],
    provisioning: 'refuse',
    ...members,
  })
  assert.equal(status, 201, text)
  return { ...known, id: body.id }
}
async function link({ id }: Trust, subject: string, user_id = user.id): Promise<void> {
  const body = { subject, user_id }
  const { status, text } = await house.admin('POST', `/trusted-issuers/${id}/accounts`, body)
  assert.equal(status, 201, text)
}
/** An issuer whose `kim` is the user of the story. */
async function trustKim(members: object = {}, upstream?: FakeIssuer): Promise<Trust> {
  const trusted = await trust(members, upstream)
  await link(trusted, 'kim')
  return trusted
}
const ask = (subject_token: string, more: Form = {}, as?: StoryAgent) =>
  story.exchange({ subject_token, ...more }, as)

async function granted(answer: Answer | Promise<Answer>) {
  const { status, text, body } = await answer
  assert.equal(status, 200, text)
  return decodeJwt(body.access_token)
}
const issuanceOf = async (jti: unknown) =>
  (await house.admin('GET', `/issuances?jti=${jti}`)).body.data[0]
const usersWith = (external_id: string) =>
  db.selectFrom('users').selectAll().where('external_id', '=', external_id).execute()
const linksOf = ({ issuer }: Trust) =>
  db
    .selectFrom('upstream_accounts')
    .select(['subject', 'user_id', 'created_by'])
    .where('issuer', '=', issuer)
    .execute()
const eventsOf = async ({ id }: Trust) => {
  const events = await db
    .selectFrom('audit_events')
    .select(['type', 'actor_kind', 'actor_id', 'agent_id', 'user_id', 'detail'])
    .orderBy(sql`xid`)
    .orderBy('type')
    .execute()
  return events.filter(({ detail }) => detail?.trusted_issuer_id === id)
}

const kim = await trustKim()
const kimsToken = (claims: object = {}, by?: Signing) => kim.idToken({ sub: 'kim', ...claims }, by)

test('an ID token of a trusted issuer is exchanged for the user whom its subject is linked to (TX-21, TX-22)', async () => {
  const token = await kimsToken({
    email: 'mallory@orbit.example',
    email_verified: true,
    name: 'Mallory',
    tenant: 'ten_other',
    act: { sub: 'x' },
    client_id: undefined,
  })
  const claims = await granted(ask(token))
  assert.equal(claims.sub, user.id)
  assert.equal(claims.iss, house.config.issuer)
  for (const name of ['auth_time', 'acr', 'amr', 'email', 'name', 'act', 'tenant']) {
    assert.equal(claims[name], undefined, `${name} comes from the token (TX-25)`)
  }
  const issuance = await issuanceOf(claims.jti)
  assert.equal(issuance.user_id, user.id)
  assert.equal(issuance.trusted_issuer_id, kim.id)
  assert.deepEqual(
    [issuance.session_id, issuance.family_id, issuance.auth_time].filter((one) => one),
    [],
  )
  await granted(ask(token))
})

test('what an audience wants to know of the user is read here, not in the token (TX-25)', async () => {
  const audience = await newAudience(house, {
    issuer: `https://${randomUUID()}.example`,
    claims: ['email', 'name'],
  })
  await entitle(house, agent, audience, { consent: 'admin' })
  const token = await kimsToken({ email: 'mallory@orbit.example', email_verified: true, name: 'M' })
  const { email, name } = await granted(ask(token, { audience: audience.issuer }))
  assert.deepEqual({ email, name }, { email: user.email, name: 'Kim' })
})

for (const alg of ['RS256', 'EdDSA']) {
  test(`its keys may be of ${alg}`, async () => {
    const upstream = await startIssuer({ after }, house, alg)
    const trusted = await trustKim({}, upstream)
    await granted(ask(await trusted.idToken({ sub: 'kim' })))
  })
}

const ACCEPTED: [string, () => Record<string, unknown>, object?][] = [
  ['for its client as the one of a list', () => ({ aud: [CLIENT] })],
  ['for several, made for its client', () => ({ aud: ['other', CLIENT], azp: CLIENT })],
  ['that ended a minute ago, by our clock', () => ({ exp: now() - 59 })],
  ['that begins in a minute, by our clock', () => ({ iat: now() + 60, nbf: now() + 60 })],
  ['with typ JWT', () => ({}), { typ: 'JWT' }],
  ['with a nonce, which is not ours to know', () => ({ nonce: 'n-0S6_WzA2Mj' })],
  ['without a kid, of an issuer with one key', () => ({}), { kid: undefined }],
]
for (const [what, claims, header = {}] of ACCEPTED) {
  test(`an ID token of a trusted issuer ${what} is taken`, async () => {
    await granted(ask(await kimsToken(claims(), { header })))
  })
}

const stranger = await newAgent(house, story.owner)
const otherIssuer = await trust({}, await startIssuer({ after }, house))
const notTrusted = await startIssuer({ after }, house)
const twoClients = await trustKim({
  clients: [
    { client_id: CLIENT, agent_ids: [stranger.id] },
    { client_id: 'second', agent_ids: [agent.id] },
  ],
})

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const rewritten = async (header: object, signature: (input: string) => string) => {
  const [, payload] = (await kimsToken()).split('.')
  const input = `${part(header)}.${payload}`
  return `${input}.${signature(input)}`
}
const pem = await exportSPKI((await importJWK(kim.key.jwk, 'ES256')) as never)

const BAD = 'bad_subject_token'
const REFUSED: [what: string, token: () => Promise<string>, reason: string][] = [
  ['of an issuer that nobody registered', () => notTrusted.idToken(), 'issuer_not_trusted'],
  [
    'of an issuer that is registered under another name',
    () => kimsToken({ iss: `${kim.issuer}/` }),
    'issuer_not_trusted',
  ],
  [
    'that names another trusted issuer than the one whose key signed it',
    async () => kimsToken({}, { key: otherIssuer.key }),
    BAD,
  ],
  [
    'by a key of another trusted issuer with the same kid',
    () => kimsToken({}, { key: { ...otherIssuer.key, jwk: kim.key.jwk } }),
    BAD,
  ],
  [
    'by somebody’s key',
    async () => kimsToken({}, { key: await newIssuerKey('ES256', kim.key.jwk.kid) }),
    BAD,
  ],
  ['with an unknown kid', () => kimsToken({}, { header: { kid: 'other' } }), BAD],
  ['by our own key', async () => ours(), BAD],
  ['that is not signed', () => rewritten({ alg: 'none' }, () => ''), BAD],
  [
    'signed with the public key as a secret',
    () =>
      rewritten({ alg: 'HS256', kid: kim.key.jwk.kid }, (input) =>
        createHmac('sha256', pem).update(input).digest('base64url'),
      ),
    BAD,
  ],
  ...[
    'at+jwt',
    'oauth-id-jag+jwt',
    'secevent+jwt',
    'logout+jwt',
    'dpop+jwt',
    'client-authentication+jwt',
    'actor-token+jwt',
    'jwt',
    '',
    null,
  ].map((typ): [string, () => Promise<string>, string] => [
    `of typ ${JSON.stringify(typ)} (TX-23, TV-60)`,
    () => kimsToken({}, { header: { typ } }),
    BAD,
  ]),
  ['that is a logout token without a typ', () => kimsToken({ events: {} }), BAD],
  ['that is an access token without a typ', () => kimsToken({ scope: 'openid' }), BAD],
  ['that is an access token of another dialect', () => kimsToken({ scp: ['read'] }), BAD],
  ['that ended', () => kimsToken({ exp: now() - 60 }), 'subject_token_expired'],
  ['that never ends', () => kimsToken({ exp: undefined }), BAD],
  ['that ends at a text', () => kimsToken({ exp: String(now() + 300) }), BAD],
  ['without a beginning', () => kimsToken({ iat: undefined }), BAD],
  ['from the future', () => kimsToken({ iat: now() + 61 }), BAD],
  ['that is not valid yet', () => kimsToken({ nbf: now() + 61 }), BAD],
  ['with a text for nbf', () => kimsToken({ nbf: 'now' }), BAD],
  ['for another client', () => kimsToken({ aud: 'other' }), 'upstream_client_not_allowed'],
  ['for nobody', () => kimsToken({ aud: undefined }), 'upstream_client_not_allowed'],
  ['for an empty list', () => kimsToken({ aud: [] }), 'upstream_client_not_allowed'],
  [
    'for several without saying for whom',
    () => kimsToken({ aud: [CLIENT, 'other'] }),
    'upstream_client_not_allowed',
  ],
  [
    'for several, made for another',
    () => kimsToken({ aud: [CLIENT, 'other'], azp: 'other' }),
    'upstream_client_not_allowed',
  ],
  [
    'for one of a list, made for another',
    () => kimsToken({ aud: [CLIENT], azp: 'other' }),
    'upstream_client_not_allowed',
  ],
  [
    'for others, made for its client',
    () => kimsToken({ aud: ['a', 'b'], azp: CLIENT }),
    'upstream_client_not_allowed',
  ],
  [
    'for a client whose tokens other agents may present',
    () => twoClients.idToken({ sub: 'kim' }),
    'upstream_client_not_allowed',
  ],
  [
    'of a subject that is linked to nobody',
    () => kimsToken({ sub: 'Kim' }),
    'unknown_upstream_account',
  ],
]
for (const [what, token, reason] of REFUSED) {
  test(`an ID token of a trusted issuer ${what} is refused (TV-61)`, async () => {
    const subject_token = await token()
    await assertRefusal(house, () => ask(subject_token), [400, 'invalid_grant', reason])
  })
}

/** An ID token that we signed, which says that the trusted issuer made it. */
async function ours(): Promise<string> {
  const claims = { iss: kim.issuer, sub: 'kim', aud: CLIENT, iat: now(), exp: now() + 300 }
  return (await house.deps.keys.sign('id_token', 'ES256', 'JWT', claims)).jws
}

for (const sub of [undefined, '', null, 7, 'x'.repeat(256), 'kim\u0000', 'kim\n', ['kim']]) {
  test(`a subject of ${JSON.stringify(sub)?.slice(0, 20)} is nobody’s`, async () => {
    const token = await kimsToken({ sub })
    const answer = await ask(token)
    assert.equal(answer.status, 400, answer.text)
    assert.equal(answer.body.error, 'invalid_grant')
  })
}

test('a token whose issuer is no text that could be registered is refused', async () => {
  const odd = ['\u0000https://a.example', 'https://a.example/\u0000', 'https://ü.example']
  for (const iss of [...odd, '', 'x'.repeat(9000)]) {
    const token = await kimsToken({ iss })
    await assertRefusal(house, () => ask(token), [400, 'invalid_grant', 'issuer_not_trusted'])
  }
})

test('it is a subject token of type id_token and of no other', async () => {
  const token = await kimsToken()
  for (const [type, error] of [
    [TOKEN_TYPE.refreshToken, 'invalid_grant'],
    [TOKEN_TYPE.accessToken, 'invalid_request'],
    [TOKEN_TYPE.jwt, 'invalid_request'],
  ]) {
    const answer = await ask(token, { subject_token_type: type })
    assert.equal(answer.body.error, error, answer.text)
  }
})

test('a client of a name that no record has is told what strangers are told (TX-61)', async () => {
  const by = { client_assertion: undefined, client_assertion_type: undefined, client_secret: 'x' }
  const subject_token = await kimsToken()
  const answer = await ask(subject_token, { ...by, client_id: `${agent.id}\u0000` })
  assert.equal(`${answer.status} ${answer.body.error}`, '401 invalid_client')
})

test('a user of another tenant is refused, however they came to be linked', async () => {
  const subject = readSubjectToken('id_token', await kimsToken(), house.config.issuer)
  assert.ok(subject.kind === 'upstream')
  const upstream = await findUpstream(house.deps, agent.id, subject)
  assert.equal(upstream?.user_id, user.id)
  const of = { id: agent.id, tenant_id: upstream.registration.tenant_id } as AgentFacts
  const judged = async (changes: object | undefined) => {
    const version = upstream.user_version
    const user = { id: upstream.user_id, status: 'active', tenant_id: of.tenant_id, version }
    const facts = { user: changes && ({ ...user, ...changes } as UserFacts) }
    return verifyUpstream(house.deps, subject, of, upstream, facts, { request_id: 'x' })
  }
  const refused = { refused: 'wrong_subject_audience' }
  assert.deepEqual(await judged({ tenant_id: 'ten_other' }), refused)
  assert.deepEqual(await judged(undefined), refused)
  assert.deepEqual(await judged({ status: 'deleted' }), { refused: 'user_inactive' })
  assert.deepEqual(await judged({ version: 'another' }), { provisioned: true })
  const { user: found, ...rest } = (await judged({})) as Subject
  assert.equal(found.id, user.id)
  assert.deepEqual(rest, {
    auth_time: null,
    acr: null,
    amr: [],
    live: true,
    session_id: null,
    family_id: null,
    trusted_issuer_id: kim.id,
  })
})

test('each client has its agents: what one may present is another’s refusal', async () => {
  await granted(ask(await twoClients.idToken({ sub: 'kim', aud: 'second' })))
  const token = await kimsToken()
  await assertRefusal(house, () => ask(token, {}, stranger), [
    400,
    'invalid_grant',
    'upstream_client_not_allowed',
  ])
})

test('the trust of one tenant is not another’s', async () => {
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
  const owner = await newUser(house, { tenant_id: tenant.id })
  const foreign = await newAgent(house, owner, { tenant_id: tenant.id })
  const token = await kimsToken()
  await assertRefusal(house, () => ask(token, {}, foreign), [
    400,
    'invalid_grant',
    'issuer_not_trusted',
  ])
  const there = await trust(
    { clients: [{ client_id: CLIENT, agent_ids: [foreign.id] }] },
    kim as FakeIssuer,
  )
  await assertRefusal(house, () => ask(token, {}, foreign), [
    400,
    'invalid_grant',
    'unknown_upstream_account',
  ])
  assert.notEqual(there.id, kim.id)
  await granted(ask(token))
})

test('the trust ends by hand and by itself, and with it what was read of it before', async () => {
  const upstream = await startIssuer({ after }, house)
  const until = new Date(house.clock.now.getTime() + 60_000).toISOString()
  const first = await trustKim({ expires_at: until }, upstream)
  const refused = async () => {
    const token = await first.idToken({ sub: 'kim' })
    await assertRefusal(house, () => ask(token), [400, 'invalid_grant', 'issuer_not_trusted'])
  }
  await granted(ask(await first.idToken({ sub: 'kim' })))
  house.wait(60)
  await refused()
  const second = await trust({}, upstream)
  await granted(ask(await second.idToken({ sub: 'kim' })))
  await house.admin('DELETE', `/trusted-issuers/${second.id}`)
  await refused()
})

test('a linked user who is suspended or deleted is refused, and the subject stays theirs', async () => {
  for (const status of ['suspended', 'deleted']) {
    const other = await newUser(house, { external_id: randomUUID() })
    const trusted = await trust({ provisioning: 'create' })
    await link(trusted, 'olu', other.id)
    const token = await trusted.idToken({ sub: 'olu' })
    const changed = await house.admin('PATCH', `/users/${other.id}`, { status })
    assert.equal(changed.status, 200, changed.text)
    await assertRefusal(house, () => ask(token), [400, 'invalid_grant', 'user_inactive'])
    assert.deepEqual(await linksOf(trusted), [
      { subject: 'olu', user_id: other.id, created_by: 'environment' },
    ])
  }
})

test('an unlinked subject is nobody’s again', async () => {
  const trusted = await trustKim()
  const token = await trusted.idToken({ sub: 'kim' })
  await granted(ask(token))
  await house.admin('DELETE', `/trusted-issuers/${trusted.id}/accounts/kim`)
  await assertRefusal(house, () => ask(token), [400, 'invalid_grant', 'unknown_upstream_account'])
})

// Keys.

test('keys are fetched once, and again for a kid that is new', async () => {
  const { site, ...trusted } = await trustKim()
  const token = (by?: Signing) => trusted.idToken({ sub: 'kim' }, by)
  await Promise.all([1, 2, 3].map(async () => granted(ask(await token()))))
  assert.equal(site.jwks.asked, 1)
  assert.equal(site.discovery.asked, 0)
  const next = await newIssuerKey()
  trusted.publish(trusted.key, next)
  house.wait(30)
  await granted(ask(await token({ key: next })))
  assert.equal(site.jwks.asked, 2)
})

test('a key that is not published any more takes its tokens with it', async () => {
  const trusted = await trustKim()
  const token = await trusted.idToken({ sub: 'kim', exp: now() + 3600 })
  await granted(ask(token))
  trusted.publish(await newIssuerKey())
  house.wait(300)
  await assertRefusal(house, () => ask(token), [400, 'invalid_grant', BAD])
})

test('without a jwks_uri the keys are discovered, once', async () => {
  const { site, ...trusted } = await trustKim({ jwks_uri: undefined })
  const token = () => trusted.idToken({ sub: 'kim' })
  await granted(ask(await token()))
  house.wait(60)
  await granted(ask(await token()))
  assert.equal(site.discovery.asked, 2, 'at registration, and for the first token')
  assert.equal(site.jwks.asked, 1)
  house.wait(240)
  await granted(ask(await token()))
  assert.equal(site.discovery.asked, 3)
})

const UNAVAILABLE: [number, string, string] = [
  503,
  'temporarily_unavailable',
  'upstream_unavailable',
]
const FAULTS: object[] = [
  { status: 500, body: 'a secret page' },
  { status: 302, headers: { location: 'http://127.0.0.1:1/' } },
  { status: 200, headers: {}, body: '<html>' },
  { body: '{"keys":"none"}' },
  { body: `{"keys":[],"a":"${'x'.repeat(256 * 1024)}"}` },
]
for (const fault of FAULTS) {
  test(`while its keys cannot be had nobody is to blame but the issuer: ${JSON.stringify(fault).slice(0, 40)} (DR-36)`, async () => {
    const { site, ...trusted } = await trustKim()
    Object.assign(site.jwks, fault)
    const token = await trusted.idToken({ sub: 'kim' })
    const answer = await assertRefusal(house, () => ask(token), UNAVAILABLE)
    assert.equal(answer.headers['retry-after'], '30')
    assert.doesNotMatch(answer.text, /secret|127\.0\.0\.1|redirect|status/)
    await assertRefusal(house, () => ask(token), UNAVAILABLE)
    assert.equal(site.jwks.asked, 1, 'a failure is remembered for a while')
    Object.assign(site.jwks, { status: 200, headers: {} })
    trusted.publish(trusted.key)
    house.wait(30)
    await granted(ask(await trusted.idToken({ sub: 'kim' })))
  })
}

test('keys that were read before are used on while the issuer is down, but not for an unknown kid', async () => {
  const { site, ...trusted } = await trustKim()
  await granted(ask(await trusted.idToken({ sub: 'kim' })))
  site.jwks.status = 500
  house.wait(300)
  await granted(ask(await trusted.idToken({ sub: 'kim' })))
  const key = await newIssuerKey()
  const token = await trusted.idToken({ sub: 'kim' }, { key })
  await assertRefusal(house, () => ask(token), UNAVAILABLE)
})

const DISCOVERY_FAULTS: [string, (of: FakeIssuer) => object][] = [
  ['cannot be had', () => ({ status: 404 })],
  [
    'speaks of another issuer',
    ({ jwksUri }) => ({ body: JSON.stringify({ issuer: kim.issuer, jwks_uri: jwksUri }) }),
  ],
  ['names no keys', ({ issuer }) => ({ body: JSON.stringify({ issuer }) })],
  [
    'names keys where nobody may be asked',
    ({ issuer }) => ({ body: JSON.stringify({ issuer, jwks_uri: 'http://10.0.0.1/' }) }),
  ],
]
for (const [what, fault] of DISCOVERY_FAULTS) {
  test(`a discovery document that ${what} is the issuer's fault, and nothing is fetched (DR-36)`, async () => {
    const trusted = await trustKim({ jwks_uri: undefined })
    const { discovery, jwks } = trusted.site
    const { body } = discovery
    Object.assign(discovery, fault(trusted))
    const token = await trusted.idToken({ sub: 'kim' })
    house.logs.length = 0
    await assertRefusal(house, () => ask(token), UNAVAILABLE)
    assert.equal(jwks.asked, 0)
    const said = /a trusted issuer cannot be discovered|of a trusted issuer could not be read/
    assert.ok(house.logs.some((line) => said.test(line) && line.includes(trusted.issuer)))
    Object.assign(discovery, { status: 200, body })
    house.wait(30)
    await granted(ask(await trusted.idToken({ sub: 'kim' })))
  })
}

// How and when the user signed in there.

const strict = await newAudience(house, {
  issuer: `https://${randomUUID()}.example`,
  max_auth_age: 900,
})
await entitle(house, agent, strict, { consent: 'admin' })
const askStrictly = (token: string) => ask(token, { audience: strict.issuer })
const STALE: [number, string, string] = [
  400,
  'insufficient_user_authentication',
  'stale_authentication',
]

test('auth_time counts for nothing unless the registration says so (TX-50)', async () => {
  const token = await kimsToken({ auth_time: now(), acr: 'phr', amr: ['hwk'] })
  await askStrictly(token)
  const answer = await assertRefusal(house, () => askStrictly(token), STALE)
  assert.equal(answer.body.max_age, 600)
})

const believed = await trustKim({ trust_auth_time: true })
const signedInAt = (auth_time: unknown, more: object = {}) =>
  believed.idToken({ sub: 'kim', auth_time, ...more })

test('auth_time, acr and amr are told on where the registration believes them (TX-50)', async () => {
  const token = await signedInAt(now() - 600, { acr: 'phr', amr: ['hwk', 'pin'] })
  const { auth_time, acr, amr, jti } = await granted(askStrictly(token))
  assert.deepEqual(
    { auth_time, acr, amr },
    { auth_time: now() - 600, acr: 'phr', amr: ['hwk', 'pin'] },
  )
  const issuance = await issuanceOf(jti)
  assert.equal(Date.parse(issuance.auth_time), (now() - 600) * 1000)
  const old = await signedInAt(now() - 601)
  await assertRefusal(house, () => askStrictly(old), STALE)
})

test('an auth_time of a clock that is a little ahead is now', async () => {
  assert.equal((await granted(askStrictly(await signedInAt(now() + 60)))).auth_time, now())
})

for (const [what, auth_time] of [
  ['in the future', () => now() + 61],
  ['in milliseconds', () => now() * 1000],
  ['of a text', () => String(now())],
  ['of nought', () => 0],
  ['before all time', () => -1],
  ['of null', () => null],
  ['that is missing', () => undefined],
] as const) {
  test(`an auth_time ${what} is none (TX-50)`, async () => {
    await askStrictly(await signedInAt(now()))
    const token = await signedInAt(auth_time())
    await assertRefusal(house, () => askStrictly(token), STALE)
    assert.equal((await granted(ask(token))).auth_time, undefined)
  })
}

test('an audience that asks for a context class takes that of a believed issuer alone', async () => {
  const audience = await newAudience(house, {
    issuer: `https://${randomUUID()}.example`,
    acr_values: ['phr'],
  })
  await entitle(house, agent, audience, { consent: 'admin' })
  const at = { audience: audience.issuer }
  const strong = await signedInAt(now(), { acr: 'phr' })
  await granted(ask(strong, at))
  const weak: [number, string, string] = [
    400,
    'insufficient_user_authentication',
    'weak_authentication',
  ]
  for (const token of [await kimsToken({ acr: 'phr' }), await signedInAt(now(), { acr: 'pwd' })]) {
    await assertRefusal(house, () => ask(token, at), weak)
  }
})

// Provisioning.

/** At an audience where an administrator answers for consent, so that nothing but the user is missing. */
const open = await newAudience(house, { issuer: `https://${randomUUID()}.example` })
await entitle(house, agent, open, { consent: 'admin' })
const enter = (token: string) => ask(token, { audience: open.issuer })
const UNKNOWN: [number, string, string] = [400, 'invalid_grant', 'unknown_upstream_account']
const TAKEN = `taken-${randomUUID()}@orbit.example`
await newUser(house, { email: TAKEN })

test('link: a subject comes to the user with its external id, and stays there', async () => {
  const trusted = await trust({ provisioning: 'link' })
  const emp = randomUUID()
  const other = await newUser(house, { external_id: emp })
  const { sub } = await granted(enter(await trusted.idToken({ sub: emp })))
  assert.equal(sub, other.id)
  assert.deepEqual(await linksOf(trusted), [
    { subject: emp, user_id: other.id, created_by: trusted.id },
  ])
  await granted(enter(await trusted.idToken({ sub: emp })))
  const event = {
    actor_kind: 'agent',
    actor_id: agent.id,
    agent_id: agent.id,
    user_id: other.id,
    detail: { trusted_issuer_id: trusted.id },
  }
  const [, ...events] = await eventsOf(trusted)
  assert.deepEqual(events, [{ type: 'upstream_account.linked', ...event }])

  // Once linked, the external id is not asked for again.
  await house.admin('PATCH', `/users/${other.id}`, { external_id: null })
  const { sub: again } = await granted(enter(await trusted.idToken({ sub: emp })))
  assert.equal(again, other.id)
})

test('link: the external id is in the claim that the registration names', async () => {
  const trusted = await trust({
    provisioning: 'link',
    claim_mapping: { external_id: 'employee_number' },
  })
  const emp = randomUUID()
  const other = await newUser(house, { external_id: emp })
  const wrong = await trusted.idToken({ sub: emp })
  await assertRefusal(house, () => enter(wrong), UNKNOWN)
  const token = await trusted.idToken({ sub: 'a', employee_number: emp })
  assert.equal((await granted(enter(token))).sub, other.id)
})

test('link: an address finds nobody, however verified (TV-61)', async () => {
  const trusted = await trust({ provisioning: 'link', trust_contacts: true })
  const token = await trusted.idToken({ email: user.email, email_verified: true })
  await assertRefusal(house, () => enter(token), UNKNOWN)
  assert.deepEqual(await linksOf(trusted), [])
})

for (const external_id of ['', 7, null, 'a\nb', 'x'.repeat(256), { id: 'a' }]) {
  test(`link and create: ${JSON.stringify(external_id).slice(0, 12)} is no external id`, async () => {
    for (const provisioning of ['link', 'create']) {
      const trusted = await trust({ provisioning, claim_mapping: { external_id: 'emp' } })
      const token = await trusted.idToken({ emp: external_id })
      await assertRefusal(house, () => enter(token), UNKNOWN)
      assert.deepEqual(await linksOf(trusted), [])
    }
  })
}

test('a claim of a name that every object has says nothing', async () => {
  const trusted = await trust({
    provisioning: 'create',
    claim_mapping: { external_id: 'constructor', name: '__proto__' },
  })
  const token = await trusted.idToken()
  await assertRefusal(house, () => enter(token), UNKNOWN)
})

test('link and create: a suspended user is refused, and not linked', async () => {
  for (const provisioning of ['link', 'create']) {
    const trusted = await trust({ provisioning })
    const emp = randomUUID()
    const other = await newUser(house, { external_id: emp })
    await house.admin('PATCH', `/users/${other.id}`, { status: 'suspended' })
    const token = await trusted.idToken({ sub: emp })
    await assertRefusal(house, () => enter(token), [400, 'invalid_grant', 'user_inactive'])
    assert.deepEqual(await linksOf(trusted), [])
  }
})

test('link: users of another tenant are not found', async () => {
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
  const emp = randomUUID()
  await newUser(house, { tenant_id: tenant.id, external_id: emp })
  const trusted = await trust({ provisioning: 'link' })
  const token = await trusted.idToken({ sub: emp })
  await assertRefusal(house, () => enter(token), UNKNOWN)
})

const contacts = (of: object = {}) => ({
  name: 'Olu Adeyemi',
  email: `${randomUUID()}@orbit.example`,
  email_verified: true,
  phone_number: '+4915123456789',
  phone_number_verified: true,
  ...of,
})

test('create: a user is made of the token, with the issuer as who verified their addresses', async () => {
  const trusted = await trust({ provisioning: 'create', trust_contacts: true })
  const claims = { sub: randomUUID(), ...contacts() }
  const { sub } = await granted(enter(await trusted.idToken(claims)))
  const { body: made } = await house.admin('GET', `/users/${sub}`)
  const at = house.clock.now.toISOString()
  assert.deepEqual(made, {
    id: sub,
    tenant_id: made.tenant_id,
    email: claims.email,
    email_verified: true,
    email_verified_at: at,
    email_verified_by: trusted.id,
    phone_number: claims.phone_number,
    phone_number_verified: true,
    phone_verified_at: at,
    phone_verified_by: trusted.id,
    name: 'Olu Adeyemi',
    external_id: claims.sub,
    status: 'active',
    created_at: at,
    updated_at: at,
    deleted_at: null,
  })
  assert.deepEqual(await linksOf(trusted), [
    { subject: claims.sub, user_id: sub, created_by: trusted.id },
  ])
  const [, ...events] = await eventsOf(trusted)
  assert.deepEqual(
    events.map(({ type, user_id, actor_id }) => [type, user_id, actor_id]),
    [
      ['upstream_account.linked', sub, agent.id],
      ['user.created', sub, agent.id],
    ],
  )
  const again = await granted(enter(await trusted.idToken({ ...claims, name: 'Another' })))
  assert.equal(again.sub, sub)
  assert.equal((await house.admin('GET', `/users/${sub}`)).body.name, 'Olu Adeyemi')
})

test('create: addresses of an issuer that is not believed are not taken, nor in anybody’s way', async () => {
  const trusted = await trust({ provisioning: 'create' })
  const token = await trusted.idToken(contacts({ email: TAKEN }))
  const { sub } = await granted(enter(token))
  const { body } = await house.admin('GET', `/users/${sub}`)
  assert.deepEqual([body.email, body.phone_number, body.name], [null, null, 'Olu Adeyemi'])
})

test('create: addresses that the issuer did not verify, or that are none, are not taken', async () => {
  const trusted = await trust({ provisioning: 'create', trust_contacts: true })
  for (const of of [
    { email_verified: false, phone_number_verified: false },
    { email_verified: undefined, phone_number_verified: undefined },
    { email_verified: 'true', phone_number_verified: 1 },
    { email: 'nobody', phone_number: '0815' },
    { email: ['a@b.example'], phone_number: null, name: 7 },
    { email: undefined, phone_number: undefined, name: '' },
  ]) {
    const { sub } = await granted(enter(await trusted.idToken(contacts(of))))
    const { body } = await house.admin('GET', `/users/${sub}`)
    assert.deepEqual([body.email, body.phone_number], [null, null], JSON.stringify(of))
    assert.deepEqual([body.email_verified_by, body.phone_verified_by], [null, null])
    assert.equal(body.name, 'name' in of ? null : 'Olu Adeyemi')
  }
})

test('create: claims are those that the registration names', async () => {
  const trusted = await trust({
    provisioning: 'create',
    trust_contacts: true,
    claim_mapping: { email: 'mail', email_verified: 'mail_ok', name: 'display' },
  })
  const mail = `${randomUUID()}@orbit.example`
  const claims = { ...contacts(), mail, mail_ok: true, display: 'O.' }
  const { sub } = await granted(enter(await trusted.idToken(claims)))
  const { body } = await house.admin('GET', `/users/${sub}`)
  assert.deepEqual([body.email, body.name], [mail, 'O.'])
})

test('create: nobody comes into an account by an address that another user has (TV-61)', async () => {
  const trusted = await trust({ provisioning: 'create', trust_contacts: true })
  const sub = randomUUID()
  for (const email of [TAKEN, TAKEN.toUpperCase()]) {
    const token = await trusted.idToken({ sub, ...contacts({ email }) })
    await assertRefusal(house, () => enter(token), UNKNOWN)
    assert.deepEqual(await usersWith(sub), [])
    assert.deepEqual(await linksOf(trusted), [])
  }
})

test('create: a user who is there by external id is linked, and left as they are', async () => {
  const trusted = await trust({ provisioning: 'create', trust_contacts: true })
  const emp = randomUUID()
  const other = await newUser(house, { external_id: emp, email_verified: false })
  const token = await trusted.idToken({ sub: emp, ...contacts() })
  assert.equal((await granted(enter(token))).sub, other.id)
  const { body } = await house.admin('GET', `/users/${other.id}`)
  assert.deepEqual([body.email, body.email_verified, body.name], [other.email, false, 'Kim'])
})

for (const provisioning of ['link', 'create']) {
  test(`${provisioning}: a sub of one issuer finds nobody whom another issuer’s made, until they are linked by hand`, async () => {
    const sub = '1001'
    const first = await trust({ provisioning: 'create' })
    const { sub: made } = await granted(enter(await first.idToken({ sub })))
    const second = await trust({ provisioning })
    const token = await second.idToken({ sub })
    await assertRefusal(house, () => enter(token), UNKNOWN)
    assert.deepEqual(await linksOf(second), [])
    await link(second, sub, made)
    assert.equal((await granted(enter(token))).sub, made)
    await house.admin('PATCH', `/users/${made}`, { external_id: null })
  })
}

test('create: who was deleted here is not made anew', async () => {
  const trusted = await trust({ provisioning: 'create' })
  const token = await trusted.idToken()
  const { sub } = await granted(enter(token))
  await house.admin('PATCH', `/users/${sub}`, { status: 'deleted' })
  await assertRefusal(house, () => enter(token), [400, 'invalid_grant', 'user_inactive'])
})

test('create: many exchanges of a new subject at once make one user and one link', async () => {
  const trusted = await trust({ provisioning: 'create', trust_contacts: true })
  for (let round = 0; round < 10; round += 1) {
    const claims = { sub: randomUUID(), ...contacts() }
    const answers = await Promise.all(
      Array.from({ length: 8 }, async () => granted(enter(await trusted.idToken(claims)))),
    )
    const [made, ...others] = await usersWith(claims.sub)
    assert.deepEqual(others, [])
    assert.deepEqual([...new Set(answers.map(({ sub }) => sub))], [made?.id])
    const links = (await linksOf(trusted)).filter(({ subject }) => subject === claims.sub)
    assert.equal(links.length, 1)
    const events = (await eventsOf(trusted)).filter(({ user_id }) => user_id === made?.id)
    assert.equal(events.length, 2)
  }
})

test('create: who is linked while they are being made keeps the link, and nobody else stays', async () => {
  const trusted = await trust({ provisioning: 'create' })
  const subject = randomUUID()
  let asked: Promise<Answer> | undefined
  await db.transaction().execute(async (tx) => {
    await tx
      .insertInto('upstream_accounts')
      .values({
        issuer: trusted.issuer,
        tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA',
        subject,
        user_id: user.id,
        created_at: house.clock.now,
        created_by: 'environment',
      })
      .execute()
    asked = enter(await trusted.idToken({ sub: subject }))
    await untilSomebodyWaits()
  })
  assert.equal((await granted(asked as Promise<Answer>)).sub, user.id)
  assert.deepEqual(await usersWith(subject), [])
})

test('whoever only repeats a client assertion makes no user, and links none', async () => {
  const trusted = await trust({ provisioning: 'create' })
  const assertion = await clientAssertion(house, agent)
  await granted(ask(await kimsToken(), { client_assertion: assertion }))
  const sub = randomUUID()
  const subject_token = await trusted.idToken({ sub })
  const answer = await enterWith({ subject_token, client_assertion: assertion })
  assert.equal(`${answer.status} ${answer.body.error}`, '401 invalid_client')
  assert.deepEqual(await usersWith(sub), [])

  // One that made a user is spent by that.
  const fresh = await clientAssertion(house, agent)
  await granted(enterWith({ subject_token, client_assertion: fresh }))
  const again = await enterWith({ subject_token, client_assertion: fresh })
  assert.equal(`${again.status} ${again.body.error}`, '401 invalid_client')
})
const enterWith = (fields: Form) => story.exchange({ audience: open.issuer, ...fields })

test('an actor token is spent also when its exchange made a user (TX-19)', async () => {
  const trusted = await trust({ provisioning: 'create' })
  const actor = await newAgent(house, story.owner)
  const pair = { agent_id: agent.id, actor_id: actor.id }
  assert.equal((await house.admin('POST', '/actor-permissions', pair)).status, 201)
  const actor_token = await clientAssertion(house, actor, {
    client_id: agent.client_id,
    header: { typ: 'actor-token+jwt' },
  })
  const acting = { actor_token, actor_token_type: TOKEN_TYPE.jwt }
  const { act } = await granted(enterWith({ subject_token: await trusted.idToken(), ...acting }))
  assert.deepEqual(act, { sub: actor.id, act: { sub: agent.id } })
  for (const subject_token of [await trusted.idToken(), await kimsToken()]) {
    const answer = await enterWith({ subject_token, ...acting })
    assert.equal(answer.body.error, 'invalid_grant', answer.text)
  }
})

// Consent.

test('a user is asked here, signs in here, and the ID token of the issuer is enough from then on', async () => {
  const trusted = await trust({ provisioning: 'link' })
  const emp = randomUUID()
  const other = await tellStory(house, { user: { external_id: emp } })
  const clients = [{ client_id: CLIENT, agent_ids: [other.agent.id] }]
  await house.admin('DELETE', `/trusted-issuers/${trusted.id}`)
  const anew = await trust({ provisioning: 'link', clients }, trusted)
  const subject_token = await anew.idToken({ sub: emp, exp: now() + 3600 })
  await other.signIn()
  const asked = await other.exchange({ subject_token })
  assert.equal(asked.body.error, 'interaction_required', asked.text)
  const path = new URL(asked.body.interaction_uri).pathname

  // Somebody else, who may be the one who started all this, finds nothing there.
  assert.equal((await story.browser.get(path)).status, 404)

  const visitor = browser(house)
  const page = await signIn(visitor, other.user, path)
  await visitor.submit(page, { decision: 'allow', mode: 'always', scope: 'docs.read' })
  const { sub } = await granted(other.exchange({ subject_token }))
  assert.equal(sub, other.user.id)
})

test('a user who was made may be asked too, once they can sign in here', async () => {
  const trusted = await trust({ provisioning: 'create' })
  const token = await trusted.idToken()
  const asked = await ask(token)
  assert.equal(asked.body.error, 'interaction_required', asked.text)
  assert.equal((await ask(token)).body.interaction_uri, asked.body.interaction_uri)
  const made = (await linksOf(trusted))[0]?.user_id
  const { body } = await house.admin('GET', `/delegations?user_id=${made}`)
  assert.deepEqual(body.data, [])
})

// Rule 3: commit order decides.

test('a mint that waits for the end of the trust finds it ended', async () => {
  const trusted = await trustKim()
  const token = await trusted.idToken({ sub: 'kim' })
  await granted(ask(token))
  const at = house.clock.now
  const { status, body } = await meanwhile(async (tx) => {
    await sql`update trusted_issuers set ended_at = ${at} where id = ${trusted.id}`.execute(tx)
  }, token)
  assert.equal(`${status} ${body.error}`, '400 invalid_grant')
})

test('a mint that waits for the end of the link finds it gone', async () => {
  const trusted = await trustKim()
  const token = await trusted.idToken({ sub: 'kim' })
  await granted(ask(token))
  const { status, body } = await meanwhile(async (tx) => {
    await sql`select from users where id = ${user.id} for update`.execute(tx)
    await sql`delete from upstream_accounts where issuer = ${trusted.issuer}`.execute(tx)
    await sql`update users set updated_at = updated_at where id = ${user.id}`.execute(tx)
  }, token)
  assert.equal(`${status} ${body.error}`, '400 invalid_grant')
})

/** Asks after something was changed and before that is committed: the request waits for the commit. */
async function meanwhile(change: (tx: Db) => Promise<void>, token: string): Promise<Answer> {
  let answer: Promise<Answer> | undefined
  await db.transaction().execute(async (tx) => {
    await change(tx)
    answer = ask(token)
    await untilSomebodyWaits()
  })
  return answer as Promise<Answer>
}

/** Until some statement of this database waits for a row lock. */
async function untilSomebodyWaits(): Promise<void> {
  for (;;) {
    const { rows } = await pool.query(
      `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (rows.length > 0) return
  }
}
