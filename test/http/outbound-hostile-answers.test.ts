// Answers that never end, swell, drip or are no HTTP: refused within the limits, and not quoted (DR-33, DR-36).
import assert from 'node:assert/strict'
import net from 'node:net'
import { type TestContext, test } from 'node:test'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { createOutbound, type OutboundReason } from '../../src/http/outbound.ts'
import { listen, refused } from '../support/listeners.ts'

type Speaker = (socket: net.Socket) => void

/** A server that says what it likes once it was asked; the limits are small, and there is a clock. */
async function openSpeaker(t: TestContext, speak: Speaker, totalTimeoutMs = 30_000) {
  const gone: Promise<void>[] = []
  const server = net.createServer((socket) => {
    gone.push(new Promise((resolve) => socket.once('close', () => resolve())))
    socket.once('data', () => speak(socket))
  })
  const seen = await listen(t, server)
  const outbound = createOutbound({ allow: [], allowLoopbackHttp: true, totalTimeoutMs })
  const url = `http://127.0.0.1:${seen.port}/`
  return {
    get: (maxBytes = 1_000) => outbound.getJson(url, { maxBytes }),
    post: (maxBytes = 1_000) => outbound.request({ method: 'POST', url, body: 'x', maxBytes }),
    hungUp: () => Promise.all(gone),
    seen,
  }
}

/** The same over and over, as fast as it is taken, until they hang up. */
const without =
  (end: string, begin: string): Speaker =>
  (socket) => {
    socket.write(begin)
    const more = () => {
      if (socket.destroyed) return
      if (socket.write(end.repeat(100))) setImmediate(more)
      else socket.once('drain', more)
    }
    more()
  }

