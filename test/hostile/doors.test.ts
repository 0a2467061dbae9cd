// The other doors where clients come: with any token, any proof and any body.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { attack } from '../support/fuzz.ts'
import { anyBytes, ofBytes } from '../support/hostile-bytes.ts'
import { assertNoSecret, assertNothingDone, assertPlainHeaders } from '../support/hostile-judge.ts'
import { oddJson, oddText, oddValue } from '../support/hostile-text.ts'
import { anyToken, goodToken, mintToken, type TokenCase } from '../support/hostile-tokens.ts'
import { openWorld } from '../support/hostile-world.ts'
import type { Answer, Ask } from '../support/house.ts'

const world = await openWorld({ after })
const { house, changes, mint, issued, parties } = world
const strangers = await parties.stranger.delegate()
await changes.take()

const PRINTABLE = /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/

/** That it is an answer, or an error as this door words it, and that a refusal did nothing. */
async function judge(request: Ask, sent: string[], issues: readonly string[]): Promise<Answer> {
  await changes.take()
  const answer = await house.inject(request)
  const { status, body, text, headers } = answer
  const written = await changes.take()
  const told = `${request.method} ${request.url}: ${status} ${text}`
  assert.ok(status < 500, told)
  assertPlainHeaders(answer)
  assertNoSecret(world, answer, sent)
  if (status >= 400) {
    assertNothingDone(written)
    // What the router cannot read is nobody's path.
    const isNowhere = body?.type === '/problems/not_found'
    const mayBeBare = isNowhere || request.method === 'HEAD' || headers['www-authenticate']
    if (!mayBeBare) assert.match(body.error, /^[a-z_]+$/, told)
    if (body?.error !== undefined) assert.match(body.error_description, PRINTABLE, told)
    assert.equal(headers['cache-control'], 'no-store', told)
  } else {
    const unexpected = written.filter(
      ({ table }) => !['audit_events', 'spent_assertions', ...issues].includes(table),
    )
    assert.deepEqual(unexpected, [], told)
  }
  await world.renew(written)
  return answer
}

type Call = {
  scheme: string
  token: TokenCase
  proof: TokenCase | 'good' | 'twice' | undefined
  headers: Record<string, string>
}
const often = <One>(usual: fc.Arbitrary<One>, other: fc.Arbitrary<One>) =>
  fc.oneof({ weight: 2, arbitrary: usual }, { weight: 1, arbitrary: other })

const anyCall: fc.Arbitrary<Call> = fc.record({
  scheme: often(
    fc.constantFrom('Bearer', 'DPoP'),
    fc.constantFrom('bearer', 'Basic', '', 'Bearer Bearer', 'DPoP\t', 'Bearer,'),
  ),
  token: often<TokenCase>(
    fc.record({ issued: fc.constantFrom('secret access_token', 'bound access_token') }),
    anyToken(mint, issued, 'an access token'),
  ),
  proof: often<Call['proof']>(
    fc.constantFrom('good' as const, undefined),
    fc.oneof(fc.constant('twice' as const), anyToken(mint, issued, 'a DPoP proof')),
  ),
  headers: often(
    fc.constant({}),
    fc.record(
      {
        'content-type': fc.constantFrom('text/plain', '', 'application/json; charset=x', 'x'),
        dpop: oddText,
        accept: oddText,
        'x-forwarded-for': fc.constantFrom('\0', '::::'),
      },
      { requiredKeys: [] },
    ),
  ),
})

/** A request with that token, and a proof that was made for it. */
async function carry(
  { scheme, token, proof, headers }: Call,
  method: string,
  path: string,
): Promise<{ headers: Record<string, string | string[]>; sent: string[] }> {
  const access = await mintToken(mint, token)
  const ofRequest = {
    htm: method,
    htu: `${house.config.issuer}${path}`,
    ath: createHash('sha256').update(access).digest('base64url'),
  }
  const good = await goodToken(mint, 'a DPoP proof', ofRequest)
  const dpop = proof === 'good' ? good : proof === 'twice' ? [good, good] : undefined
  const forged = typeof proof === 'object' ? await mintToken(mint, proof) : undefined
  const proofs = dpop ?? forged
  return {
    headers: {
      authorization: `${scheme} ${access}`,
      ...(proofs !== undefined && { dpop: proofs }),
      ...headers,
    },
    sent: [access, good],
  }
}

test('userinfo: any token, any proof, in any place', async () => {
  let opened = 0
  await attack(
    fc.record({ call: anyCall, method: fc.constantFrom('GET', 'POST'), inBody: fc.nat(3) }),
    async ({ call, method, inBody }) => {
      const path = '/oauth2/userinfo'
      const { headers, sent } = await carry(call, method, path)
      const form = { 'content-type': 'application/x-www-form-urlencoded', ...headers }
      const payload =
        inBody === 0 ? new URLSearchParams({ access_token: sent[0] ?? '' }) : undefined
      const request = payload
        ? { headers: { ...form, ...(call.proof && headers) }, payload: String(payload) }
        : { headers }
      const { status } = await judge({ method: method as 'GET', url: path, ...request }, sent, [])
      if (status === 200) opened += 1
    },
    0.3,
  )
  assert.ok(opened > 0, 'nobody got in')
})

