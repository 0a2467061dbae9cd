// Whatever a browser sends, or is made to send: a page or a redirect, never a 5xx, never somewhere else.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { TOKEN_TYPE } from '../../src/oauth/names.ts'
import { authorizeUrl } from '../support/browser.ts'
import { TRACES } from '../support/changes.ts'
import { attack, some } from '../support/fuzz.ts'
import { anyBytes, ofBytes } from '../support/hostile-bytes.ts'
import {
  anyFieldEdit,
  anySetting,
  type FieldEdit,
  type Fields,
  spoilFields,
  writeFields,
} from '../support/hostile-fields.ts'
import { assertNoSecret, assertPlainHeaders } from '../support/hostile-judge.ts'
import { listRoutes } from '../support/hostile-routes.ts'
import { ODD, oddText } from '../support/hostile-text.ts'
import { anyToken, mintToken } from '../support/hostile-tokens.ts'
import { openWorld } from '../support/hostile-world.ts'
import type { Answer, Ask } from '../support/house.ts'
import { hiddenFields } from '../support/parties.ts'

const world = await openWorld({ after })
const { house, changes, mint, issued, parties } = world
const { story, agents } = parties
const { all: routes, pathOf } = await listRoutes(house)
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const cookieOf = () => [...story.browser.cookies].map((pair) => pair.join('=')).join('; ')

/**
 * Sends it and judges the answer; a refused request writes nothing.
 * @param may the tables that one may write which is not
 * @param hint what of it goes along to the sign-in and back, within this server
 */
async function judge(request: Ask, may: readonly string[], hint = ''): Promise<Answer> {
  await changes.take()
  const answer = await house.inject(request)
  const written = await changes.take()
  const told = `${request.method} ${String(request.url).slice(0, 200)}: ${answer.status} ${answer.text.slice(0, 300)}`
  assert.ok(answer.status < 500, told)
  assertPlainHeaders(answer)
  const text = `${JSON.stringify(answer.headers)}${answer.text}`.replaceAll(hint, '')
  assertNoSecret(world, { ...answer, headers: {}, text })
  const tables = [...TRACES, ...(answer.status < 400 ? may : [])]
  assert.deepEqual(
    written.filter(({ table }) => !tables.includes(table)),
    [],
    told,
  )
  return answer
}

const ODD_IDS = [
  ...['%00', 'a%00b', '%ff', '%c3%28', '%ed%a0%80', '%', '%zz', '%2e%2e', '..%2f..%2f', '%2F'],
  ...['%F0%9F%94%92', '__proto__', "'%20or%201=1--", ';a=b', 'x'.repeat(65), 'x'.repeat(5_000)],
]

test('no page and no document fails over an odd path, query or form', async () => {
  const open = routes.filter(
    ({ path }) => !path.startsWith('/admin/') && !/^\/(livez|readyz|metrics)/.test(path),
  )
  const cookie = cookieOf()
  for (const { path, methods } of open) {
    const urls = [
      ...(path.includes(':') ? ODD_IDS.map((id) => path.replace(/:\w+/g, id)) : []),
      ...ODD.map((text) => `${pathOf(path)}?client_id=${encodeURIComponent(text.toWellFormed())}`),
      `${pathOf(path)}?client_id=${agents.secret.id}&redirect_uri=%00&redirect_uri=x&scope=%ff&return_to=%00`,
      `${pathOf(path)}?%&&=&a[b]=c&__proto__=x`,
    ]
    for (const url of some(urls, 4)) {
      for (const method of methods.filter((known) => known === 'GET' || known === 'POST')) {
        for (const headers of [{}, { cookie }, { cookie: 'session=%00; sign-in=\u00ff' }]) {
          const options: Ask = { method: method as 'GET', url, headers }
          if (method === 'POST') {
            options.headers = { ...headers, ...FORM }
            options.payload = `csrf=%00&email=%00&password=${url.length}&token=%00&query=%00`
          }
          await judge(options, [])
        }
      }
    }
  }
})

test('any bytes at all, by any method, at any page', async () => {
  const pages = routes.filter(({ path }) => !/^\/(admin|livez|readyz|metrics|\*)/.test(path))
  const methods = ['POST', 'GET', 'PUT', 'DELETE', 'OPTIONS', 'HEAD']
  await attack(
    fc.record({ of: anyBytes(methods), at: fc.nat(pages.length - 1), known: fc.boolean() }),
    async ({ of, at, known }) => {
      const headers = known ? { cookie: cookieOf() } : undefined
      await judge(ofBytes(of, pathOf(pages[at]?.path ?? '/'), headers), [])
    },
    0.2,
  )
})

