import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { after, test } from 'node:test'
import fc from 'fast-check'
import type { InjectOptions } from 'fastify'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { ADMIN_KEY, type Form, formBody, openHouse } from '../support/house.ts'
import { assertOAuthError, stateOf } from '../support/refusals.ts'
import { RESOURCE, tellStory } from '../support/story.ts'

// Whatever is sent, nobody gets a 5xx, an answer in another dialect than the door's, or a change of state.

/** Requests of each property; FUZZ_RUNS=20000 for a long look. */
const numRuns = Number(process.env.FUZZ_RUNS ?? 300)

const house = await openHouse({ after })
const { issuer } = house.config
const story = await tellStory(house, {
  agent: { token_endpoint_auth_method: 'client_secret_post' },
})
await story.delegate()
const tokens = await story.signIn()
/** Whom the calls of the admin door name: what they change is nobody else's. */
const victim = await tellStory(house)
const delegation = await victim.delegate()
const { client_id, client_secret = '' } = story.agent
const good: Form = {
  grant_type: GRANT.tokenExchange,
  requested_token_type: TOKEN_TYPE.idJag,
  audience: story.audience.issuer,
  resource: RESOURCE,
  scope: 'docs.read',
  subject_token: tokens.id_token,
  subject_token_type: TOKEN_TYPE.idToken,
  client_id,
  client_secret,
}
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

const asAdmin = { authorization: `Bearer ${ADMIN_KEY}` }

const ids: Record<string, () => string> = {
  id: () => victim.agent.id,
  credential_id: () => victim.agent.credential_id,
  audience_id: () => victim.audience.id,
  agent_id: () => victim.agent.id,
  interaction_id: () => 'int_unknown',
  code: () => 'not_found',
}
/** The path with ids of records that there are, as far as a name tells which. */
function pathOf(path: string): string {
  return path.replace(/:(\w+)/g, (_, name) => {
    if (name !== 'id') return ids[name]?.() ?? 'unknown'
    if (path.includes('/users/')) return victim.user.id
    if (path.includes('/audiences/')) return victim.audience.id
    if (path.includes('/delegations/')) return delegation.id
    return victim.agent.id
  })
}

type Route = { path: string; methods: string[] }
const routes = await listRoutes()

/** Every route of the house, read from its own map, with the methods that work there. */
async function listRoutes(): Promise<Route[]> {
  let routes: Route[] = []
  const above: string[] = []
  for (const line of house.app.printRoutes({ commonPrefix: false }).split('\n')) {
    const [, indent = '', part = '', methods = ''] =
      /^((?:[│ ] {3})*)[├└]── (\S*) \((.*)\)$/.exec(line) ?? []
    if (part === '') continue
    above.length = indent.length / 4
    above.push(part)
    routes.push({ path: above.join(''), methods: methods.split(', ') })
  }
  routes = routes.filter(({ path }) => path.startsWith('/'))
  // Every path has every method, for most of them are there to say 405: Allow names those that work.
  for (const route of routes) {
    const url = pathOf(route.path)
    const { headers } = await house.inject({ method: 'OPTIONS', url, headers: asAdmin })
    const allow = headers.allow === undefined ? [] : String(headers.allow).split(', ')
    if (allow.length > 0) route.methods = route.methods.filter((known) => allow.includes(known))
  }
  return routes
}

