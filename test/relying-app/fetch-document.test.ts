import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import {
  fetchDocument,
  IssuerUnavailable,
  trustIssuer,
} from '../../src/relying-app/verify-id-jag.ts'
import { idJag, KEY, ras, redeemed } from './paperclip.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void
const LARGEST = 256 * 1024

async function serve(t: TestContext, answer: Answer): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const json =
  (body: string, headers = {}, status = 200): Answer =>
  (_request, response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)

test('reads an object, and how long it may be kept', async (t) => {
  for (const [cacheControl, maxAge] of [
    ['max-age=300', 300],
    ['public, max-age=300', 300],
    ['Public,Max-Age=0,must-revalidate', 0],
    ['no-store', undefined],
    ['s-maxage=9, x-max-age=8', undefined],
    ['max-age=-1', undefined],
    ['max-age=1.5', undefined],
    ['max-age=12345678901', undefined],
    [undefined, undefined],
  ] as const) {
    const headers = cacheControl === undefined ? {} : { 'cache-control': cacheControl }
    const url = await serve(t, json('{"keys":[]}', headers))
    assert.deepEqual(await fetchDocument(url), { document: { keys: [] }, maxAge }, cacheControl)
  }
})

test('asks for JSON, with GET', async (t) => {
  const seen: unknown[] = []
  const url = await serve(t, (request, response) => {
    seen.push(request.method, request.headers.accept)
    response.end('{}')
  })
  await fetchDocument(url)
  assert.deepEqual(seen, ['GET', 'application/json'])
})

const NOT_READ: [string, Answer][] = [
  ['another status', json('{}', {}, 404)],
  ['another good status', json('{}', {}, 203)],
  ['an array', json('[]')],
  ['null', json('null')],
  ['a text', json('"x"')],
  ['no JSON', json('<html>')],
  ['nothing', json('')],
  [
    'bytes that are no UTF-8',
    (_request, response) => response.end(Buffer.from('{"a":"\xff"}', 'latin1')),
  ],
  ['one byte too many', json(`{"a":"${'x'.repeat(LARGEST - 7)}"}`)],
  ['a broken answer', (_request, response) => response.destroy()],
]
for (const [what, answer] of NOT_READ) {
  test(`does not take ${what}`, async (t) => {
    const url = await serve(t, answer)
    await assert.rejects(fetchDocument(url), (error: unknown) => {
      assert.ok(error instanceof IssuerUnavailable)
      assert.equal(error.name, 'IssuerUnavailable')
      assert.equal(error.message, `${url} cannot be read`)
      assert.ok(error.cause instanceof Error, 'the log is told why')
      return true
    })
  })
}

test('takes as much as it may', async (t) => {
  const url = await serve(t, json(`{"a":"${'x'.repeat(LARGEST - 8)}"}`))
  assert.equal(String((await fetchDocument(url)).document.a).length, LARGEST - 8)
})

test('follows no redirect', async (t) => {
  let followed = false
  const target = await serve(t, (_request, response) => {
    followed = true
    response.end('{}')
  })
  for (const status of [301, 302, 303, 307, 308]) {
    const url = await serve(t, json('', { location: target }, status))
    await assert.rejects(fetchDocument(url), IssuerUnavailable)
  }
  assert.equal(followed, false)
})

test('gives up after five seconds', async (t) => {
  const url = await serve(t, () => {})
  const timeout = t.mock.method(AbortSignal, 'timeout', () => AbortSignal.abort())
  await assert.rejects(fetchDocument(url), IssuerUnavailable)
  assert.deepEqual(timeout.mock.calls[0]?.arguments, [5_000])
})

test('is how a trusted issuer is asked, over plain http on this machine alone', async (t) => {
  const paths: unknown[] = []
  const url = await serve(t, (request, response) => {
    paths.push(request.url)
    const issuer = `http://${request.headers.host}`
    const isMetadata = request.url?.startsWith('/.well-known/')
    const jwks_uri = `${issuer}/keys`
    response.end(JSON.stringify(isMetadata ? { issuer, jwks_uri } : { keys: [KEY] }))
  })
  await redeemed(idJag({ iss: url }), ras({ issuers: [trustIssuer(url)] }))
  assert.deepEqual(paths, ['/.well-known/oauth-authorization-server', '/keys'])
})
