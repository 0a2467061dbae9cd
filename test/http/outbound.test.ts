import assert from 'node:assert/strict'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { createOutbound, type OutboundSettings } from '../../src/http/outbound.ts'
import { listen, refused } from '../support/listeners.ts'

type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => void

/** A development server over http, and a way out that may use it. */
async function openService(t: TestContext, answer: Answer, settings?: Partial<OutboundSettings>) {
  const server = await listen(t, http.createServer(answer))
  const outbound = createOutbound({ allow: [], allowLoopbackHttp: true, ...settings })
  const url = `http://127.0.0.1:${server.port}/doc.json`
  return { server, outbound, url, get: (maxBytes = 1024) => outbound.getJson(url, { maxBytes }) }
}

/** A server that must not be reached, and a way out that may use its port on public addresses. */
async function openFortress(t: TestContext, settings?: Partial<OutboundSettings>) {
  const server = await listen(t, net.createServer())
  const allow = ['8.0.0.0/8', '93.0.0.0/8', '[2606::/16]'].map((net) => `${net}:${server.port}`)
  const outbound = createOutbound({ allow, allowLoopbackHttp: false, ...settings })
  return { server, get: (url: string) => outbound.getJson(url, { maxBytes: 1024 }) }
}

const json =
  (value: unknown): Answer =>
  (_request, response) =>
    response.end(JSON.stringify(value))

test('the fortress counts: an allowed address is reached', async (t) => {
  const server = await listen(
    t,
    net.createServer((socket) => socket.destroy()),
  )
  for (const [allow, url] of [
    [`127.0.0.1:${server.port}`, `https://127.0.0.1:${server.port}/`],
    [`127.0.0.0/8:${server.port}`, `https://0x7f.1:${server.port}/`],
    [`crm.example:${server.port}`, `https://crm.example.:${server.port}/`],
    [`127.0.0.0/8:${server.port}`, `https://any.example:${server.port}/`],
  ] as const) {
    const before = server.connections
    const lookup = async () => ['127.0.0.1']
    const outbound = createOutbound({ allow: [allow], allowLoopbackHttp: false, lookup })
    await refused(outbound.getJson(url, { maxBytes: 10 }), 'connect_failed')
    assert.equal(server.connections, before + 1, `${allow} ${url}`)
  }
})

test('an entry opens its own port only, for its own host only', async (t) => {
  const { server } = await openFortress(t)
  const allow = ['127.0.0.0/8', 'crm.example', `other.example:${server.port}`]
  const lookup = async () => ['127.0.0.1']
  const { getJson } = createOutbound({ allow, allowLoopbackHttp: false, lookup })
  const limits = { maxBytes: 10 }
  await refused(getJson(`https://127.0.0.1:${server.port}/`, limits), 'port_not_allowed')
  await refused(getJson(`https://crm.example:${server.port}/`, limits), 'port_not_allowed')
  await refused(getJson('https://crm.example:9/', limits), 'port_not_allowed')
  await refused(getJson(`http://other.example:${server.port}/`, limits), 'scheme_not_allowed')
  assert.equal(server.connections, 0)
})

test('a public host is called on port 443 only', async (t) => {
  const { server, get } = await openFortress(t, { lookup: async () => ['9.9.9.9'] })
  await refused(get('https://public.example:8443/'), 'port_not_allowed')
  await refused(get(`https://public.example:${server.port}/`), 'port_not_allowed')
  await refused(get('https://public.example:80/'), 'port_not_allowed')
})

test('connects to the address it judged, though the name server changes its mind', async (t) => {
  const answers = [['127.0.0.1'], ['192.0.2.1'], ['10.0.0.1']]
  const asked: string[] = []
  const lookup = async (name: string) => answers[asked.push(name) - 1] ?? assert.fail('asked again')
  const { server, outbound } = await openService(t, json({ ok: true }), { lookup })
  const url = `http://rebind.example:${server.port}/`
  assert.deepEqual((await outbound.getJson(url, { maxBytes: 99 })).json, { ok: true })
  assert.deepEqual(asked, ['rebind.example'])
  assert.equal(server.connections, 1)
  await refused(outbound.getJson(url, { maxBytes: 99 }), 'scheme_not_allowed')
  assert.equal(server.connections, 1)
})

