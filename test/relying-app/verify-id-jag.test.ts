// The vectors of ID-JAGs that a consumer sees, at both of Paperclip's endpoints.
import assert from 'node:assert/strict'
import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { compactVerify, decodeJwt, importJWK } from 'jose'
import type {
  IdentityEndpointContext,
  TokenEndpointContext,
} from '../../src/relying-app/verify-id-jag.ts'
import { refusalBody, trustIssuer, verifyIdJag } from '../../src/relying-app/verify-id-jag.ts'
import {
  API,
  accounts,
  asker,
  authMd,
  CLAIMS,
  CLOCK,
  es256,
  HEADER,
  idJag,
  jwsOf,
  KEY,
  ORBIT,
  ORBIT_NET,
  OTHER_API,
  PAPERCLIP,
  PROVIDER_DOCUMENT,
  ras,
  recognised,
  redeemed,
  refused,
  type Signer,
  TV_05,
  TV_06,
} from './paperclip.ts'

const STRANGER = 'https://id.stranger.example'
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const strangerSigns = es256(stranger.privateKey)
const strangersKey = stranger.publicKey.export({ format: 'jwk' })

/** `200`, or the error of the answer. */
type Answer = string
type Vector = {
  id: string
  what: string
  idJag: string
  /** Left out where the table gives no answer for that column. */
  ras?: Answer
  authMd?: Answer
  atRas?: Partial<TokenEndpointContext>
  atAuthMd?: Partial<IdentityEndpointContext>
}

const noSignature: Signer = () => Buffer.alloc(0)
const hmac =
  (secret: string | Buffer): Signer =>
  (input) =>
    createHmac('sha256', secret).update(input).digest()
const publicKey = createPublicKey({ key: KEY, format: 'jwk' })

/** The same token with one bit of one byte of its signature turned. */
function withFlippedByte(token: string): string {
  const end = token.lastIndexOf('.') + 1
  const signature = Buffer.from(token.slice(end), 'base64url')
  signature.writeUInt8(signature.readUInt8(17) ^ 1, 17)
  return token.slice(0, end) + signature.toString('base64url')
}

/** Orbit and a second provider, both trusted, each with its own key. */
const twoIssuers = () => [
  trustIssuer(ORBIT, asker()),
  trustIssuer(STRANGER, {
    jwksUri: `${STRANGER}/keys`,
    ...asker({ [`${STRANGER}/keys`]: { keys: [{ ...strangersKey, kid: 'strangers' }] } }),
  }),
]