const MEMBERS = [
  ...['audience', 'resource', 'scope', 'authorization_details', 'actor_token', 'actor_token_type'],
  ...[
    'agent_platform',
    'agent_context_id',
    'mode',
    'subject_token',
    '__proto__',
    'constructor',
    '',
  ],
]
const known = fc.constantFrom<unknown>(
  ...Object.values(parties.audiences),
  ...['docs.read', 'docs.read docs.write', 'https://api.paperclip.example/', 'once', 'always'],
  [{ type: 'payment', actions: ['initiate'] }],
  ['https://api.paperclip.example/', 'https://files.paperclip.example/'],
  'urn:ietf:params:oauth:token-type:jwt',
)
const anyMember = fc.oneof(known, oddValue, oddJson)
const anyBody = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .array(fc.tuple(fc.constantFrom(...MEMBERS), anyMember), { maxLength: 4 })
      .map((members) =>
        JSON.stringify({
          audience: parties.story.audience.issuer,
          scope: 'docs.read',
          ...Object.fromEntries(members),
        }),
      ),
  },
  { weight: 1, arbitrary: oddJson },
  { weight: 1, arbitrary: oddText },
)
const ISSUES = ['issuances', 'delegations', 'pairwise_subjects', 'interactions']

test('the calls of the auth.md provider guide: any token, any proof, any body (TX-63)', async () => {
  const statuses = new Set<number>()
  await attack(
    fc.record({
      call: anyCall,
      door: fc.constantFrom('POST /id-jag', 'POST /grants', 'GET /grants', 'DELETE /grants/'),
      id: fc.oneof(
        fc.constantFrom(strangers.id, `dlg_${'x'.repeat(22)}`, '%00', '%ff', '%', 'x'.repeat(600)),
        // Dots would be another path before they are sent.
        oddText.map((text) => encodeURIComponent(text.toWellFormed()).replace(/^\.+$/, '%2e')),
      ),
      body: anyBody,
    }),
    async ({ call, door, id, body }) => {
      const [method = '', base = ''] = door.split(' ')
      const path = method === 'DELETE' ? `${base}${id}` : base
      const { headers, sent } = await carry(call, method, path)
      const request = {
        method: method as 'POST',
        url: path,
        headers: { 'content-type': 'application/json', ...headers },
        ...(method === 'POST' && { payload: body }),
      }
      const { status } = await judge(request, sent, ISSUES)
      statuses.add(status)
      assert.ok(method !== 'DELETE' || status >= 400, 'a grant of somebody else was given up')
    },
    0.5,
  )
  for (const status of [200, 400, 401]) assert.ok(statuses.has(status), `nobody was told ${status}`)
})

test('the revocation endpoint: any client, any token', async () => {
  await attack(
    fc.record({
      as: fc.constantFrom('secret' as const, 'basic' as const, 'keyed' as const, 'open' as const),
      token: fc.oneof(
        fc.record({ text: oddText }),
        fc.record({ token: anyToken(mint, issued) }),
        fc.record({ token: fc.record({ issued: fc.constantFrom(...issued) }) }),
      ),
      more: fc.array(fc.tuple(fc.constantFrom('token', 'token_type_hint', 'client_id'), oddText), {
        maxLength: 2,
      }),
    }),
    async ({ as, token, more }) => {
      const { fields, headers } = await world.authenticate(as)
      const text = 'text' in token ? token.text : await mintToken(mint, token.token)
      const all = [...fields, ['token', text], ...more] as [string, string][]
      const payload = String(new URLSearchParams(all))
      const type = { 'content-type': 'application/x-www-form-urlencoded' }
      await judge(
        { method: 'POST', url: '/oauth2/revoke', headers: { ...type, ...headers }, payload },
        [text],
        ['refresh_token_families'],
      )
    },
    0.2,
  )
})

test('any bytes at all, by any method, at each of these doors', async () => {
  const doors = ['/oauth2/revoke', '/oauth2/userinfo', '/id-jag', '/grants', '/grants/x']
  const methods = ['POST', 'POST', 'GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD']
  await attack(
    fc.record({ of: anyBytes(methods), door: fc.constantFrom(...doors), known: fc.boolean() }),
    async ({ of, door, known }) => {
      const authorization = `Bearer ${mint.issued('secret access_token')}`
      await judge(ofBytes(of, door, known ? { authorization } : undefined), [], ISSUES)
    },
    0.2,
  )
})