test('the loopback switch opens nothing else, and localhost is never looked up', async (t) => {
  const lookup = async (name: string) => (name === 'mixed.example' ? ['127.0.0.1', '8.8.8.8'] : [])
  const { server, outbound } = await openService(t, json({}), { lookup })
  const limits = { maxBytes: 10 }
  await outbound.getJson(`http://localhost:${server.port}/`, limits)
  const before = server.connections
  const get = (url: string) => outbound.getJson(url, limits)
  await refused(get(`http://mixed.example:${server.port}/`), 'scheme_not_allowed')
  await refused(get('http://10.0.0.1/'), 'scheme_not_allowed')
  await refused(get(`http://0.0.0.0:${server.port}/`), 'scheme_not_allowed')
  await refused(get('https://10.0.0.1/'), 'address_not_allowed')
  await refused(get('https://8.8.8.8:8443/'), 'port_not_allowed')
  assert.equal(server.connections, before)
})

test('a name that cannot be resolved tells no more than one that may not be called', async (t) => {
  const unknown = async () => {
    throw Object.assign(new Error('getaddrinfo ENOTFOUND secret.corp'), { code: 'ENOTFOUND' })
  }
  const { get } = await openFortress(t, { lookup: unknown })
  const missing = await refused(get('https://secret.corp/'), 'resolution_failed')
  const present = await refused(get('https://10.0.0.1/'), 'address_not_allowed')
  assert.equal(missing.message, present.message)
  for (const found of [[], ['not an address']]) {
    const fortress = await openFortress(t, { lookup: async () => found })
    await refused(fortress.get('https://secret.corp/'), 'resolution_failed')
  }
})

test('returns a JSON object with its headers', async (t) => {
  const { get } = await openService(t, (_request, response) => {
    response.setHeader('ETag', '"1"').setHeader('Set-Cookie', 'a=b')
    response.setHeader('Content-Encoding', 'identity')
    response.end('{"issuer":"https://a.example","__proto__":{"admin":true}}')
  })
  const { json, headers, status } = await get()
  assert.deepEqual(json, { issuer: 'https://a.example' })
  assert.equal(status, 200)
  assert.equal(headers.etag, '"1"')
  assert.equal(headers['set-cookie'], undefined)
})

test('sends no cookie and no credential, accepts no compression, keeps no connection', async (t) => {
  const heads: http.IncomingHttpHeaders[] = []
  const { get, server } = await openService(t, (request, response) => {
    heads.push(request.headers)
    response.setHeader('Set-Cookie', 'session=1; Path=/').end('{}')
  })
  await get()
  await get()
  assert.equal(server.connections, 2)
  for (const { host, ...head } of heads) {
    assert.equal(host, `127.0.0.1:${server.port}`)
    assert.deepEqual(head, {
      accept: 'application/json',
      'accept-encoding': 'identity',
      connection: 'close',
      'user-agent': 'agent-idp',
    })
  }
})

test('posts bytes and returns whatever status and bytes come back', async (t) => {
  const received: unknown[] = []
  const { outbound, url } = await openService(t, async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { 'content-type': type, host, authorization } = request.headers
    received.push([request.method, type, authorization, `${Buffer.concat(chunks)}`])
    response.writeHead(host?.startsWith('127') ? 400 : 500).end('{"err":"invalid_key"}')
  })
  const headers = {
    'Content-Type': 'application/secevent+jwt',
    Authorization: 'Bearer given-by-caller',
    Host: 'elsewhere.example',
    'User-Agent': 'other',
  }
  const answer = await outbound.request({
    method: 'POST',
    url,
    headers,
    body: 'e.y.J',
    maxBytes: 99,
  })
  assert.deepEqual(received, [
    ['POST', 'application/secevent+jwt', 'Bearer given-by-caller', 'e.y.J'],
  ])
  assert.equal(answer.status, 400)
  assert.equal(`${answer.body}`, '{"err":"invalid_key"}')
  const broken = { method: 'POST', url, headers: { 'x-a': 'b\r\nc: d' }, maxBytes: 9 } as const
  await refused(outbound.request(broken), 'invalid_request')
  assert.equal(received.length, 1)
})