/** An answer of the token endpoint: an ID-JAG, or an error as RFC 6749 §5.2 wants it. */
function assertTokenAnswer(answer: Awaited<ReturnType<typeof house.inject>>): void {
  if (answer.status === 200) assert.ok(answer.body.access_token)
  else {
    assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${answer.text}`)
    assertOAuthError(answer, answer.status, answer.body?.error)
    assert.match(answer.body.error, /^[a-z_]+$/)
  }
}

/** Everything that no request of the token endpoint may change, and how many ID-JAGs there are. */
async function ledger() {
  const { issuances: _, ...state } = await stateOf(house)
  const { count } = await house.deps.db
    .selectFrom('issuances')
    .select((eb) => eb.fn.countAll<string>().as('count'))
    .executeTakeFirstOrThrow()
  return { state, issuances: Number(count) }
}

const jws = (header: unknown, payload: unknown) =>
  [header, payload, 'x']
    .map((value) =>
      Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url'),
    )
    .join('.')

const deep = `${'{"a":'.repeat(1_500)}1${'}'.repeat(1_500)}`
const ODD = [
  '',
  ' ',
  '\0',
  `a\0b`,
  'a\r\nset-cookie: x=y',
  '\u{1f512}',
  '\ud800',
  '\u202e',
  '%00',
  '%',
  '%zz',
  "' or 1=1 --",
  '"\\',
  '__proto__',
  'constructor',
  'null',
  'undefined',
  '[]',
  '{}',
  '-1',
  '1e999',
  'x'.repeat(2_049),
  'x'.repeat(17_000),
  'a b '.repeat(400),
  '.',
  '..',
  'a.b.c',
  '...',
  jws({ alg: 'ES256' }, {}),
  jws({ alg: 'none' }, { sub: client_id }),
  jws({ alg: 'ES256' }, { sub: 'a\0b', agent_idp_grant: 'rtf_\0' }),
  jws({ alg: 'ES256', kid: '__proto__', typ: 'JWT' }, { sub: client_id, iss: client_id }),
  jws({ alg: 'ES256', kid: ['x'], typ: { a: 1 } }, { sub: ['x'], aud: {}, exp: 1e300, iat: '1' }),
  jws({ alg: 'RS256', crit: ['b64'], b64: false }, '[]'),
  jws('[]', 'null'),
  jws(deep, deep),
  jws('{"alg":"ES256","alg":"none"}', '{"__proto__":{"sub":"x"},"sub":"x"}'),
  'https://user:pw@host.example/',
  'https://[::1]:99999/',
  'javascript:alert(1)',
  'urn:x',
]
const NAMES = [
  ...Object.keys(good),
  'client_assertion',
  'client_assertion_type',
  'agent_platform',
  'agent_context_id',
  'code',
  'redirect_uri',
  'code_verifier',
  'refresh_token',
  'actor_token',
  'authorization_details',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'toString',
  '',
  'a[b]',
  'scope[]',
]
const odd = fc.oneof(
  fc.constantFrom(...ODD),
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.constantFrom(...Object.values(good).flatMap((value) => value ?? [])),
  fc.constantFrom(...Object.values(GRANT), ...Object.values(TOKEN_TYPE)),
)
const changes = fc.array(fc.tuple(fc.constantFrom(...NAMES), odd, fc.nat(2)), { maxLength: 4 })
const headers = fc.record(
  {
    authorization: fc.oneof(
      odd.map((text) => `Basic ${Buffer.from(text).toString('base64')}`),
      fc.tuple(odd, odd).map((pair) => `Basic ${Buffer.from(pair.join(':')).toString('base64')}`),
      fc.constantFrom('Basic', 'Bearer x', 'basic ====', ''),
    ),
    dpop: fc.constantFrom('', 'a.b.c', 'x'.repeat(5_000)),
    'content-type': fc.constantFrom(
      'application/x-www-form-urlencoded;charset=utf-16',
      'application/json',
      'multipart/form-data',
      'text/plain; charset="',
      '/',
      'x'.repeat(1_000),
    ),
    'x-forwarded-for': fc.constantFrom('\0', '::::', 'x'.repeat(2_000)),
    cookie: fc.constantFrom('session=%00', 'session=; ;;=', '__proto__=x'),
  },
  { requiredKeys: [] },
)

test('any form at all is answered in the dialect of the token endpoint (SE-15)', async () => {
  const earlier = await ledger()
  let issued = 0
  await fc.assert(
    fc.asyncProperty(changes, fc.option(headers), async (parts, more) => {
      const fields: Form = { ...good }
      for (const [name, value, times] of parts) {
        Object.defineProperty(fields, name, {
          value: times === 0 ? undefined : Array(times).fill(value),
          enumerable: true,
          configurable: true,
          writable: true,
        })
      }
      const answer = await house.inject({
        method: 'POST',
        url: '/oauth2/token',
        headers: { ...FORM, ...more },
        payload: formBody(fields),
      })
      assertTokenAnswer(answer)
      if (answer.status === 200) issued += 1
    }),
    { numRuns },
  )
  assert.deepEqual(await ledger(), { ...earlier, issuances: earlier.issuances + issued })
})

test('any bytes at all are answered in the dialect of the token endpoint (SE-15)', async () => {
  const earlier = await ledger()
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
    fc.tuple(fc.nat(400), fc.uint8Array({ minLength: 1, maxLength: 8 })).map(([at, noise]) => {
      const body = Buffer.from(formBody(good))
      return Buffer.concat([body.subarray(0, at), Buffer.from(noise), body.subarray(at)])
    }),
  )
  let issued = 0
  await fc.assert(
    fc.asyncProperty(bytes, async (payload) => {
      const answer = await house.inject({
        method: 'POST',
        url: '/oauth2/token',
        headers: FORM,
        payload,
      })
      assertTokenAnswer(answer)
      if (answer.status === 200) issued += 1
    }),
    { numRuns },
  )
  assert.deepEqual(await ledger(), { ...earlier, issuances: earlier.issuances + issued })
})

test('a NUL byte fails the request that has it, and none of those in flight with it', async () => {
  const poisons: Form[] = [
    { ...good, audience: 'https://a\0b.example' },
    { ...good, client_id: `${client_id}\0` },
    { ...good, subject_token: jws({ alg: 'ES256' }, { agent_idp_grant: 'rtf_\0' }) },
    { ...good, client_id: undefined, client_secret: undefined, ...assertionOf('agt_\0') },
    { ...good, resource: '\0', scope: '\0' },
    { ...good, agent_context_id: '\0' },
  ]
  const requests = poisons.flatMap((poison) => [good, poison, good])
  const answers = await Promise.all(requests.map((fields) => house.form('/oauth2/token', fields)))
  for (const [at, answer] of answers.entries()) {
    if (at % 3 === 1) assert.ok(answer.status >= 400 && answer.status < 500, answer.text)
    else assert.equal(answer.status, 200, answer.text)
    assertTokenAnswer(answer)
  }
})

const assertionOf = (sub: string): Form => ({
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  client_assertion: jws({ alg: 'ES256' }, { iss: sub, sub, aud: issuer }),
})

test('what is too long is refused before it is read', async () => {
  for (const [name, length] of [
    ['subject_token', 16 * 1024 + 1],
    ['scope', 16 * 1024 + 1],
    ['audience', 2049],
    ['resource', 2049],
    ['agent_platform', 257],
  ] as const) {
    const answer = await house.form('/oauth2/token', { ...good, [name]: 'x'.repeat(length) })
    assertOAuthError(answer, 400, 'invalid_request')
    assert.match(answer.body.error_description, new RegExp(`^${name}: `))
  }
  const many = Array.from({ length: 21 }, (_, at) => `${RESOURCE}${at}`)
  assertOAuthError(
    await house.form('/oauth2/token', { ...good, resource: many }),
    400,
    'invalid_request',
  )
  assertOAuthError(
    await house.form('/oauth2/token', { ...good, padding: 'x'.repeat(64 * 1024) }),
    400,
    'invalid_request',
  )
})

test('a token of sixteen kilobytes that nests as deep as it can is just not ours', async () => {
  const subject_token = jws(`{"alg":"ES256","typ":${'['.repeat(900)}${']'.repeat(900)}}`, deep)
  assertOAuthError(
    await house.form('/oauth2/token', { ...good, subject_token }),
    400,
    'invalid_grant',
  )
})

// The other doors: every route, with what no client of it would send.

const adminRoutes = (...methods: string[]) =>
  routes.flatMap(({ path, methods: known }) =>
    path.startsWith('/admin/v1/')
      ? known.filter((method) => methods.includes(method)).map((method) => ({ path, method }))
      : [],
  )

async function assertProblem(options: InjectOptions, what: string): Promise<number> {
  const answer = await house.inject(options)
  const told = `${options.method} ${what}: ${answer.status} ${answer.text}`
  assert.ok(answer.status < 500, told)
  if (answer.status < 400 || options.method === 'HEAD') return answer.status
  assert.match(String(answer.headers['content-type']), /^application\/problem\+json/, told)
  const { type, title, status, detail, errors = [] } = answer.body
  assert.match(type, /^\/problems\/[a-z_]+$/, told)
  assert.equal(status, answer.status, told)
  for (const text of [title, detail]) assert.ok(typeof text === 'string' && text !== '', told)
  for (const error of errors) assert.equal(typeof error.pointer, 'string', told)
  return answer.status
}
const JSON_BODY = { ...asAdmin, 'content-type': 'application/json' }

test('the walk below meets the routes of the admin door', () => {
  const found = adminRoutes('GET', 'POST', 'PUT', 'PATCH', 'DELETE')
  for (const { path, method } of [
    { path: '/admin/v1/agents/:id/entitlements/:audience_id', method: 'PUT' },
    { path: '/admin/v1/agents/:id/credentials', method: 'POST' },
    { path: '/admin/v1/users/:id', method: 'PATCH' },
    { path: '/admin/v1/revocations', method: 'POST' },
  ]) {
    assert.ok(
      found.some((route) => route.path === path && route.method === method),
      `${method} ${path}`,
    )
  }
})

const MALFORMED = [
  '',
  '{',
  '{"a":}',
  'null',
  'true',
  '1',
  '"text"',
  '[]',
  '[{}]',
  '{}',
  '{"__proto__":{"admin":true}}',
  '{"constructor":{"prototype":{}}}',
  '{"name":"a","name":"b"}',
  '{"name":"\\u0000"}',
  '{"name":"\\ud800"}',
  '{"\\u0000":1}',
  `{"name":${'['.repeat(5_000)}${']'.repeat(5_000)}}`,
  `{"reason":"${'x'.repeat(100_000)}"}`,
  '\ufeff{}',
  '{"expires_at":"9999-12-31T23:59:60Z"}',
  '{"expires_at":1}',
]

/** Of those, what no call takes; where a body is optional, null and {} are none. */
const NEVER = ['{', '{"a":}', 'true', '1', '"text"', '[]', '[{}]']

test('a malformed body is a problem of the caller at every admin route', async () => {
  for (const { path, method } of adminRoutes('POST', 'PUT', 'PATCH')) {
    for (const payload of MALFORMED) {
      const url = path.endsWith('/retire') ? path.replace(':id', 'agt_unknown') : pathOf(path)
      const options = { method: method as 'POST', url, headers: JSON_BODY, payload }
      const status = await assertProblem(options, `${path} ${payload.slice(0, 60)}`)
      if (NEVER.includes(payload)) {
        assert.ok(status >= 400, `${method} ${path} took ${payload.slice(0, 60)}`)
      }
    }
    for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded']) {
      const headers = { ...asAdmin, 'content-type': type }
      const options = { method: method as 'POST', url: pathOf(path), headers, payload: 'a=b' }
      assert.equal(await assertProblem(options, `${path} as ${type}`), 415)
    }
    const large = `{"name":"${'x'.repeat(300_000)}"}`
    const options = { method: method as 'POST', url: pathOf(path), headers: JSON_BODY }
    assert.equal(await assertProblem({ ...options, payload: large }, `${path} large`), 413)
  }
})

const MEMBERS = [
  'name purpose owner_id expires_at token_endpoint_auth_method jwks jwks_uri redirect_uris grant_types',
  'environment id_token_signed_response_alg dpop_bound_access_tokens tenant_id status reason jwk scopes',
  'resources consent client_id issuer profile aliases default_scopes default_resources claims subject_type',
  'max_auth_age id_jag_lifetime id_jag_signing_alg events_endpoint user_id agent_id audience_id mode offline',
  'email email_verified phone_number phone_number_verified password external_id alg discover owner review_at',
]
  .join(' ')
  .split(' ')

test('members of any type and value are a problem of the caller at every admin route', async () => {
  const targets = adminRoutes('POST', 'PUT', 'PATCH').filter(({ path }) => !/retire$/.test(path))
  const likely = fc.constantFrom(
    victim.user.id,
    victim.agent.id,
    victim.audience.id,
    'admin',
    'always',
    'private_key_jwt',
    'client_secret_post',
    'idjag',
    'ES256',
    'https://a.example',
    'https://a.example/?#',
    '2027-01-01T00:00:00Z',
    '0000-01-01T00:00:00Z',
    '+275760-09-13T00:00:00Z',
    '+12025550123',
    'a@b.example',
    'docs.read',
    victim.agent.jwk,
    { keys: [victim.agent.jwk] },
    { keys: [{ ...victim.agent.jwk, d: 'x' }, null] },
    [{ identifier: RESOURCE, scopes: [{ name: 'docs.read' }] }],
    [{ identifier: 'x', scopes: [null] }],
    ['docs.read'],
    [],
    2 ** 53,
    -1,
    1e300,
    ...ODD.slice(0, 16),
  )
  const value = fc.oneof(likely, fc.jsonValue({ maxDepth: 3 }))
  const body = fc.dictionary(fc.constantFrom(...MEMBERS), value, { maxKeys: 12 })
  const key = fc.option(fc.constantFrom('key', 'x'.repeat(300), '\u00ff', ' '))
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...targets), body, key, async (target, members, once) => {
      const headers = { ...JSON_BODY, ...(once !== null && { 'idempotency-key': once }) }
      const payload = JSON.stringify(members)
      await assertProblem(
        { method: target.method as 'POST', url: pathOf(target.path), headers, payload },
        `${target.path} ${payload}`,
      )
    }),
    { numRuns: 2 * numRuns },
  )
})

const ODD_IDS = [
  '%00',
  'a%00b',
  '%ff',
  '%c3%28',
  '%ed%a0%80',
  '%',
  '%zz',
  '%2e%2e',
  '..%2f..%2f',
  '%2F',
  '%20',
  '%F0%9F%94%92',
  '__proto__',
  'constructor',
  "'%20or%201=1--",
  'x'.repeat(65),
  'x'.repeat(5_000),
  ';a=b',
  '*',
]

test('an odd id is nobody, at every admin route', async () => {
  for (const { path, methods } of routes.filter(({ path }) => /^\/admin\/v1\/.*:/.test(path))) {
    for (const id of ODD_IDS) {
      const url = path.replace(/:\w+/g, id)
      for (const method of methods.filter((known) => known !== 'OPTIONS')) {
        const payload = /POST|PUT|PATCH/.test(method) ? '{}' : undefined
        const headers = payload ? JSON_BODY : asAdmin
        const options = { method: method as 'GET', url, headers, ...(payload && { payload }) }
        const status = await assertProblem(options, `${path} with ${id.slice(0, 40)}`)
        assert.ok(status >= 400, `${method} ${path} answered ${status} to ${id.slice(0, 40)}`)
      }
    }
  }
})

test('odd cursors, limits and filters are a problem of the caller, at every list', async () => {
  const cursor = (text: string) => Buffer.from(text).toString('base64url')
  const QUERIES = [
    'limit=0',
    'limit=201',
    'limit=-1',
    'limit=x',
    'limit=1.5',
    'limit=1e2',
    'limit=',
    'limit=1&limit=2',
    'cursor=',
    'cursor=%00',
    'cursor=x',
    `cursor=${'x'.repeat(300)}`,
    ...[
      'x',
      '0 x',
      '-1 x',
      'NaN x',
      'Infinity x',
      '1e400 x',
      '8640000000000000 x',
      '-8640000000000000 x',
      '-62135596800000 x',
      '-210866803200001 x',
      '0 \0',
      '0 \ud800',
      `0 ${'x'.repeat(100)}`,
    ].map((text) => `cursor=${cursor(text)}`),
    ...['from', 'to'].flatMap((name) =>
      [
        'x',
        '1',
        '0000-01-01T00:00:00Z',
        '0001-01-01T00:00:00Z',
        '9999-12-31T23:59:59Z',
        '9999-12-31T23:59:60Z',
        '2026-02-30T00:00:00Z',
        '2026-01-01T00:00:00%2B23:59',
      ].map((at) => `${name}=${at}`),
    ),
    ...['user_id', 'agent_id', 'audience_id', 'jti', 'type', 'status', 'email', 'head'].flatMap(
      (name) => ['%00', '%ff', 'x'.repeat(3_000), '__proto__', '1&2'].map((at) => `${name}=${at}`),
    ),
    'unknown=1',
    '__proto__=1',
    'a[b]=1',
    '%',
    '%00',
  ]
  for (const { path } of adminRoutes('GET')) {
    for (const query of QUERIES) {
      const url = `${pathOf(path)}?${query}`
      await assertProblem({ method: 'GET', url, headers: asAdmin }, `${path}?${query.slice(0, 60)}`)
    }
  }
})

test('a method that a path of the admin door does not have is told so', async () => {
  for (const { path, methods } of routes.filter(({ path }) => path.startsWith('/admin/v1/'))) {
    if (/openapi|docs/.test(path)) continue
    assert.ok(!path.startsWith('/admin/v1/admin/'), path)
    const refused = await house.inject({ method: 'OPTIONS', url: pathOf(path), headers: asAdmin })
    assert.equal(`${path} ${refused.status}`, `${path} 405`)
    assert.equal(refused.body.type, '/problems/method_not_allowed')
    assert.ok(methods.includes(String(refused.headers.allow).split(', ')[0] as string))
  }
})

test('odd authorization at the admin door is no admin key', async () => {
  for (const authorization of [
    '',
    'Bearer',
    'Bearer ',
    `Bearer ${ADMIN_KEY} `.trimEnd().slice(0, -1),
    `Bearer ${ADMIN_KEY}x`,
    `bearer  ${'x'.repeat(8_000)}`,
    `Basic ${Buffer.from(`admin:${ADMIN_KEY}`).toString('base64')}`,
    'Bearer adm_x.y',
    'Bearer \u00ff\u00ff',
  ]) {
    const options = { method: 'GET' as const, url: '/admin/v1/users', headers: { authorization } }
    assert.equal(await assertProblem(options, authorization.slice(0, 40)), 401)
  }
})

test('no page and no document fails over an odd path, query or form', async () => {
  const cookie = [...story.browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const open = routes.filter(
    ({ path }) => !path.startsWith('/admin/') && !/^\/(livez|readyz|metrics)/.test(path),
  )
  for (const { path, methods } of open) {
    const urls = [
      ...(path.includes(':') ? ODD_IDS.map((id) => path.replace(/:\w+/g, id)) : []),
      ...ODD.map((text) => `${pathOf(path)}?client_id=${encodeURIComponent(text.toWellFormed())}`),
      `${pathOf(path)}?client_id=${client_id}&redirect_uri=%00&redirect_uri=x&scope=%ff&return_to=%00`,
      `${pathOf(path)}?%&&=&a[b]=c&__proto__=x`,
    ]
    for (const url of urls) {
      for (const method of methods.filter((known) => known === 'GET' || known === 'POST')) {
        for (const headers of [{}, { cookie }, { cookie: 'session=%00; sign-in=\u00ff' }]) {
          const options: InjectOptions = { method: method as 'GET', url, headers }
          if (method === 'POST') {
            options.headers = { ...headers, ...FORM }
            options.payload = `csrf=%00&email=%00&password=${url.length}&token=%00&query=%00`
          }
          const { status, text } = await house.inject(options)
          assert.ok(status < 500, `${method} ${url.slice(0, 200)}: ${status} ${text.slice(0, 200)}`)
        }
      }
    }
  }
})

// Over a real socket, where what is no HTTP arrives too.

/** Sends these bytes and returns what comes back; `more` leaves it open that more may follow. */
async function send(bytes: string | Buffer, more = false): Promise<string> {
  const socket = connect((house.app.server.address() as AddressInfo).port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    answer += chunk
    socket.end()
  })
  socket.on('error', () => undefined)
  if (more) socket.write(bytes)
  else socket.end(bytes)
  await once(socket, 'close')
  return answer
}

/** What the server waits for the rest of, or has nothing to say to. */
const UNANSWERED = ['an empty line', 'a body shorter than it says', 'CONNECT']

const post = (body: string | Buffer, lines: string[] = [], target = '/oauth2/token') =>
  Buffer.concat([
    Buffer.from(
      [
        `POST ${target} HTTP/1.1`,
        'Host: localhost',
        'Connection: close',
        'Content-Type: application/x-www-form-urlencoded',
        ...(lines.some((line) => /^(content-length|transfer-encoding)/i.test(line))
          ? []
          : [`Content-Length: ${Buffer.byteLength(body)}`]),
        ...lines,
        '',
        '',
      ].join('\r\n'),
      'latin1',
    ),
    Buffer.from(body),
  ])

test('over a socket, what is no HTTP or hardly any is refused, and the server goes on', async () => {
  await house.app.listen({ port: 0, host: '127.0.0.1' })
  const body = formBody(good)
  const statusOf = async (bytes: string | Buffer) =>
    Number(/^HTTP\/1\.1 (\d{3}) /.exec(await send(bytes, true))?.[1])
  const earlier = await ledger()
  const hostile: [string, string | Buffer][] = [
    ['noise', '\x16\x03\x01\x02\x00\x01\x00'],
    ['an empty line', '\r\n\r\n\r\n'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n'],
    ['another protocol', 'GET / SPDY/9\r\nHost: x\r\n\r\n'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['an unknown method', 'FROB /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
    ['CONNECT', 'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n'],
    ['an endless path', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
    ['endless headers', post(body, [`X: ${'x'.repeat(20_000)}`])],
    ['a NUL in a header', post(body, ['X: a\0b'])],
    ['a bare line feed in a header', post(body, ['X: a\nY: b\r'])],
    ['two lengths', post(body, ['Content-Length: 5', 'Content-Length: 6'])],
    ['a length below zero', post(body, ['Content-Length: -1'])],
    ['a length and chunks', post(body, ['Content-Length: 5', 'Transfer-Encoding: chunked'])],
    ['chunks that are none', post('zz\r\nabc', ['Transfer-Encoding: chunked'])],
    ['a body shorter than it says', post('a=b', ['Content-Length: 50'])],
    ['an unknown expectation', post(body, ['Expect: tea'])],
    ['an upgrade', post('a=b', ['Upgrade: websocket', 'Connection: Upgrade'])],
    ['a path with bad escapes', post(body, [], '/oauth2/%ff%')],
    ['a body too large', post('x'.repeat(70_000))],
    ['a compressed body', post(body, ['Content-Encoding: gzip'])],
    ['an asterisk', 'OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
  ]
  for (const [what, bytes] of hostile) {
    const answer = await send(bytes, !UNANSWERED.includes(what))
    const silent = UNANSWERED.includes(what) && answer === ''
    const status = silent ? 400 : Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1])
    // A compressed body is read as it is; this one is none.
    const fine = what === 'a compressed body' || what === 'an upgrade'
    assert.ok(status < 500 && (status >= 400 || fine), `${what}: ${answer.slice(0, 200)}`)
    assert.doesNotMatch(answer, /node_modules|at .*\.ts:/, what)
  }
  const afterwards = await ledger()
  assert.deepEqual(afterwards.state, earlier.state)

  assert.equal(await statusOf(post(body)), 200)
  for (const [what, bytes] of [
    ['another host', post(body, []).toString('latin1').replace('localhost', 'evil.example')],
    ['a host that is none', post(body, []).toString('latin1').replace('localhost', '"><')],
    ['the whole address', post(body, [], 'http://evil.example/oauth2/token')],
  ] as const) {
    const answer = await send(bytes, true)
    assert.match(answer, /^HTTP\/1\.1 200 /, what)
    assert.doesNotMatch(answer, /evil|></, what)
  }
})

test('what the server says of itself does not depend on the Host of the request', async () => {
  const answer = await send(
    'GET /.well-known/openid-configuration HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: ftp\r\nConnection: close\r\n\r\n',
    true,
  )
  assert.match(answer, /^HTTP\/1\.1 200 /)
  assert.ok(answer.includes(`"issuer":"${issuer}"`))
  assert.ok(!answer.includes('evil.example'))
})

test('after all of this the house still does its work', async () => {
  const { id_token: subject_token } = await story.signIn()
  const { status, text } = await house.form('/oauth2/token', { ...good, subject_token })
  assert.equal(status, 200, text)
  assert.ok(!house.logs.some((line) => /"level":(50|60)/.test(line)), 'an error was logged')
})