const AUTHORIZATION = [
  ...['response_type', 'client_id', 'redirect_uri', 'scope', 'state', 'nonce', 'code_challenge'],
  ...['code_challenge_method', 'prompt', 'max_age', 'login_hint', 'id_token_hint', 'claims'],
  ...['dpop_jkt', 'request', 'request_uri', 'response_mode', 'resource', 'authorization_details'],
]
const meant = (name: string, ...texts: string[]) =>
  anySetting(fc.constant(name), fc.constantFrom(...texts))
const authorizationEdit: fc.Arbitrary<FieldEdit> = fc.oneof(
  { weight: 4, arbitrary: anyFieldEdit(AUTHORIZATION) },
  {
    weight: 1,
    arbitrary: meant(
      'client_id',
      ...[agents.published.client_id, agents.secret.id, `http://${parties.site.host}/nothing`],
      ...['http://127.0.0.1:1/x', 'https://localhost/x', `${agents.published.client_id}#x`],
    ),
  },
  { weight: 1, arbitrary: meant('prompt', 'none', 'login', 'consent', 'none login', 'x', ' ') },
  { weight: 1, arbitrary: meant('max_age', '0', '1', '-1', '999999999', '1e9', '99999999999') },
  { weight: 1, arbitrary: meant('scope', 'openid', 'openid delegate', 'delegate', 'openid "x"') },
  { weight: 1, arbitrary: meant('dpop_jkt', parties.dpop.jkt, 'x', `${parties.dpop.jkt}=`) },
  {
    weight: 1,
    arbitrary: meant(
      'claims',
      ...['{}', '[]', 'null', '{"id_token":null}', '{"id_token":{"acr":{"essential":true}}}'],
      ...['{"userinfo":{"acr":null}}', '{"id_token":[]}', '{"a":1,"a":2}', '{"__proto__":{}}'],
      `{"id_token":${'['.repeat(5_000)}`,
    ),
  },
  {
    weight: 1,
    arbitrary: meant(
      'redirect_uri',
      ...['https://agent.example/callback?x=y', 'https://agent.example/callback/../x'],
      ...[
        'https://agent.example\\@evil.example/',
        '//evil.example',
        'https://agent.example/callback#x',
      ],
    ),
  },
)
const ERRORS =
  /^(invalid_request|unauthorized_client|access_denied|unsupported_response_type|invalid_scope|login_required|interaction_required|request_not_supported|request_uri_not_supported|unmet_authentication_requirements)$/