for (const status of [300, 301, 302, 303, 307, 308]) {
  test(`does not follow a ${status}`, async (t) => {
    const { server, get, outbound, url } = await openService(t, (_request, response) => {
      response.writeHead(status, { location: '/elsewhere' }).end('{}')
    })
    const error = await refused(get(), 'redirect_refused')
    assert.equal(error.status, status)
    await refused(outbound.request({ method: 'POST', url, maxBytes: 99 }), 'redirect_refused')
    assert.equal(server.connections, 2)
  })
}

for (const status of [201, 204, 304, 401, 404, 500]) {
  test(`takes no JSON from a ${status}`, async (t) => {
    const { get } = await openService(t, (_request, response) => {
      response.writeHead(status).end(status === 204 || status === 304 ? undefined : '{}')
    })
    assert.equal((await refused(get(), 'bad_status')).status, status)
  })
}

test('reads up to the limit, and not one byte more', async (t) => {
  const body = JSON.stringify({ a: 'x'.repeat(100) })
  const declared = await openService(t, (_request, response) => {
    response.setHeader('content-length', body.length).end(body)
  })
  const chunked = await openService(t, (_request, response) => {
    response.write(body.slice(0, 50))
    response.end(body.slice(50))
  })
  for (const { get } of [declared, chunked]) {
    assert.ok((await get(body.length)).json)
    assert.equal((await refused(get(body.length - 1), 'too_large')).status, 200)
  }
})

test('refuses by Content-Length without waiting for a body', async (t) => {
  const { get } = await openService(t, (_request, response) => {
    response.setHeader('content-length', 10_000_000_000).flushHeaders()
  })
  await refused(get(), 'too_large')
})

test('hangs up on a body that never ends', async (t) => {
  let hungUp: () => void
  const closed = new Promise<void>((resolve) => {
    hungUp = resolve
  })
  const { get } = await openService(t, (_request, response) => {
    const more = () => {
      if (response.destroyed) return hungUp()
      response.write(' '.repeat(4096))
      setImmediate(more)
    }
    more()
  })
  await refused(get(100_000), 'too_large')
  await closed
})

test('gives up on a slow body, a silent server, a stuck handshake and a stuck look-up', async (t) => {
  const settings = { totalTimeoutMs: 400 }
  const slow: Answer = (_request, response) => {
    const timer = setInterval(() => response.write(' '), 5)
    response.on('close', () => clearInterval(timer))
  }
  const slowBody = await openService(t, slow, settings)
  assert.equal((await refused(slowBody.get(1_000_000), 'timeout')).status, 200)

  const silent = await openService(t, () => {}, { ...settings, connectTimeoutMs: 300 })
  assert.equal((await refused(silent.get(), 'timeout')).status, undefined)

  const stuck = await listen(t, net.createServer())
  const allow = [`127.0.0.1:${stuck.port}`]
  const handshake = createOutbound({ allow, allowLoopbackHttp: false, connectTimeoutMs: 300 })
  const url = `https://127.0.0.1:${stuck.port}/`
  await refused(handshake.getJson(url, { maxBytes: 10 }), 'timeout')
  assert.equal(stuck.connections, 1)

  const lookup = () => new Promise<string[]>(() => {})
  const resolving = await openFortress(t, { lookup, connectTimeoutMs: 50 })
  await refused(resolving.get('https://slow.example/'), 'timeout')
})

