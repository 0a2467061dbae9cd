// Whatever is sent to the admin door: nobody gets a 5xx or another dialect, and a refused call changes nothing.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { TRACES, watchChanges } from '../support/changes.ts'
import { attack, some } from '../support/fuzz.ts'
import { anyBodyEdit, fitting, spoilBody } from '../support/hostile-bodies.ts'
import { anyBytes, ofBytes } from '../support/hostile-bytes.ts'
import { asAdmin, listBodies, listRoutes } from '../support/hostile-routes.ts'
import { oddText } from '../support/hostile-text.ts'
import { ADMIN_KEY, type Ask, openHouse } from '../support/house.ts'

const house = await openHouse({ after }, { RATE_LIMITS: 'off', LOG_LEVEL: 'warn' })
const { all: routes, values, pathOf } = await listRoutes(house)
const changes = await watchChanges(house)
const JSON_BODY = { ...asAdmin, 'content-type': 'application/json' }
const CHANGING = ['POST', 'PUT', 'PATCH']

const adminRoutes = (...methods: string[]) =>
  routes.flatMap(({ path, methods: known }) =>
    path.startsWith('/admin/v1/')
      ? known.filter((method) => methods.includes(method)).map((method) => ({ path, method }))
      : [],
  )
/** What would leave nothing for those that follow. */
const isFinal = (path: string) => /retire$|keys\/rotate$/.test(path)

/** Sends it and judges the answer. @returns the status */
async function judge(options: Ask, what: string): Promise<number> {
  await changes.take()
  const answer = await house.inject(options)
  const written = await changes.take()
  const told = `${options.method} ${what}: ${answer.status} ${answer.text}`
  assert.ok(answer.status < 500, told)
  assert.ok(!answer.text.includes(ADMIN_KEY), told)
  if (answer.status < 400) return answer.status
  assert.deepEqual(
    written.filter(({ table }) => !TRACES.includes(table)),
    [],
    `a refused call changed something: ${told}`,
  )
  if (options.method === 'HEAD') return answer.status
  assert.match(String(answer.headers['content-type']), /^application\/problem\+json/, told)
  assert.equal(answer.headers['cache-control'], 'no-store', told)
  const { type, title, status, detail, errors = [] } = answer.body
  assert.match(type, /^\/problems\/[a-z_]+$/, told)
  assert.equal(status, answer.status, told)
  for (const text of [title, detail]) assert.ok(typeof text === 'string' && text !== '', told)
  for (const error of errors) assert.equal(typeof error.pointer, 'string', told)
  return answer.status
}

test('the walk below meets the routes of the admin door', () => {
  const found = adminRoutes('GET', 'POST', 'PUT', 'PATCH', 'DELETE')
  for (const { path, method } of [
    { path: '/admin/v1/agents/:id/entitlements/:audience_id', method: 'PUT' },
    { path: '/admin/v1/agents/:id/credentials', method: 'POST' },
    { path: '/admin/v1/users/:id', method: 'PATCH' },
    { path: '/admin/v1/users/:id/audience-accounts/:audience_id', method: 'PUT' },
    { path: '/admin/v1/trusted-issuers/:id/accounts/:subject', method: 'DELETE' },
    { path: '/admin/v1/revocations', method: 'POST' },
    { path: '/admin/v1/explain', method: 'POST' },
    { path: '/admin/v1/ssf-receivers', method: 'POST' },
    { path: '/admin/v1/ssf-receivers/:id', method: 'DELETE' },
  ]) {
    assert.ok(
      found.some((route) => route.path === path && route.method === method),
      `${method} ${path}`,
    )
  }
})

const MALFORMED = [
  ...['', '{', '{"a":}', 'null', 'true', '1', '"text"', '[]', '[{}]', '{}', '\ufeff{}'],
  '{"__proto__":{"admin":true}}',
  '{"constructor":{"prototype":{}}}',
  '{"name":"a","name":"b"}',
  '{"name":"\\u0000"}',
  '{"name":"\\ud800"}',
  '{"\\u0000":1}',
  `{"name":${'['.repeat(5_000)}${']'.repeat(5_000)}}`,
  `{"reason":"${'x'.repeat(100_000)}"}`,
  '{"expires_at":"9999-12-31T23:59:60Z"}',
  '{"expires_at":1}',
]
/** Of those, what no call takes; where a body is optional, null and {} are none. */
const NEVER = ['{', '{"a":}', 'true', '1', '"text"', '[]', '[{}]']
const FORMS = ['text/plain', 'application/xml', 'application/x-www-form-urlencoded']

test('a malformed body is a problem of the caller at every admin route', async () => {
  for (const { path, method: known } of adminRoutes(...CHANGING)) {
    const method = known as 'POST'
    const url = isFinal(path) ? path.replace(':id', 'agt_unknown') : pathOf(path)
    for (const payload of some(MALFORMED, 4)) {
      const status = await judge(
        { method, url, headers: JSON_BODY, payload },
        `${path} ${payload.slice(0, 60)}`,
      )
      if (NEVER.includes(payload)) {
        assert.ok(status >= 400, `${method} ${path} took ${payload.slice(0, 60)}`)
      }
    }
    for (const type of some(FORMS, 1)) {
      const headers = { ...asAdmin, 'content-type': type }
      const options = { method, url, headers, payload: 'a=b' }
      assert.equal(await judge(options, `${path} as ${type}`), 415)
    }
    const payload = `{"name":"${'x'.repeat(300_000)}"}`
    assert.equal(await judge({ method, url, headers: JSON_BODY, payload }, `${path} large`), 413)
  }
})

const bodies = listBodies().filter(({ path }) => !isFinal(path))
const keys = fc.option(fc.constantFrom('key', 'x'.repeat(300), '\u00ff', ' '), { nil: undefined })