const OK = 'HTTP/1.1 200 OK\r\n'
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`

const ENDLESS: Record<string, [begin: string, again: string, reason: OutboundReason]> = {
  'a status line': ['HTTP/1.1 200 ', 'O', 'bad_response'],
  'a header field': [`${OK}x: `, 'x', 'bad_response'],
  'the name of a header field': [OK, 'x', 'bad_response'],
  'header fields': [OK, 'x: y\r\n', 'bad_response'],
  'interim answers': ['', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n', 'bad_response'],
  'interim answers of another kind': ['', 'HTTP/1.1 100 Continue\r\n\r\n', 'bad_response'],
  'empty lines': ['', '\r\n', 'bad_response'],
  'a body to the end of the connection': [`${OK}\r\n`, ' ', 'too_large'],
  'a body of chunks': [CHUNKED, '1\r\n \r\n', 'too_large'],
  'one chunk': [`${CHUNKED}ffffffff\r\n`, ' ', 'too_large'],
  'the length of a chunk': [CHUNKED, '0', 'bad_response'],
  'what may follow the length of a chunk': [`${CHUNKED}1;a=`, 'b', 'bad_response'],
  'what may follow the lengths of chunks': [
    CHUNKED,
    `1;${'a'.repeat(4_000)}\r\n \r\n`,
    'bad_response',
  ],
  'trailer fields': [`${CHUNKED}2\r\n{}\r\n0\r\n`, 'x: y\r\n', 'bad_response'],
  'a trailer field': [`${CHUNKED}2\r\n{}\r\n0\r\nx: `, 'y', 'bad_response'],
}

for (const [what, [begin, again, reason]] of Object.entries(ENDLESS)) {
  test(`hangs up on ${what} without end (DR-33)`, async (t) => {
    const { get, post, hungUp, seen } = await openSpeaker(t, without(again, begin))
    await refused(get(), reason)
    await refused(post(), reason)
    await hungUp()
    assert.equal(seen.connections, 2)
  })
}

/** A little of it at a time, for ever. */
const drip =
  (begin: string, again: string): Speaker =>
  (socket) => {
    socket.write(begin)
    const timer = setInterval(() => socket.write(again), 5)
    socket.on('close', () => clearInterval(timer))
  }

const DRIPS: Record<string, [begin: string, again: string]> = {
  'a head': [OK, 'x: y\r\n'],
  'interim answers': ['HTTP/1.1 103 Early Hints\r\n', 'x: y\r\n'],
  'a body': [`${OK}content-length: 900\r\n\r\n`, ' '],
  chunks: [CHUNKED, '1\r\n \r\n'],
  trailers: [`${CHUNKED}2\r\n{}\r\n0\r\n`, 'x: y\r\n'],
  nothing: ['', ''],
}

for (const [what, [begin, again]] of Object.entries(DRIPS)) {
  test(`a drip of ${what} ends with the time that there is (DR-33)`, async (t) => {
    const { get, hungUp } = await openSpeaker(t, drip(begin, again), 250)
    await refused(get(100_000), 'timeout')
    await hungUp()
  })
}

const say =
  (bytes: string | Buffer): Speaker =>
  (socket) =>
    void socket.end(bytes)

const NO_HTTP: Record<string, string> = {
  'HTTP/0.9': '{"a":1}',
  'HTTP/0.9 with a page': '<html>hello</html>\r\n',
  'another version': 'HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\n{}',
  'HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'no status': 'HTTP/1.1\r\n\r\n{}',
  'a status of two digits': 'HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\n{}',
  'two lengths': `${OK}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`,
  'a list of lengths': `${OK}content-length: 2, 2\r\n\r\n{}`,
  'a negative length': `${OK}content-length: -2\r\n\r\n{}`,
  'a length with a sign': `${OK}content-length: +2\r\n\r\n{}`,
  'a length in hexadecimal': `${OK}content-length: 0x2\r\n\r\n{}`,
  'a length that is none': `${OK}content-length: two\r\n\r\n{}`,
  'a length and chunks': `${OK}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
  'chunks and a length': `${OK}transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
  'a chunk of negative length': `${CHUNKED}-2\r\n{}\r\n0\r\n\r\n`,
  'a chunk of more digits than there are numbers': `${CHUNKED}${'f'.repeat(40)}\r\n{}\r\n0\r\n\r\n`,
  'a chunk longer than it says': `${CHUNKED}1\r\n{}\r\n0\r\n\r\n`,
  'a chunk without an end': `${CHUNKED}2\r\n{}`,
  'a folded header field': `${OK}x: a\r\n\tb: c\r\nx y: z\r\ncontent-length: 2\r\n\r\n{}`,
  'a space before the colon': `${OK}content-length : 2\r\n\r\n{}`,
  'a NUL in a header field': `${OK}x: a\0b\r\ncontent-length: 2\r\n\r\n{}`,
  'lines that end with \\n alone and a bare \\r': `HTTP/1.1 200 OK\rcontent-length: 2\r\r{}`,
  'a half answer': `${OK}content-length: 900\r\n\r\n{}`,
}

for (const [what, bytes] of Object.entries(NO_HTTP)) {
  test(`${what} is a broken answer, and not quoted (DR-33, DR-36)`, async (t) => {
    const { get, post } = await openSpeaker(t, say(bytes))
    for (const request of [get(), post()]) {
      const { message, cause } = await refused(request, 'bad_response')
      assert.equal(message, 'the answer is broken or incomplete')
      assert.deepEqual(Object.keys(cause as Error), ['code'])
    }
  })
}

const millions = Buffer.from(JSON.stringify({ a: ' '.repeat(5_000_000) }))
const packed = (encoding: string, bytes: Buffer, more = '') =>
  Buffer.concat([
    Buffer.from(
      `${OK}content-encoding: ${encoding}\r\n${more}content-length: ${bytes.length}\r\n\r\n`,
    ),
    bytes,
  ])

const BOMBS: Record<string, [bytes: Buffer, reason: OutboundReason]> = {
  gzip: [packed('gzip', gzipSync(millions)), 'compressed'],
  'gzip of gzip': [packed('gzip, gzip', gzipSync(gzipSync(millions))), 'compressed'],
  deflate: [packed('deflate', deflateSync(millions)), 'compressed'],
  br: [packed('br', brotliCompressSync(millions)), 'compressed'],
  'gzip in two fields': [
    packed('identity', gzipSync(millions), 'content-encoding: gzip\r\n'),
    'compressed',
  ],
  'gzip that is called nothing': [
    Buffer.concat([Buffer.from(`${OK}\r\n`), gzipSync(millions)]),
    'not_json',
  ],
  'gzip as a transfer coding': [
    Buffer.concat([
      Buffer.from(`${OK}transfer-encoding: gzip, chunked\r\n\r\n`),
      Buffer.from(`${gzipSync('{}').length.toString(16)}\r\n`),
      gzipSync('{}'),
      Buffer.from('\r\n0\r\n\r\n'),
    ]),
    'not_json',
  ],
}

for (const [what, [bytes, reason]] of Object.entries(BOMBS)) {
  test(`nothing is decompressed: ${what} (DR-33)`, async (t) => {
    const { get } = await openSpeaker(t, say(bytes))
    await refused(get(100_000), reason)
  })
}

test('the limit holds to the byte, in whatever pieces a body comes (DR-33)', async (t) => {
  const body = JSON.stringify({ a: 'x'.repeat(200) })
  const chunks = [...body].map((letter) => `1\r\n${letter}\r\n`).join('')
  for (const bytes of [
    `${OK}content-length: ${body.length}\r\n\r\n${body}`,
    `${OK}connection: close\r\n\r\n${body}`,
    `${CHUNKED}${chunks}0\r\n\r\n`,
    // Nothing after its end is read as another answer, or as more of this one.
    `${OK}content-length: ${body.length}\r\n\r\n${body}${OK}content-length: 9\r\n\r\n{"b":"c"}`,
  ]) {
    const { get } = await openSpeaker(t, say(bytes))
    assert.deepEqual((await get(body.length)).json, JSON.parse(body))
    await refused(get(body.length - 1), 'too_large')
  }
})

test('a few interim answers are no flood (DR-33)', async (t) => {
  const interim = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'.repeat(3)
  const { get } = await openSpeaker(t, say(`${interim}${OK}content-length: 2\r\n\r\n{}`))
  assert.deepEqual((await get()).json, {})
})

test('JSON that would swell in memory is refused (DR-33)', async (t) => {
  for (const [body, reason] of [
    [`${'{"a":'.repeat(65)}1${'}'.repeat(65)}`, 'deep_json'],
    [`{"a":${'['.repeat(2_000)}${']'.repeat(2_000)}}`, 'deep_json'],
    [`${'['.repeat(40_000)}`, 'not_json'],
    ['{"a":"\\u0000"}', 'unstorable_json'],
    ['{"a":"\\ud800"}', 'unstorable_json'],
    ['\ufeff[]', 'not_json'],
  ] as const) {
    const { get } = await openSpeaker(t, say(`${OK}\r\n${body}`))
    await refused(get(100_000), reason, body.slice(0, 40))
  }
})
