// Over a real socket, where what is no HTTP arrives too: it is refused, and the server goes on.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { TRACES } from '../support/changes.ts'
import { attack } from '../support/fuzz.ts'
import { writeRequest } from '../support/hostile-requests.ts'
import { openWorld } from '../support/hostile-world.ts'

const world = await openWorld({ after })
const { house, changes } = world
const { issuer } = house.config
await house.app.listen({ port: 0, host: '127.0.0.1' })
const { port } = house.app.server.address() as AddressInfo

/**
 * Sends these bytes and returns what comes back. `more` leaves it open that more may follow: whoever closes his
 * half while he is owed an answer gets none.
 */
async function send(bytes: string | Buffer, more = false): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    answer += chunk
    if (!/^HTTP\/1\.1 100 .*\r\n\r\n$/.test(answer)) socket.end()
  })
  socket.on('error', () => undefined)
  if (more) socket.write(bytes)
  else socket.end(bytes)
  await once(socket, 'close')
  return answer
}

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
const good = async (): Promise<Buffer> => {
  const of = { base: 'by its secret', edits: [], headers: [], noise: undefined, again: false }
  return (await writeRequest(world, of)).payload as Buffer
}
const statusOf = (answer: string) =>
  Number(/^(?:HTTP\/1\.1 100 .*\r\n\r\n)?HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1])
const changed = async () =>
  (await changes.take()).filter(({ table }) => !TRACES.includes(table)).map(({ table }) => table)

/** What the server waits for the rest of, or has nothing to say to. */
const UNANSWERED = ['an empty line', 'a body shorter than it says', 'CONNECT']

test('what is no HTTP or hardly any is refused, and the server goes on', async () => {
  const body = await good()
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
    await changes.take()
    const answer = await send(bytes, !UNANSWERED.includes(what))
    const silent = UNANSWERED.includes(what) && answer === ''
    const status = silent ? 400 : statusOf(answer)
    // A compressed body is read as it is; this one is none.
    const fine = what === 'a compressed body' || what === 'an upgrade'
    assert.ok(status < 500 && (status >= 400 || fine), `${what}: ${answer.slice(0, 200)}`)
    assert.doesNotMatch(answer, /node_modules|at .*\.ts:/, what)
    if (status >= 400) assert.deepEqual(await changed(), [], what)
  }
  assert.equal(statusOf(await send(post(body), true)), 200)
})

test('where a request says that it goes makes no difference', async () => {
  const body = await good()
  for (const [what, bytes] of [
    ['another host', post(body).toString('latin1').replace('localhost', 'evil.example')],
    ['a host that is none', post(body).toString('latin1').replace('localhost', '"><')],
    ['the whole address', post(body, [], 'http://evil.example/oauth2/token')],
  ] as const) {
    const answer = await send(bytes, true)
    assert.match(answer, /^HTTP\/1\.1 200 /, what)
    assert.doesNotMatch(answer, /evil|></, what)
  }
})

const NAMES = [
  ...['Authorization', 'DPoP', 'Content-Type', 'Content-Length', 'Transfer-Encoding', 'Host'],
  ...['Cookie', 'Expect', 'Connection', 'Upgrade', 'X-Forwarded-For', 'Accept', '__proto__'],
  ...['Trailer', 'TE', 'Content-Encoding', 'Keep-Alive', 'Range', 'X', ''],
]
const value = fc.oneof(
  fc.constantFrom(
    ...['chunked', 'gzip, chunked', '0', '5', '-1', '+5', '0x5', '5, 5', 'close', 'Upgrade'],
    ...['Basic Og==', 'DPoP x', '100-continue', 'localhost', '', ' ', '\t', 'a\0b', 'a\rb', 'a\nb'],
    'x'.repeat(17_000),
  ),
  fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
)
const anyHeaders = fc.array(
  fc.tuple(fc.constantFrom(...NAMES), fc.constantFrom(': ', ':', ' : ', ':\t', ''), value),
  { maxLength: 4 },
)
const anyLine = fc.oneof(
  { weight: 6, arbitrary: fc.constant('POST /oauth2/token HTTP/1.1') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...['GET /oauth2/token HTTP/1.1', 'POST /oauth2/token HTTP/1.0', 'POST /oauth2/token'],
      ...['POST  /oauth2/token HTTP/1.1', 'POST /oauth2/token HTTP/1.1 x', 'POST * HTTP/1.1'],
      ...['POST /oauth2/token?x=%00 HTTP/1.1', 'POST /oauth2/token\0 HTTP/1.1', '\r\n\r\n'],
    ),
  },
)

test('any header lines at all leave the token endpoint with an answer or without the connection', async () => {
  let issued = 0
  await attack(
    fc.record({ line: anyLine, headers: anyHeaders, length: fc.constantFrom(0, 0, 0, -1, 7) }),
    async ({ line, headers, length }) => {
      const body = await good()
      const head = [
        line,
        'Host: localhost',
        'Connection: close',
        'Content-Type: application/x-www-form-urlencoded',
        `Content-Length: ${body.length + length}`,
        ...headers.map((parts) => parts.join('')),
      ].join('\r\n')
      await changes.take()
      const bytes = Buffer.concat([Buffer.from(`${head}\r\n\r\n`, 'latin1'), body])
      const answer = await send(bytes, length <= 0)
      const status = answer === '' ? 400 : statusOf(answer)
      assert.ok(status < 500, answer.slice(0, 300))
      assert.doesNotMatch(answer, /node_modules|at .*\.ts:/)
      if (status === 200) issued += 1
      else assert.deepEqual(await changed(), [], answer.slice(0, 300))
    },
    0.25,
  )
  assert.ok(issued > 0, 'nothing of it was right')
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
  assert.equal(statusOf(await send(post(await good()), true)), 200)
  assert.ok(!house.logs.some((line) => /"level":(50|60)/.test(line)), 'an error was logged')
})
