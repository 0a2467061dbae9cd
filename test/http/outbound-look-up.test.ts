// One look-up for a request, and connections to what it found alone, whatever name servers say next (DR-31).
import assert from 'node:assert/strict'
import dns from 'node:dns'
import http from 'node:http'
import net from 'node:net'
import { type TestContext, test } from 'node:test'
import { createOutbound, type OutboundSettings } from '../../src/http/outbound.ts'
import { listen, refused } from '../support/listeners.ts'

/** Where 127.0.0.2 is an address without further ado. */
const LINUX = {
  skip: process.platform === 'linux' ? false : 'needs more than one loopback address',
}
const LIMITS = { maxBytes: 100 }

/** The one that is asked for first and another one at the same port, and nobody else's look-ups. */
async function openTwo(t: TestContext, answers: string[][], settings?: Partial<OutboundSettings>) {
  const answer = (name: string) =>
    http.createServer((_request, response) => response.end(JSON.stringify({ name })))
  const first = await listen(t, answer('first'))
  const second = await listen(t, answer('second'), { host: '127.0.0.2', port: first.port })
  const nodes = t.mock.method(dns, 'lookup')
  let asked = 0
  const lookup = async () => answers[asked++] ?? assert.fail('asked once more')
  const outbound = createOutbound({ allow: [], allowLoopbackHttp: true, lookup, ...settings })
  const get = () => outbound.getJson(`http://rebind.example:${first.port}/`, LIMITS)
  const assertAsked = (times: number) => {
    assert.equal(asked, times)
    assert.equal(nodes.mock.callCount(), 0)
  }
  return { first, second, get, assertAsked }
}

test(
  'an answer that changes between look-up and connect is never asked for (DR-31)',
  LINUX,
  async (t) => {
    const answers = [['127.0.0.1'], ['127.0.0.2'], ['127.0.0.1']]
    const { first, second, get, assertAsked } = await openTwo(t, answers)
    assert.deepEqual((await get()).json, { name: 'first' })
    assertAsked(1)
    assert.deepEqual([first.connections, second.connections], [1, 0])
    // The next request asks anew, and goes where that leads.
    assert.deepEqual((await get()).json, { name: 'second' })
    assert.deepEqual((await get()).json, { name: 'first' })
    assertAsked(3)
    assert.deepEqual([first.connections, second.connections], [2, 1])
  },
)

test('a connection that fails is not tried at an address found later (DR-31)', LINUX, async (t) => {
  const { first, second, get, assertAsked } = await openTwo(t, [['127.0.0.3'], ['127.0.0.2']])
  await refused(get(), 'connect_failed')
  assertAsked(1)
  assert.deepEqual([first.connections, second.connections], [0, 0])
})

test(
  'every address that is tried has been judged: the second one answers for the first (DR-31)',
  LINUX,
  async (t) => {
    const { first, second, get, assertAsked } = await openTwo(t, [['127.0.0.3', '127.0.0.2']])
    assert.deepEqual((await get()).json, { name: 'second' })
    assertAsked(1)
    assert.deepEqual([first.connections, second.connections], [0, 1])
  },
)

for (const [then, reason] of [
  [['10.0.0.1'], 'scheme_not_allowed'],
  [['127.0.0.1', '8.8.8.8'], 'scheme_not_allowed'],
  [['169.254.169.254', '127.0.0.1'], 'scheme_not_allowed'],
] as const) {
  test(`a name that is moved to ${then} after it was used is refused (DR-31)`, LINUX, async (t) => {
    const { first, second, get, assertAsked } = await openTwo(t, [['127.0.0.1'], [...then]])
    await get()
    await refused(get(), reason)
    assertAsked(2)
    assert.deepEqual([first.connections, second.connections], [1, 0])
  })
}

test('a public name that is moved to a private address after it was used is refused (DR-31)', async (t) => {
  const server = await listen(t, net.createServer(), { host: '::', ipv6Only: false })
  const answers = [['127.0.0.1'], ['127.0.0.1', '127.0.0.2'], ['::1'], ['10.0.0.1']]
  const lookup = async () => answers.shift() ?? assert.fail('asked once more')
  const allow = [`127.0.0.1:${server.port}`]
  const outbound = createOutbound({
    allow,
    allowLoopbackHttp: false,
    lookup,
    connectTimeoutMs: 200,
  })
  const get = () => outbound.getJson(`https://moving.example:${server.port}/`, LIMITS)
  await refused(get(), 'timeout') // nobody answers the handshake, and somebody was called
  assert.equal(server.connections, 1)
  for (let index = 0; index < 3; index++) await refused(get(), 'address_not_allowed')
  assert.equal(server.connections, 1)
})

test('look-ups of one name that are under way together are one', async (t) => {
  const server = await listen(
    t,
    http.createServer((_request, response) => response.end('{}')),
  )
  const waiting: ((addresses: string[]) => void)[] = []
  const asked: string[] = []
  const lookup = (host: string) => {
    asked.push(host)
    return new Promise<string[]>((resolve) => void waiting.push(resolve))
  }
  const outbound = createOutbound({ allow: [], allowLoopbackHttp: true, lookup })
  const get = (host: string) => outbound.getJson(`http://${host}:${server.port}/`, LIMITS)
  const requests = [get('a.example'), get('A.example.'), get('b.example'), get('a.example')]
  assert.deepEqual(asked, ['a.example', 'b.example'])
  for (const answer of waiting) void answer(['127.0.0.1'])
  for (const { json } of await Promise.all(requests)) assert.deepEqual(json, {})
  const later = get('a.example')
  assert.deepEqual(asked, ['a.example', 'b.example', 'a.example'])
  waiting[2]?.(['10.0.0.1'])
  await refused(later, 'scheme_not_allowed')
})

test('a name server that is silent keeps one question waiting, not one for each try', async () => {
  let asked = 0
  let fail = (_error: Error) => {}
  const lookup = () => {
    asked += 1
    return new Promise<string[]>((_resolve, reject) => {
      fail = reject
    })
  }
  const outbound = createOutbound({
    allow: [],
    allowLoopbackHttp: false,
    lookup,
    connectTimeoutMs: 1,
  })
  const get = () => outbound.getJson('https://silent.example/', LIMITS)
  for (let index = 0; index < 5; index++) await refused(get(), 'timeout')
  assert.equal(asked, 1)
  fail(new Error('EAI_AGAIN'))
  await new Promise(setImmediate)
  await refused(get(), 'timeout')
  assert.equal(asked, 2)
})

test('a name server that fails is a failure of those who waited, and of nobody later', async () => {
  const answers = [new Error('EAI_AGAIN'), ['10.0.0.1']]
  const lookup = async () => {
    const answer = answers.shift() ?? assert.fail('asked once more')
    if (answer instanceof Error) throw answer
    return answer
  }
  const outbound = createOutbound({ allow: [], allowLoopbackHttp: false, lookup })
  const get = () => outbound.getJson('https://failing.example/', LIMITS)
  const together = [get(), get()]
  for (const request of together) await refused(request, 'resolution_failed')
  await refused(get(), 'address_not_allowed')
})