const VECTORS: Vector[] = [
  { id: 'TV-05', what: 'as printed', idJag: TV_05, ras: '200', authMd: '200' },
  { id: 'TV-10', what: 'freshly signed', idJag: idJag(), ras: '200', authMd: '200' },
  {
    id: 'TV-11',
    what: 'typ JWT',
    idJag: idJag({}, { typ: 'JWT' }),
    ras: 'invalid_grant',
    authMd: 'invalid_request',
  },
  {
    id: 'TV-12',
    what: 'no typ',
    idJag: idJag({}, { typ: undefined }),
    ras: 'invalid_grant',
    authMd: 'invalid_request',
  },
  {
    id: 'TV-13',
    what: 'alg none, empty signature',
    idJag: idJag({}, { alg: 'none' }, noSignature),
    ras: 'invalid_grant',
    authMd: 'invalid_signature',
  },
  ...[
    publicKey.export({ format: 'pem', type: 'spki' }),
    publicKey.export({ format: 'der', type: 'spki' }),
    JSON.stringify(KEY),
    Buffer.from(KEY.x, 'base64url'),
  ].map((secret, at) => ({
    id: 'TV-13',
    what: `HS256 with the public key as secret, spelling ${at + 1}`,
    idJag: idJag({}, { alg: 'HS256' }, hmac(secret)),
    ras: 'invalid_grant',
    authMd: 'invalid_signature',
  })),
  {
    id: 'TV-14',
    what: 'a flipped byte in the signature',
    idJag: withFlippedByte(TV_05),
    ras: 'invalid_grant',
    authMd: 'invalid_signature',
  },
  {
    id: 'TV-14',
    what: 'an unknown kid',
    idJag: idJag({}, { kid: 'unknown' }),
    ras: 'invalid_grant',
    authMd: 'invalid_signature',
  },
  {
    id: 'TV-14',
    what: 'no kid',
    idJag: idJag({}, { kid: undefined }),
    ras: 'invalid_grant',
    authMd: 'invalid_signature',
  },
  ...['strangers', KEY.kid].map((kid) => ({
    id: 'TV-15',
    what: `signed by another trusted issuer, kid ${kid}`,
    idJag: idJag({}, { kid }, strangerSigns),
    ras: 'invalid_grant',
    authMd: 'invalid_signature',
    atRas: { issuers: twoIssuers() },
    atAuthMd: { issuers: twoIssuers() },
  })),
  ...[STRANGER, '', undefined, null, [ORBIT]].map((iss) => ({
    id: 'TV-16',
    what: `iss ${JSON.stringify(iss)}`,
    idJag: idJag({ iss }),
    ras: 'invalid_grant',
    authMd: 'invalid_issuer',
  })),
  {
    id: 'TV-17',
    what: 'iss with a trailing slash',
    idJag: idJag({ iss: `${ORBIT}/` }),
    ras: 'invalid_grant',
    authMd: 'invalid_issuer',
  },
  {
    id: 'TV-18',
    what: 'aud of another host',
    idJag: idJag({ aud: 'https://auth.scissors.example' }),
    ras: 'invalid_grant',
    authMd: 'invalid_audience',
  },
  ...[
    `${PAPERCLIP}/`,
    `${PAPERCLIP}.evil`,
    PAPERCLIP.slice(0, -1),
    `${PAPERCLIP}:443`,
    PAPERCLIP.toUpperCase(),
    'auth.paperclip.example',
    [`${PAPERCLIP}/`],
    [[PAPERCLIP]],
    [],
    { 0: PAPERCLIP, length: 1 },
    undefined,
  ].map((aud) => ({
    id: 'TV-19',
    what: `aud ${JSON.stringify(aud)}`,
    idJag: idJag({ aud }),
    ras: 'invalid_grant',
    authMd: 'invalid_audience',
  })),
  {
    id: 'TV-20',
    what: 'aud an array of one',
    idJag: idJag({ aud: [PAPERCLIP] }),
    ras: '200',
    authMd: '200',
  },
  {
    // The library of the reference service takes it; nothing obliges us to.
    id: 'TV-21',
    what: 'aud an array of two, the own issuer among them',
    idJag: idJag({ aud: [PAPERCLIP, 'https://auth.scissors.example'] }),
    ras: 'invalid_grant',
    authMd: 'invalid_audience',
  },
  {
    id: 'TV-22',
    what: 'expired 61 seconds ago',
    idJag: idJag({ iat: CLOCK - 361, exp: CLOCK - 61 }),
    ras: 'invalid_grant',
    authMd: 'expired',
  },
  {
    id: 'TV-23',
    what: 'expired 30 seconds ago, inside the skew',
    idJag: idJag({ iat: CLOCK - 330, exp: CLOCK - 30 }),
    ras: '200',
    authMd: '200',
  },
  {
    id: 'TV-24',
    what: 'issued in two minutes',
    idJag: idJag({ iat: CLOCK + 120 }),
    ras: 'invalid_grant',
    authMd: 'invalid_request',
  },
  {
    id: 'TV-25',
    what: 'lives an hour',
    idJag: idJag({ exp: CLAIMS.iat + 3600 }),
    ras: 'invalid_grant',
    authMd: '200',
  },
  ...['jti', 'sub'].flatMap((name) =>
    [undefined, '', 1].map((value) => ({
      id: 'TV-26',
      what: `${name} ${JSON.stringify(value) ?? 'missing'}`,
      idJag: idJag({ [name]: value }),
      ras: 'invalid_grant',
      authMd: 'invalid_request',
    })),
  ),
  {
    id: 'TV-28',
    what: 'client_id of another client',
    idJag: idJag(),
    ras: 'invalid_grant',
    atRas: { client: { id: 'another' } },
  },
  {
    id: 'TV-29',
    what: 'client_id whose document has another jwks_uri',
    idJag: idJag(),
    authMd: 'invalid_client_id',
    atAuthMd: {
      fetchClientDocument: async () => ({ ...PROVIDER_DOCUMENT, jwks_uri: `${ORBIT}/keys` }),
    },
  },
  {
    id: 'TV-30',
    what: 'no auth_time',
    idJag: idJag({ auth_time: undefined }),
    ras: '200',
    authMd: 'login_required',
  },
  {
    id: 'TV-31',
    what: 'auth_time 3661 seconds ago',
    idJag: idJag({ auth_time: CLOCK - 3661 }),
    ras: '200',
    authMd: 'login_required',
  },
  {
    id: 'TV-32',
    what: 'auth_time 3630 seconds ago, inside the skew',
    idJag: idJag({ auth_time: CLOCK - 3630 }),
    ras: '200',
    authMd: '200',
  },
  {
    id: 'TV-33',
    what: 'auth_time in 61 seconds',
    idJag: idJag({ auth_time: CLOCK + 61 }),
    ras: 'invalid_grant',
    authMd: 'login_required',
  },
  {
    id: 'TV-34',
    what: 'auth_time as a string',
    idJag: idJag({ auth_time: String(CLAIMS.auth_time) }),
    ras: 'invalid_grant',
    authMd: 'login_required',
  },
  ...['true', undefined, false, 1].map((email_verified) => ({
    id: 'TV-35',
    what: `email_verified ${JSON.stringify(email_verified) ?? 'missing'}, no phone`,
    idJag: idJag({ email_verified }),
    ras: '200',
    authMd: 'missing_verified_email',
  })),
  {
    id: 'TV-36',
    what: 'a verified phone and no e-mail',
    idJag: idJag({
      email: undefined,
      email_verified: undefined,
      phone_number: '+15550100',
      phone_number_verified: true,
    }),
    ras: '200',
    authMd: '200',
  },
  {
    id: 'TV-37',
    what: 'the e-mail of a local account that is not linked',
    idJag: idJag({ email: 'Kim@Orbit.example' }),
    authMd: 'interaction_required',
    atAuthMd: {
      accounts: accounts({
        findByContact: async ({ email }) => (email === 'kim@orbit.example' ? 'acc_1' : undefined),
      }),
    },
  },
  {
    id: 'TV-38',
    what: 'cnf.jkt and no proof',
    idJag: idJag({ cnf: { jkt: KEY.kid } }),
    ras: 'invalid_grant',
    authMd: '200',
  },
  {
    id: 'TV-39',
    what: 'cnf.jkt and a proof by another key',
    idJag: idJag({ cnf: { jkt: KEY.kid } }),
    ras: 'invalid_grant',
    atRas: { proof: { jkt: 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs' } },
  },
  {
    id: 'TV-40',
    what: 'asked for another scope than it has',
    idJag: idJag({ scope: 'docs.read' }),
    ras: 'invalid_scope',
    atRas: { asked: { scope: 'docs.write' } },
  },
  {
    id: 'TV-41',
    what: 'asked for another resource than it has',
    idJag: idJag({ resource: API }),
    ras: 'invalid_target',
    atRas: { asked: { resource: [OTHER_API] } },
  },
  ...[{ jwk: strangersKey }, { jku: `${STRANGER}/keys` }, { x5u: `${STRANGER}/cert` }].flatMap(
    (pointer) =>
      [KEY.kid, 'strangers'].map((kid) => ({
        id: 'TV-42',
        what: `${Object.keys(pointer)} of the signer's own key, kid ${kid}`,
        idJag: idJag({}, { ...pointer, kid }, strangerSigns),
        ras: 'invalid_grant',
        authMd: 'invalid_signature',
      })),
  ),
  {
    id: 'TV-43',
    what: 'unknown claims',
    idJag: idJag({ 'https://orbit.example/team': ['blue'], constructor: 1, agent_platform: 'x' }),
    ras: '200',
    authMd: '200',
  },
]

for (const { id, what, idJag, ras: atRas, authMd: atAuthMd, ...contexts } of VECTORS) {
  for (const profile of ['idjag', 'mcp-ema'] as const) {
    if (atRas === undefined) continue
    test(`${id} at the token endpoint (${profile}): ${what}: ${atRas}`, async () => {
      const verdict = await verifyIdJag(idJag, ras({ profile, ...contexts.atRas }))
      assert.deepEqual(answerOf(verdict), [atRas, atRas === '200' ? 200 : 400])
    })
  }
  if (atAuthMd === undefined) continue
  test(`${id} at the auth.md service: ${what}: ${atAuthMd}`, async () => {
    const verdict = await verifyIdJag(idJag, authMd(contexts.atAuthMd))
    const is401 = ['login_required', 'interaction_required'].includes(atAuthMd)
    assert.deepEqual(answerOf(verdict), [atAuthMd, atAuthMd === '200' ? 200 : is401 ? 401 : 400])
  })
}

test('TV-05, TV-10: what was believed is told, letter by letter', async () => {
  const { ok: _, ...token } = await redeemed(TV_05)
  assert.deepEqual(token, { header: HEADER, claims: CLAIMS, scopes: [], resources: [API] })
  const { ok: __, ...identity } = await recognised(TV_05)
  const contact = { email: 'kim@orbit.example' }
  assert.deepEqual(identity, { header: HEADER, claims: CLAIMS, contact, account: undefined })
})

test('TV-05 verifies with a clock at its iat', async () => {
  const now = () => new Date(CLAIMS.iat * 1000)
  await redeemed(TV_05, ras({ now }))
  await recognised(TV_05, authMd({ now }))
})

test('TV-27: presented twice, the second is refused; so do we for idjag, where one MAY', async () => {
  for (const profile of ['idjag', 'mcp-ema'] as const) {
    const context = ras({ profile })
    await redeemed(TV_05, context)
    const again = await refused(TV_05, context)
    assert.deepEqual([again.status, again.error], [400, 'invalid_grant'])
    // The jti counts, whatever else was signed anew.
    assert.equal((await refused(idJag({ exp: CLAIMS.exp - 1 }), context)).error, 'invalid_grant')
    await redeemed(idJag({ jti: 'another' }), context)
  }
  const context = authMd()
  await recognised(TV_05, context)
  const again = await refused(TV_05, context)
  assert.deepEqual([again.status, again.error], [400, 'replay_detected'])
})

test('TV-27: of many that come at once, one is accepted', async () => {
  for (const context of [ras(), authMd()]) {
    const verdicts = await Promise.all(
      Array.from({ length: 20 }, () =>
        context.profile === 'authmd' ? verifyIdJag(TV_05, context) : verifyIdJag(TV_05, context),
      ),
    )
    assert.equal(verdicts.filter(({ ok }) => ok).length, 1)
  }
})

test('TV-28: client_id is a text and the whole of it', async () => {
  for (const client_id of [undefined, '', [CLAIMS.client_id], `${CLAIMS.client_id}/`, {}]) {
    const { error } = await refused(idJag({ client_id }), ras())
    assert.equal(error, 'invalid_grant', JSON.stringify(client_id))
  }
})

test('TV-30: login_required tells how recent, in a header too (IJ-70)', async () => {
  const without = idJag({ auth_time: undefined })
  for (const [context, maxAge] of [
    [authMd(), 3600],
    [authMd({ maxAge: 900 }), 900],
  ] as const) {
    const refusal = await refused(without, context)
    const description = 'The user has to sign in again'
    assert.deepEqual(refusalBody(refusal), {
      error: 'login_required',
      error_description: description,
      max_age: maxAge,
    })
    assert.deepEqual(refusal.headers, {
      'www-authenticate': `AgentAuth error="login_required", max_age="${maxAge}", error_description="${description}"`,
    })
  }
})

test('TV-31: a service may ask for a more recent sign-in', async () => {
  const short = () => authMd({ maxAge: 900 })
  await recognised(idJag({ auth_time: CLOCK - 960 }), short())
  assert.equal((await refused(idJag({ auth_time: CLOCK - 961 }), short())).error, 'login_required')
})

test('TV-38, TV-39: a bound ID-JAG is good with a proof by its key, and with that alone (IJ-55)', async () => {
  const proof = { jkt: KEY.kid }
  await redeemed(idJag({ cnf: { jkt: KEY.kid } }), ras({ proof }))
  await redeemed(idJag({ cnf: { jkt: KEY.kid } }), ras({ proof, requiresBinding: true }))
  // A confirmation that is not understood is not confirmed.
  const strange = [
    {},
    { jwk: strangersKey },
    { jkt: KEY.kid, 'x5t#S256': 'x' },
    { kid: KEY.kid },
    null,
    KEY.kid,
    [],
    { jkt: [KEY.kid] },
    { jkt: null },
  ]
  for (const cnf of strange) {
    const { error } = await refused(idJag({ cnf }), ras({ proof }))
    assert.equal(error, 'invalid_grant', JSON.stringify(cnf))
  }
})

test('IJ-55: where binding is required, an ID-JAG without cnf is refused, with or without a proof', async () => {
  for (const proof of [undefined, { jkt: KEY.kid }]) {
    const { error } = await refused(TV_05, ras({ proof, requiresBinding: true }))
    assert.equal(error, 'invalid_grant')
    await redeemed(TV_05, ras({ proof }))
  }
})

test('TV-42: nothing that a header points at is asked for, and a right signature needs no pointer', async () => {
  const jku = `${STRANGER}/keys`
  const net = { ...ORBIT_NET, [jku]: { keys: [{ ...strangersKey, kid: 'strangers' }] } }
  for (const context of [ras, authMd]) {
    const { ask, asked } = asker(net)
    const issuers = [trustIssuer(ORBIT, { ask })]
    const pointing = idJag({}, { jku, x5u: jku, kid: 'strangers' }, strangerSigns)
    await refused(pointing, context({ issuers }))
    assert.deepEqual(new Set(asked), new Set(Object.keys(ORBIT_NET)))
  }
  await redeemed(idJag({}, { jku, jwk: strangersKey }))
})

test('TV-06: a revocation, rightly signed and for this app, is no ID-JAG', async () => {
  await compactVerify(TV_06, await importJWK(KEY, 'ES256'))
  const { jti, ...revocation } = decodeJwt(TV_06)
  const now = () => new Date((CLOCK + 200) * 1000)
  assert.equal(
    (await refused(TV_06, ras({ now }))).error_description,
    'The assertion is not typed as an ID-JAG',
  )
  assert.equal((await refused(TV_06, authMd({ now }))).error, 'invalid_request')
  // Nor is one that says so of itself: it has no end.
  const dressed = jwsOf(JSON.stringify(HEADER), JSON.stringify({ ...revocation, jti }))
  assert.equal((await refused(dressed, ras({ now }))).error, 'invalid_grant')
  assert.equal((await refused(dressed, authMd({ now }))).error, 'expired')
})

const { act } = fc.letrec<{ act: { sub: string; act?: unknown } }>((tie) => ({
  act: fc.record(
    {
      sub: fc.constantFrom('agt_1', 'agt_evil', CLAIMS.sub, CLAIMS.client_id),
      iss: fc.constantFrom(ORBIT, STRANGER),
      scope: fc.constant('docs.read admin'),
      client_id: fc.constantFrom(CLAIMS.client_id, 'other'),
      act: tie('act'),
    },
    { requiredKeys: ['sub'] },
  ),
}))

test('whoever acts, and for whomever, an ID-JAG is good for the same (IJ-13)', async () => {
  const rights = async (claims: object) => {
    const { scopes, resources } = await redeemed(idJag({ scope: 'docs.read', ...claims }))
    return { scopes, resources }
  }
  const without = await rights({})
  await fc.assert(
    fc.asyncProperty(act, async (actor) => {
      assert.deepEqual(await rights({ act: actor }), without)
      await recognised(idJag({ act: actor }))
      const expired = { act: actor, iat: CLOCK - 500, exp: CLOCK - 200 }
      assert.equal((await refused(idJag(expired), ras())).error, 'invalid_grant')
    }),
    { numRuns: 30 },
  )
})

test('a claim or header that can be read in two ways is refused, however well signed', async () => {
  const header = JSON.stringify(HEADER)
  const payload = JSON.stringify(CLAIMS)
  const ambiguous = [
    jwsOf(header, payload.replace('{', '{"aud":"https://auth.scissors.example",')),
    jwsOf(header, payload.replace('{', '{"\\u0061ud":"https://auth.scissors.example",')),
    jwsOf(header, payload.replace('{', '{"act":{"sub":"a","sub":"b"},')),
    jwsOf(header, payload.replace('{', '{"__proto__":{},')),
    jwsOf(header, payload.replace('p_4kD9', 'p_4kD9\\u0000')),
    jwsOf(header, payload.replace('p_4kD9', 'p_4kD9\\ud800')),
    jwsOf(header.replace('{', '{"typ":"JWT",'), payload),
    idJag({}, { crit: ['exp'], exp: 1 }),
    idJag({}, { b64: true }),
    idJag({}, { zip: 'DEF' }),
    `${idJag()}.`,
    ` ${idJag()}`,
    `${idJag()}=`,
    idJag().replaceAll('.', '..'),
    idJag({ padding: 'x'.repeat(16 * 1024) }),
  ]
  for (const token of ambiguous) {
    assert.equal((await refused(token, ras())).error_description, 'The assertion is not a JWT')
    assert.equal((await refused(token, authMd())).error, 'invalid_issuer')
  }
})

/** `200` or the error, and the status. */
function answerOf(verdict: Awaited<ReturnType<typeof verifyIdJag>> | { ok: true }) {
  return verdict.ok ? ['200', 200] : [verdict.error, verdict.status]
}
