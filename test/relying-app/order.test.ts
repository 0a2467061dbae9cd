// Of two faults the earlier step answers: each pair, at both endpoints. A fault says how the ID-JAG is made
// otherwise, how the app stands otherwise, and the answer to it alone.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import type {
  IdentityEndpointContext,
  Refusal,
  TokenEndpointContext,
} from '../../src/relying-app/verify-id-jag.ts'
import {
  accounts,
  authMd,
  CLAIMS,
  CLOCK,
  es256,
  idJag,
  orbitSigns,
  PROVIDER_DOCUMENT,
  ras,
  refused,
  type Signer,
} from './paperclip.ts'

type Fault<Context> = {
  step: string
  answer: [status: number, error: string, description: string]
  claims?: Record<string, unknown>
  header?: Record<string, unknown>
  signer?: Signer
  /** Instead of an ID-JAG. */
  text?: unknown
  context?: Partial<Context>
}

const strangerSigns = es256(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
const used = { firstUse: async () => false }
const invalidGrant = (description: string): [number, string, string] => [
  400,
  'invalid_grant',
  description,
]

const AT_TOKEN_ENDPOINT: Fault<TokenEndpointContext>[] = [
  {
    step: 'IJ-50 the client',
    context: { client: undefined },
    answer: [401, 'invalid_client', 'The client did not authenticate'],
  },
  {
    step: 'an assertion',
    text: '',
    answer: [400, 'invalid_request', 'The assertion is missing'],
  },
  { step: 'a JWT', text: 'x.y.z', answer: invalidGrant('The assertion is not a JWT') },
  {
    step: 'IJ-51 the issuer',
    claims: { iss: 'https://id.stranger.example' },
    answer: invalidGrant('The assertion is of an issuer that is not trusted here'),
  },
  {
    step: 'IJ-52 typ',
    header: { typ: 'JWT' },
    answer: invalidGrant('The assertion is not typed as an ID-JAG'),
  },
  {
    step: 'IJ-52 the signature',
    signer: strangerSigns,
    answer: invalidGrant('The assertion is not signed by its issuer'),
  },
  {
    step: 'IJ-52 exp',
    claims: { exp: CLOCK - 60 },
    answer: invalidGrant('The assertion has expired'),
  },
  {
    step: 'IJ-52 iat',
    claims: { iat: CLOCK + 61 },
    answer: invalidGrant('The assertion is from the future'),
  },
  {
    // Not by exp: that would undo the fault of another.
    step: 'the life',
    claims: { iat: CLOCK - 361 },
    answer: invalidGrant('The assertion lives too long'),
  },
  {
    step: 'IJ-52 nbf',
    claims: { nbf: CLOCK + 61 },
    answer: invalidGrant('The assertion speaks of the future'),
  },
  {
    step: 'TV-26 jti',
    claims: { jti: undefined },
    answer: invalidGrant('The assertion lacks jti or sub'),
  },
  {
    step: 'IJ-53 aud',
    claims: { aud: 'https://auth.scissors.example' },
    answer: invalidGrant('The assertion is for another audience'),
  },
  {
    step: 'IJ-54 client_id',
    claims: { client_id: 'another' },
    answer: invalidGrant('The assertion is for another client'),
  },
  {
    step: 'IJ-55 cnf',
    claims: { cnf: { jkt: 'x' } },
    answer: invalidGrant('The assertion is bound to a key and no proof came'),
  },
  {
    step: 'IJ-56 replay',
    context: { replay: used },
    answer: invalidGrant('The assertion was presented before'),
  },
  {
    step: 'IJ-57 resource',
    claims: { resource: 'https://api.scissors.example/' },
    answer: invalidGrant('The assertion is for no resource of this server'),
  },
  {
    step: 'IJ-57 scope',
    context: { asked: { scope: 'docs.write' } },
    answer: [400, 'invalid_scope', 'The assertion has none of the scopes that were asked for'],
  },
  {
    step: 'IJ-58 entitlement',
    context: { isEntitled: async () => false },
    answer: [400, 'access_denied', 'The user has no access here'],
  },
]

const AT_IDENTITY_ENDPOINT: Fault<IdentityEndpointContext>[] = [
  {
    step: '1 assertion_type',
    context: { assertionType: 'urn:ietf:params:oauth:token-type:jwt' },
    answer: [400, 'invalid_request', 'Send an ID-JAG as assertion and its URN as assertion_type'],
  },
  {
    step: '2 the JWT',
    text: 'x.y.z',
    answer: [400, 'invalid_issuer', 'The provider is not trusted here'],
  },
  {
    step: '2 the issuer',
    claims: { iss: 'https://id.stranger.example' },
    answer: [400, 'invalid_issuer', 'The provider is not trusted here'],
  },
  {
    step: '3 typ',
    header: { typ: 'JWT' },
    answer: [400, 'invalid_request', 'The assertion is not typed as an ID-JAG'],
  },
  {
    step: '4 the signature',
    signer: strangerSigns,
    answer: [400, 'invalid_signature', 'The assertion is not signed by its issuer'],
  },
  {
    step: '5 aud',
    claims: { aud: 'https://auth.scissors.example' },
    answer: [400, 'invalid_audience', 'The assertion is for another service'],
  },
  {
    step: '6 exp',
    claims: { exp: CLOCK - 60 },
    answer: [400, 'expired', 'The assertion has expired'],
  },
  {
    step: '6 iat',
    claims: { iat: CLOCK + 61 },
    answer: [400, 'invalid_request', 'The assertion is from the future'],
  },
  {
    step: '6 nbf',
    claims: { nbf: CLOCK + 61 },
    answer: [400, 'invalid_request', 'The assertion is from the future'],
  },
  {
    step: '7 sub',
    claims: { sub: undefined },
    answer: [400, 'invalid_request', 'The assertion lacks jti or sub'],
  },
  {
    step: '8 auth_time',
    claims: { auth_time: CLOCK - 3661 },
    answer: [401, 'login_required', 'The user has to sign in again'],
  },
  {
    step: '9 replay',
    context: { replay: used },
    answer: [400, 'replay_detected', 'The assertion was presented before'],
  },
  {
    step: '10 the contact',
    claims: { email_verified: false },
    answer: [400, 'missing_verified_email', 'There is no verified contact'],
  },
  {
    step: '11 client_id',
    context: { fetchClientDocument: async () => undefined },
    answer: [400, 'invalid_client_id', 'client_id is not a document of the provider'],
  },
  {
    step: '13 an account of that contact',
    context: { accounts: accounts({ findByContact: async () => 'acc_1' }) },
    answer: [401, 'interaction_required', 'The user has to confirm this at the service'],
  },
]

/** An ID-JAG and an app with these faults; of two that change the same thing the earlier stands. */
function withFaults<Context>(...faults: Fault<Context>[]) {
  const merged = faults.toReversed()
  const text = faults.find((fault) => 'text' in fault)
  const made = idJag(
    Object.assign({}, ...merged.map(({ claims }) => claims)),
    Object.assign({}, ...merged.map(({ header }) => header)),
    faults.find(({ signer }) => signer)?.signer ?? orbitSigns,
  )
  const context: Partial<Context> = Object.assign({}, ...merged.map((fault) => fault.context))
  return { token: text ? text.text : made, context }
}

const answerOf = ({ status, error, error_description }: Refusal) => [
  status,
  error,
  error_description,
]

for (const [at, first] of AT_TOKEN_ENDPOINT.entries()) {
  test(`at the token endpoint ${first.step} is judged before all that follows`, async () => {
    for (const second of [first, ...AT_TOKEN_ENDPOINT.slice(at + 1)]) {
      for (const profile of ['idjag', 'mcp-ema'] as const) {
        const { token, context } = withFaults(first, second)
        const refusal = await refused(token, ras({ profile, ...context }))
        assert.deepEqual(answerOf(refusal), first.answer, `before ${second.step}`)
      }
    }
  })
}

for (const [at, first] of AT_IDENTITY_ENDPOINT.entries()) {
  test(`at the auth.md service step ${first.step} is judged before all that follows (IJ-73)`, async () => {
    for (const second of [first, ...AT_IDENTITY_ENDPOINT.slice(at + 1)]) {
      const { token, context } = withFaults(first, second)
      const refusal = await refused(token, authMd(context))
      assert.deepEqual(answerOf(refusal), first.answer, `before ${second.step}`)
      const { message } = refusal.members
      const isLogin = first.answer[1] === 'login_required'
      assert.equal(message, isLogin ? undefined : first.answer[2], 'auth.md calls it message')
    }
  })
}

test('a token that was not for this app, or not right, uses up no jti', async () => {
  const uses: unknown[] = []
  const replay = {
    firstUse: async (...use: unknown[]) => {
      uses.push(use)
      return true
    },
  }
  for (const { claims, header, signer, text, answer, step } of AT_TOKEN_ENDPOINT) {
    if (step.startsWith('IJ-57') || !(claims || header || signer || text !== undefined)) continue
    const { token } = withFaults({
      step,
      answer,
      claims,
      header,
      signer,
      ...(text !== undefined && { text }),
    } as Fault<TokenEndpointContext>)
    await refused(token, ras({ replay }))
  }
  assert.deepEqual(uses, [])
  await refused(idJag({ resource: 'https://api.scissors.example/' }), ras({ replay }))
  await refused(idJag({ email_verified: false }), authMd({ replay }))
  const use = [
    { iss: CLAIMS.iss, jti: CLAIMS.jti },
    { until: CLAIMS.exp + 60, now: CLOCK },
  ]
  assert.deepEqual(
    uses.map((one) => {
      const [{ iss, jti }, when] = one as [typeof CLAIMS, object]
      return [{ iss, jti }, when]
    }),
    [use, use],
  )
})

test('no document and no account is asked for before all else was found right', async () => {
  const asked: string[] = []
  const context = () =>
    authMd({
      fetchClientDocument: async (url) => {
        asked.push(url)
        return PROVIDER_DOCUMENT
      },
      accounts: accounts({
        findLinked: async () => {
          asked.push('accounts')
          return undefined
        },
      }),
    })
  for (const { claims, header, signer } of AT_IDENTITY_ENDPOINT) {
    if (claims || header || signer) await refused(idJag(claims, header, signer), context())
  }
  assert.deepEqual(asked, [])
})