test('a server that is to stop waits for nobody much longer, and calls nobody any more', async (t) => {
  const leaving = new AbortController()
  const { server, get } = await openService(
    t,
    (_request, response) => void arrived.resolve(response),
    {
      leaving: leaving.signal,
      lastTimeoutMs: 5,
    },
  )
  let arrived = Promise.withResolvers<http.ServerResponse>()
  const before = get()
  json({ ok: true })({} as http.IncomingMessage, await arrived.promise)
  assert.deepEqual((await before).json, { ok: true })

  arrived = Promise.withResolvers()
  const underWay = refused(get(), 'timeout')
  await arrived.promise
  leaving.abort()
  await underWay
  await refused(get(), 'timeout')
  assert.equal(server.connections, 2)
})

test('a connection once made may take longer than connecting may', async (t) => {
  const { get } = await openService(
    t,
    (_request, response) => setTimeout(() => response.end('{}'), 600),
    { connectTimeoutMs: 500, totalTimeoutMs: 60_000 },
  )
  assert.deepEqual((await get()).json, {})
})

for (const encoding of ['gzip', 'GZIP', 'br', 'deflate', 'zstd', 'gzip, identity']) {
  test(`refuses an answer encoded as ${encoding}`, async (t) => {
    const { get } = await openService(t, (_request, response) => {
      response.setHeader('content-encoding', encoding).end(gzipSync('{}'))
    })
    await refused(get(), 'compressed')
  })
}

for (const body of ['', 'hello', '{"a":', '[]', '[{"a":1}]', '"text"', 'null', '42']) {
  test(`refuses ${JSON.stringify(body)}: no JSON object`, async (t) => {
    const { get } = await openService(t, (_request, response) => response.end(body))
    await refused(get(), 'not_json')
  })
}

const BROKEN: Record<string, string> = {
  'no HTTP at all': 'SSH-2.0-OpenSSH\r\n\r\n',
  nothing: '',
  'half a head': 'HTTP/1.1 200 OK\r\ncontent-le',
  'half a body': 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}',
  'two lengths': 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} ',
  'an absurd length': `HTTP/1.1 200 OK\r\ncontent-length: ${'9'.repeat(40)}\r\n\r\n{}`,
  'a length and chunks':
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
  'half a chunk': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{}',
  'an endless head': `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(50_000)}\r\n\r\n{}`,
  'another protocol': 'HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n',
}

for (const [name, bytes] of Object.entries(BROKEN)) {
  test(`a server that sends ${name} is a broken answer, and not quoted`, async (t) => {
    const { port } = await listen(
      t,
      net.createServer((socket) => socket.once('data', () => socket.end(bytes))),
    )
    const outbound = createOutbound({ allow: [], allowLoopbackHttp: true })
    const work = outbound.getJson(`http://127.0.0.1:${port}/`, { maxBytes: 1000 })
    const { message, cause } = await refused(work, 'bad_response')
    assert.equal(message, 'the answer is broken or incomplete')
    assert.ok(cause instanceof Error)
    assert.deepEqual(Object.keys(cause), ['code'])
  })
}

test('a reset connection is a broken answer, a closed port a failed connection', async (t) => {
  const { port } = await listen(
    t,
    net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy())),
  )
  const outbound = createOutbound({ allow: [], allowLoopbackHttp: true })
  const get = (url: string) => outbound.getJson(url, { maxBytes: 10 })
  await refused(get(`http://127.0.0.1:${port}/`), 'bad_response')

  const gone = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => gone.once('listening', resolve))
  const closed = (gone.address() as AddressInfo).port
  await new Promise((resolve) => gone.close(resolve))
  const error = await refused(get(`http://127.0.0.1:${closed}/`), 'connect_failed')
  assert.doesNotMatch(error.message, /ECONN|127\.0/)
  assert.match(String((error.cause as Error).message), /ECONNREFUSED/)
})

test('a bad entry in the list stops the start', () => {
  const start = () => createOutbound({ allow: ['10.0.0.0/99'], allowLoopbackHttp: false })
  assert.throws(start, /"10\.0\.0\.0\/99" is not/)
})