test('a body with anything wrong in it is a problem of the caller, at every call (SE-15)', async () => {
  const taken = new Set<string>()
  await attack(
    fc.record({
      call: fc.nat(bodies.length - 1),
      edits: fc.array(anyBodyEdit, { maxLength: 4 }),
      key: keys,
    }),
    async ({ call, edits, key }) => {
      const { method, path, schema } = bodies[call] as (typeof bodies)[number]
      const headers = { ...JSON_BODY, ...(key !== undefined && { 'idempotency-key': key }) }
      const payload = JSON.stringify(edits.reduce(spoilBody, fitting(schema, values)))
      const request = { method: method as 'POST', url: pathOf(path), headers, payload }
      const status = await judge(request, `${path} ${payload}`)
      if (status < 400) taken.add(`${method} ${path}`)
    },
    1,
  )
  assert.ok(taken.size > 3, `too little of it was right: ${[...taken]}`)
})

test('any bytes at all, by any method, at any route of the admin door', async () => {
  const methods = ['POST', 'PUT', 'PATCH', 'GET', 'DELETE', 'OPTIONS', 'HEAD']
  const targets = adminRoutes(...CHANGING).filter(({ path }) => !isFinal(path))
  await attack(
    fc.record({ of: anyBytes(methods), at: fc.nat(targets.length - 1), known: fc.boolean() }),
    async ({ of, at, known }) => {
      const { path = '' } = targets[at] ?? {}
      if (of.method === 'DELETE') return
      const request = ofBytes(of, pathOf(path), known ? asAdmin : undefined)
      const status = await judge(request, path)
      assert.ok(known || status === 401, `${path} let a stranger in`)
    },
    0.2,
  )
})

const ODD_IDS = [
  ...['%00', 'a%00b', '%ff', '%c3%28', '%ed%a0%80', '%', '%zz', '%2e%2e', '..%2f..%2f', '%2F'],
  ...['%20', '%F0%9F%94%92', '__proto__', 'constructor', "'%20or%201=1--", ';a=b', '*'],
  ...['x'.repeat(65), 'x'.repeat(5_000)],
]

test('an odd id is nobody, at every admin route', async () => {
  for (const { path, methods } of routes.filter(({ path }) => /^\/admin\/v1\/.*:/.test(path))) {
    for (const id of some(ODD_IDS, 4)) {
      const url = path.replace(/:\w+/g, id)
      for (const method of methods.filter((known) => known !== 'OPTIONS')) {
        const payload = CHANGING.includes(method) ? '{}' : undefined
        const headers = payload ? JSON_BODY : asAdmin
        const options = { method: method as 'GET', url, headers, ...(payload && { payload }) }
        const status = await judge(options, `${path} with ${id.slice(0, 40)}`)
        assert.ok(status >= 400, `${method} ${path} answered ${status} to ${id.slice(0, 40)}`)
      }
    }
  }
})

const cursor = (text: string) => Buffer.from(text).toString('base64url')
const QUERIES = [
  ...['limit=0', 'limit=201', 'limit=-1', 'limit=x', 'limit=1.5', 'limit=1e2', 'limit='],
  ...['limit=1&limit=2', 'cursor=', 'cursor=%00', 'cursor=x', `cursor=${'x'.repeat(300)}`],
  ...[
    ...['x', '0 x', '-1 x', 'NaN x', 'Infinity x', '1e400 x', '8640000000000000 x', '0 \0'],
    ...['-8640000000000000 x', '-62135596800000 x', '-210866803200001 x', '0 \ud800'],
    `0 ${'x'.repeat(100)}`,
  ].map((text) => `cursor=${cursor(text)}`),
  ...['from', 'to'].flatMap((name) =>
    [
      ...['x', '1', '0000-01-01T00:00:00Z', '0001-01-01T00:00:00Z', '9999-12-31T23:59:59Z'],
      ...['9999-12-31T23:59:60Z', '2026-02-30T00:00:00Z', '2026-01-01T00:00:00%2B23:59'],
    ].map((at) => `${name}=${at}`),
  ),
  ...[
    ...['user_id', 'agent_id', 'audience_id', 'actor_id', 'jti', 'type', 'status', 'email'],
    ...['head', 'issuer', 'subject', 'tenant_id', 'client_id', 'url', 'host'],
  ].flatMap((name) =>
    ['%00', '%ff', 'x'.repeat(3_000), '__proto__', '1&2'].map((at) => `${name}=${at}`),
  ),
  ...['unknown=1', '__proto__=1', 'a[b]=1', '%', '%00'],
]

test('odd cursors, limits and filters are a problem of the caller, at every list', async () => {
  for (const { path } of adminRoutes('GET')) {
    for (const query of some(QUERIES, 12)) {
      const url = `${pathOf(path)}?${query}`
      await judge({ method: 'GET', url, headers: asAdmin }, `${path}?${query.slice(0, 60)}`)
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
  const odd = fc.oneof(
    oddText,
    oddText.map((text) => `Bearer ${text}`),
    fc.constantFrom(
      ...['', 'Bearer', 'Bearer ', 'Bearer adm_x.y', 'Bearer \u00ff\u00ff'],
      `Bearer ${ADMIN_KEY}x`,
      `Bearer ${ADMIN_KEY.slice(0, -1)}`,
      `Bearer  ${ADMIN_KEY} ${ADMIN_KEY}`,
      `Basic ${Buffer.from(`admin:${ADMIN_KEY}`).toString('base64')}`,
    ),
  )
  await attack(
    odd,
    async (authorization) => {
      const headers = { authorization }
      const options = { method: 'GET' as const, url: '/admin/v1/users', headers }
      assert.equal(await judge(options, authorization.slice(0, 40)), 401)
    },
    0.1,
  )
})
