// Who sends slowly, or not at all, or does not read what is sent, holds a connection no longer than it takes.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http, { type ServerOptions } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { after, mock, test } from 'node:test'
import { sql } from 'kysely'
import { FORM_LIMIT } from '../../src/http/form.ts'
import { ADMIN_KEY, openHouse } from '../support/house.ts'

/** Every limit of the server in a hundredth of its time, so that they stand to each other as they do. */
const HASTE = 100
const { createServer } = http
let given: ServerOptions | undefined
mock.method(http, 'createServer', (options: ServerOptions, ...more: []) => {
  given = options
  const { headersTimeout = 60_000, connectionsCheckingInterval = 30_000 } = options ?? {}
  const hasty = {
    headersTimeout: headersTimeout / HASTE,
    connectionsCheckingInterval: connectionsCheckingInterval / HASTE,
  }
  return createServer({ ...options, ...hasty }, ...more)
})

const house = await openHouse({ after })
const { server } = house.app
const requestTimeout = server.requestTimeout
const patience = server.timeout
server.requestTimeout /= HASTE
server.setTimeout(server.timeout / HASTE)
await house.app.listen({ port: 0, host: '127.0.0.1' })
const { port } = server.address() as AddressInfo

function open(): { socket: Socket; told(): string; closed: Promise<void> } {
  const socket = connect(port, '127.0.0.1')
  const closed = new Promise<void>((done) => socket.on('close', () => done()))
  let told = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    told += chunk
  })
  socket.on('error', () => undefined)
  return { socket, told: () => told, closed }
}

const HEAD = [
  'POST /oauth2/token HTTP/1.1',
  'Host: localhost',
  'Content-Type: application/x-www-form-urlencoded',
  '',
].join('\r\n')

test('the limits are within half a minute, and each is asked after often enough', () => {
  assert.ok(requestTimeout > 0 && requestTimeout <= 30_000)
  // Node.js would take the greater one for that of the request.
  assert.ok(Number(given?.headersTimeout) > 0 && Number(given?.headersTimeout) <= requestTimeout)
  assert.ok(Number(given?.connectionsCheckingInterval) <= 5_000)
  assert.ok(patience > requestTimeout && patience <= 60_000)
})

for (const [what, bytes] of [
  ['nothing', ''],
  ['half a line', 'POST /oau'],
  ['headers that do not end', `${HEAD}X: y\r\n`],
  ['a body that is shorter than it says', `${HEAD}Content-Length: 50\r\n\r\na=b`],
  ['chunks that do not end', `${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n`],
] as const) {
  test(`who sends ${what}, and waits, is cut off`, async () => {
    const { socket, told, closed } = open()
    socket.write(bytes)
    const answer = await house.inject({ method: 'GET', url: '/livez' })
    assert.equal(answer.status, 200, 'somebody else has to wait')
    await closed
    assert.match(told(), /^HTTP\/1\.1 408 /)
  })
}

test('who sends a byte now and then is cut off all the same', async () => {
  const { socket, told, closed } = open()
  socket.write(`${HEAD}Content-Length: 50000\r\n\r\n`)
  const dripping = setInterval(() => socket.write('a'), 10)
  await closed
  clearInterval(dripping)
  assert.match(told(), /^HTTP\/1\.1 408 /)
})

test('a body without an end is cut off at its limit', async () => {
  const { socket, told, closed } = open()
  socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`)
  const chunk = `1000\r\n${'a'.repeat(0x1000)}\r\n`
  let sent = 0
  const pour = () => {
    while (!socket.destroyed && told() === '' && socket.write(chunk)) sent += 0x1000
    sent += 0x1000
  }
  socket.on('drain', pour)
  pour()
  await closed
  assert.match(told(), /^HTTP\/1\.1 400 [\s\S]*"invalid_request"/)
  assert.ok(sent > FORM_LIMIT)
})

test('who asks again and again and reads no answer is cut off', async () => {
  const accepting = once(server, 'connection')
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  const [accepted] = (await accepting) as [Socket]
  // More than the system keeps for somebody who does not fetch it.
  socket.write('GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(200))
  await once(accepted, 'close')
  assert.ok(accepted.bytesWritten > 0)
  socket.destroy()
})

test('who waits for the whole log to be verified is not', async () => {
  const { socket, told, closed } = open()
  const [[accepted]] = (await Promise.all([
    once(server, 'connection'),
    once(socket, 'connect'),
  ])) as [[Socket], []]
  const still = once(accepted, 'timeout')
  await house.deps.db.transaction().execute(async (tx) => {
    await sql`lock table seals`.execute(tx)
    const head = [`Host: localhost`, `Authorization: Bearer ${ADMIN_KEY}`, 'Connection: close']
    socket.write(`GET /admin/v1/audit-events/verify HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`)
    await still
  })
  await closed
  assert.match(told(), /^HTTP\/1\.1 200 [\s\S]*"ok":true/)
})
