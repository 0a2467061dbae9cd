// No redirect is followed, in whatever way it is said, and nothing of a request gets to a second host (DR-32, DR-34).
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import { type TestContext, test } from 'node:test'
import { createOutbound } from '../../src/http/outbound.ts'
import { listen, refused } from '../support/listeners.ts'

/** A service that sends everybody to a second one, which must stay alone. */
async function openPair(t: TestContext, head: (target: string) => [number, [string, string][]]) {
  const second = await listen(t, net.createServer(), { host: '::', ipv6Only: false })
  let answered = 0
  const server = http.createServer((_request, response) => {
    answered += 1
    const [status, fields] = head(`127.0.0.1:${second.port}`)
    for (const [name, value] of fields) response.setHeader(name, value)
    response.writeHead(status).end('{"here":true}')
  })
  const first = await listen(t, server)
  const lookup = async (name: string) => assert.fail(`asked for ${name}`)
  const outbound = createOutbound({ allow: [], allowLoopbackHttp: true, lookup })
  const url = `http://127.0.0.1:${first.port}/`
  const message = {
    url,
    maxBytes: 100,
    headers: { authorization: 'Bearer secret', cookie: 'session=1' },
  }
  return {
    get: () => outbound.getJson(url, { maxBytes: 100 }),
    post: () => outbound.request({ ...message, method: 'POST', body: 'e.y.J' }),
    assertAlone(times: number) {
      assert.equal(second.connections, 0)
      assert.equal(answered, times)
      assert.equal(first.connections, times)
    },
  }
}

const STATUSES = [300, 301, 302, 303, 305, 306, 307, 308, 399]
const TARGETS = [
  'http://&/',
  'http://127.0.0.2:1/',
  'http://localhost:1/',
  'https://169.254.169.254/latest/meta-data/',
  'http://[::ffff:10.0.0.1]/',
  'https://public.example/',
  '//&/',
  '/elsewhere',
  '',
  'file:///etc/passwd',
  'data:application/json,{}',
]

for (const status of STATUSES) {
  test(`does not follow a ${status} to anywhere (DR-32, TV-100)`, async (t) => {
    let target = ''
    const { get, post, assertAlone } = await openPair(t, (second) => [
      status,
      [['location', target.replace('&', second)]],
    ])
    for (target of TARGETS) {
      assert.equal((await refused(get(), 'redirect_refused', target)).status, status)
      assert.equal((await refused(post(), 'redirect_refused', target)).status, status)
    }
    assertAlone(2 * TARGETS.length)
  })
}

test('a redirect without a target, or with two, is one too (DR-32)', async (t) => {
  const without = await openPair(t, () => [302, []])
  await refused(without.get(), 'redirect_refused')
  const both = await openPair(t, (second) => [
    302,
    [
      ['location', '/a'],
      ['location', `http://${second}/`],
    ],
  ])
  await refused(both.post(), 'redirect_refused')
  both.assertAlone(1)
})

test('what is said elsewhere in a head sends us nowhere (DR-32)', async (t) => {
  const { get, post, assertAlone } = await openPair(t, (second) => [
    200,
    [
      ['location', `http://${second}/`],
      ['content-location', `http://${second}/`],
      ['refresh', `0; url=http://${second}/`],
      ['alt-svc', `http/1.1="${second}"; ma=86400; persist=1`],
      ['link', `<http://${second}/>; rel="preload"`],
      ['set-cookie', 'session=2; Domain=127.0.0.1'],
    ],
  ])
  assert.deepEqual((await get()).json, { here: true })
  assert.deepEqual((await get()).json, { here: true })
  assert.equal((await post()).status, 200)
  assertAlone(3)
})

test('an answer of 401 or 407 brings out no credentials (DR-34)', async (t) => {
  for (const status of [401, 407]) {
    const { get, post, assertAlone } = await openPair(t, () => [
      status,
      [
        ['www-authenticate', 'Negotiate'],
        ['proxy-authenticate', 'Basic realm="x"'],
      ],
    ])
    await refused(get(), 'bad_status')
    assert.equal((await post()).status, status)
    assertAlone(2)
  }
})

test('credentials go to the host of their request, and cookies to nobody (DR-34)', async (t) => {
  const seen: Record<string, http.IncomingHttpHeaders[]> = { a: [], b: [] }
  const service = (name: string) =>
    http.createServer(({ headers }, response) => {
      seen[name]?.push(headers)
      response.setHeader('set-cookie', `from=${name}; Path=/`).end('{}')
    })
  const a = await listen(t, service('a'))
  const b = await listen(t, service('b'))
  const outbound = createOutbound({ allow: [], allowLoopbackHttp: true })
  const headers = { Authorization: 'Bearer for-a', Cookie: 'mine=1', Host: 'b.example' }
  const at = ({ port }: { port: number }) => `http://127.0.0.1:${port}/`
  await outbound.request({ method: 'POST', url: at(a), headers, body: '', maxBytes: 9 })
  await outbound.request({ method: 'GET', url: at(b), maxBytes: 9 })
  await outbound.getJson(at(a), { maxBytes: 9 })
  await outbound.getJson(at(b), { maxBytes: 9 })
  const credentials = (name: string) => seen[name]?.map(({ authorization }) => authorization)
  assert.deepEqual(credentials('a'), ['Bearer for-a', undefined])
  assert.deepEqual(credentials('b'), [undefined, undefined])
  for (const { cookie, host, referer } of [...(seen.a ?? []), ...(seen.b ?? [])]) {
    assert.deepEqual([cookie, referer], [undefined, undefined])
    assert.match(host ?? '', /^127\.0\.0\.1:/)
  }
})