/** A redirect goes to the client with an answer of this server, or to a page of our own. */
function assertRedirect(answer: Answer, client: { redirect_uri: string }): void {
  const location = String(answer.headers.location)
  assert.match(location, /^[\x21-\x7e]+$/)
  if (location.startsWith('/')) {
    assert.match(location, /^\/(sign-in|oauth2\/authorize)\?/)
    return
  }
  assert.ok(location.startsWith(`${client.redirect_uri}?`), location)
  const { searchParams: parameters } = new URL(location)
  assert.equal(parameters.get('iss'), house.config.issuer)
  if (parameters.has('code')) return
  assert.match(String(parameters.get('error')), ERRORS)
  assert.match(String(parameters.get('error_description')), /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
}

test('the authorization endpoint: any request leads to its client, to a page, or nowhere (SE-02)', async () => {
  let codes = 0
  await attack(
    fc.record({
      edits: fc.array(authorizationEdit, { maxLength: 3 }),
      hint: fc.option(anyToken(mint, issued, 'an ID token'), { freq: 5, nil: undefined }),
      as: fc.constantFrom('secret' as const, 'published' as const),
      method: fc.constantFrom('GET', 'GET', 'POST'),
      cookie: fc.constantFrom('good', 'good', 'good', 'none', 'odd'),
    }),
    async ({ edits, hint, as, method, cookie }) => {
      const client = agents[as]
      const token = hint && (await mintToken(mint, hint))
      const url = new URL(authorizeUrl(client), house.config.issuer)
      let fields: Fields = [...url.searchParams]
      if (token) fields.push(['id_token_hint', token])
      for (const edit of edits) fields = spoilFields(fields, edit)
      const text = writeFields(fields)
      const cookies = { good: cookieOf(), none: '', odd: 'session=%00; sign-in=\u00ff' }
      const headers = { cookie: cookies[cookie as 'good'] }
      const request: Ask =
        method === 'GET'
          ? { method: 'GET', url: `${url.pathname}?${text}`, headers }
          : { method: 'POST', url: url.pathname, headers: { ...headers, ...FORM }, payload: text }
      const answer = await judge(request, ['authorization_codes'], token)
      if (answer.status === 303) assertRedirect(answer, client)
      if (/[?&]code=/.test(String(answer.headers.location))) codes += 1
    },
    0.5,
  )
  assert.ok(codes > 0, 'nothing of it was right')
})

const CONSENT = ['csrf', 'shown', 'decision', 'mode', 'scope', 'offline', 'expires_at']
const consentEdit: fc.Arbitrary<FieldEdit> = fc.oneof(
  anyFieldEdit(CONSENT),
  meant('decision', 'allow', 'deny', 'ALLOW', 'true'),
  meant('mode', 'once', 'always', 'ever'),
  meant('scope', 'docs.read', 'docs.write', 'admin', 'docs.read docs.write'),
  meant('offline', 'on', 'true', '1', 'off', '0'),
  meant(
    'expires_at',
    ...['2099-01-01', '2026-02-30', '0000-00-00', '9999-12-31', '2000-01-01', '99999-01-01'],
    ...[
      '2027-01-01T00:00:60Z',
      '2027-01-01T25:00',
      '+275760-09-13',
      '2027-06-01T12:00+23:59',
      '-1',
    ],
  ),
)

/** A question of an agent's that waits for the user. */
async function ask(): Promise<string> {
  const { body, text } = await story.exchange({
    subject_token: mint.issued('secret id_token'),
    subject_token_type: TOKEN_TYPE.idToken,
    scope: 'docs.write files.read',
  })
  assert.equal(body.error, 'interaction_required', text)
  return new URL(body.interaction_uri).pathname
}

test('the consent page: what the user did not choose there is not allowed (GR-03)', async () => {
  const cookie = cookieOf()
  let path = await ask()
  let page = await house.inject({ method: 'GET', url: path, headers: { cookie } })
  let allowed = 0
  await attack(
    fc.array(consentEdit, { maxLength: 3 }),
    async (edits) => {
      let fields: Fields = [
        ...(Object.entries(hiddenFields(page)) as Fields),
        ['decision', 'allow'],
        ['mode', 'always'],
        ['scope', 'docs.write'],
      ]
      for (const edit of edits) fields = spoilFields(fields, edit)
      const request = { headers: { cookie, ...FORM }, payload: writeFields(fields) }
      const may = ['delegations', 'interactions']
      const { status } = await judge({ method: 'POST', url: path, ...request }, may)
      if (status >= 400) return
      const { data } = (
        await house.admin(
          'GET',
          `/delegations?user_id=${story.user.id}&agent_id=${agents.secret.id}&status=active`,
        )
      ).body
      for (const { id, scopes, source } of data) {
        if (source !== 'user') continue
        allowed += 1
        const chosen = fields.flatMap(([name, value]) => (name === 'scope' ? [value] : []))
        assert.deepEqual([...scopes].sort(), [...new Set(chosen.filter(Boolean))].sort())
        await house.admin('DELETE', `/delegations/${id}`)
      }
      path = await ask()
      page = await house.inject({ method: 'GET', url: path, headers: { cookie } })
    },
    0.2,
  )
  assert.ok(allowed > 0, 'nothing of it was right')
})

test('the sign-in page leads nobody astray, whatever it is sent (SE-02)', async () => {
  const page = await house.inject({ method: 'GET', url: '/sign-in' })
  const cookie = String([page.headers['set-cookie']].flat()[0]).split(';')[0] as string
  const edit = fc.oneof(
    anyFieldEdit(['csrf', 'email', 'password', 'return_to', 'prompt']),
    meant(
      'return_to',
      ...[
        '/account',
        '//evil.example',
        '/\\evil.example',
        'https://evil.example',
        '/%0d%0aset-cookie:x=y',
      ],
      ...[
        '/oauth2/authorize?client_id=%00',
        '/consent/%00',
        '/./\t/evil.example',
        '/;@evil.example',
      ],
    ),
  )
  await attack(
    fc.record({ edits: fc.array(edit, { minLength: 1, maxLength: 3 }), password: oddText }),
    async ({ edits, password }) => {
      let fields: Fields = [
        ...(Object.entries(hiddenFields(page)) as Fields),
        ['email', story.user.email],
        ['password', password],
        ['return_to', '/account'],
      ]
      for (const edit of edits) fields = spoilFields(fields, edit)
      const request = { headers: { cookie, ...FORM }, payload: writeFields(fields) }
      const answer = await judge({ method: 'POST', url: '/sign-in', ...request }, [])
      assert.ok(answer.status >= 400 && answer.status < 500, answer.text)
      assert.doesNotMatch(answer.text, /(href|action|value)="(https?:)?\/\/evil/)
    },
    0.04,
  )
})
