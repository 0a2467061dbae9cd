/**
 * Relying apps in a process of their own, which outlive the servers that tell them of revocations. They answer
 * by a script (app-script.ts), and write every event down before they answer: whatever becomes of the
 * answer, what was received is on record. Started by scripted-apps.ts.
 */

import { createHash } from 'node:crypto'
import { openSync, writeSync } from 'node:fs'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import {
  type Answering,
  type AppKind,
  accepts,
  chooseAnswer,
  chooseGreeting,
  isByTls,
} from './app-script.ts'
import type { Plan, Receipt, Said, Told } from './scripted-apps.ts'
import { MISNAMED, TEST_ONLY_CERTIFICATE, TEST_ONLY_PRIVATE_KEY, UNTRUSTED } from './tls.ts'

type Turn = { receipt: Receipt & { jti: string }; socket: Socket; response: ServerResponse }

/** Milliseconds between the parts of an answer in drips. */
const DRIP = 150
/** Seconds. */
const RETRY_AFTER = 20

const { file, seed, apps } = JSON.parse(process.argv[2] as string) as Plan
const record = openSync(file, 'a')
/** Answers so far, and requests that have none yet, by `jti`. */
const answered = new Map<string, Answering[]>()
const open = new Map<string, number[]>()
const held = new Map<string, ((answer: Answering) => void)[]>()

process.on('disconnect', () => process.exit())
process.on('message', ({ release, jti, to }: Said) => {
  const waiting = held.get(jti)
  const go = to === 'first' ? waiting?.shift() : waiting?.pop()
  go?.(release)
})
const endpoints = await Promise.all(apps.map(async (kind) => [kind, await openApp(kind)] as const))
tell({ endpoints: Object.fromEntries(endpoints) as Record<AppKind, string> })

function openApp(kind: AppKind): Promise<string> {
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    take(kind, request, response).catch(() => response.destroy())
  }
  const doors = isByTls(kind) ? doorsByTls(listener) : { well: http.createServer(listener) }
  let connections = 0
  const greet = (socket: Socket) => {
    socket.on('error', () => undefined)
    const greeting = chooseGreeting(seed, kind, connections++)
    if (greeting !== 'well') write({ app: kind, at: Date.now(), answer: greeting, accepted: false })
    const door: Server | undefined = (doors as Record<string, Server>)[greeting]
    if (door) door.emit('connection', socket)
    else socket.resetAndDestroy()
  }
  return new Promise((resolve) => {
    const server = createServer(greet).listen(0, '127.0.0.1', 1_024, () => {
      const { port } = server.address() as AddressInfo
      resolve(`${isByTls(kind) ? 'https' : 'http'}://127.0.0.1:${port}/events`)
    })
  })
}

function doorsByTls(listener: http.RequestListener) {
  const trusted = { cert: TEST_ONLY_CERTIFICATE, key: TEST_ONLY_PRIVATE_KEY }
  const open = (pair: typeof trusted) =>
    https.createServer(pair, listener).on('tlsClientError', () => undefined)
  return { well: open(trusted), untrusted: open(UNTRUSTED), misnamed: open(MISNAMED) }
}

async function take(app: AppKind, request: IncomingMessage, response: ServerResponse) {
  const body = await text(request)
  const { jti = '', sub = '', aud } = decodeJwt(body)
  const before = answered.get(jti) ?? []
  const answer = chooseAnswer({ seed, kind: app }, jti, before)
  answered.set(jti, [...before, answer])
  const at = Date.now()
  const [beside] = keepOpen(jti, at, response)
  const bytes = createHash('sha256').update(body).digest('hex')
  const accepted = accepts(answer)
  const receipt = { app, at, answer, accepted, jti, sub, aud: String(aud), bytes, beside }
  write(receipt)
  await reply(answer, { receipt, socket: request.socket, response })
}

/** Since when other requests with this `jti` are being answered. */
function keepOpen(jti: string, at: number, response: ServerResponse): number[] {
  const others = open.get(jti) ?? []
  open.set(jti, [...others, at])
  response.on('close', () => {
    const left = open.get(jti) ?? []
    left.splice(left.indexOf(at), 1)
    if (left.length === 0) open.delete(jti)
  })
  return others
}

async function reply(answer: Answering, turn: Turn): Promise<unknown> {
  const { receipt, socket, response } = turn
  switch (answer) {
    case 'accept':
      return response.writeHead(202).end()
    case 'accept_otherwise':
      return response.writeHead(200, { 'content-type': 'text/plain' }).end('ok')
    case 'accept_in_drips':
      return drip(response)
    case 'silence':
      return undefined
    case 'reset_after':
      return socket.resetAndDestroy()
    case 'reset_within':
      response.writeHead(202, { 'content-length': '100' }).write('half of')
      await pause(DRIP)
      return socket.resetAndDestroy()
    case 'unavailable':
      return response.writeHead(503).end('<h1>Busy</h1>')
    case 'unavailable_until':
      return response.writeHead(503, { 'retry-after': String(RETRY_AFTER) }).end()
    case 'too_many':
      return response.writeHead(429, { 'retry-after': httpDate(RETRY_AFTER) }).end()
    case 'redirect':
      return response.writeHead(307, { location: '/elsewhere' }).end()
    case 'gone':
      return response.writeHead(404).end()
    case 'unauthorized':
      return response.writeHead(401, { 'www-authenticate': 'Bearer' }).end()
    case 'nonsense':
      return response.writeHead(400, { 'content-type': 'application/json' }).end('{"err":')
    case 'hold': {
      const told = await toldWhat(receipt.jti)
      write({ ...receipt, answer: told, accepted: accepts(told) })
      return reply(told, turn)
    }
    default:
      return response
        .writeHead(400, { 'content-type': 'application/json', 'content-language': 'en' })
        .end(JSON.stringify({ err: answer, description: 'by the script' }))
  }
}

async function drip(response: ServerResponse): Promise<void> {
  response.writeHead(202, { 'content-type': 'text/plain' })
  for (let drops = 0; drops < 4; drops++) {
    response.write('.')
    await pause(DRIP)
  }
  response.end()
}

function toldWhat(jti: string): Promise<Answering> {
  return new Promise((resolve) => {
    held.set(jti, [...(held.get(jti) ?? []), resolve])
    tell({ held: jti })
  })
}

const httpDate = (seconds: number) => new Date(Date.now() + seconds * 1_000).toUTCString()

function write(receipt: Receipt): void {
  writeSync(record, `${JSON.stringify(receipt)}\n`)
}

function tell(told: Told): void {
  process.send?.(told)
}
