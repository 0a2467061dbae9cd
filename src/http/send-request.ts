/** One request over one new connection to addresses already judged, and its bounded answer. */
import http from 'node:http'
import https from 'node:https'
import { isIP, type LookupFunction, type Socket } from 'node:net'
import type { Destination } from './destination.ts'
import { OutboundError } from './outbound-error.ts'

export type Message = {
  method: 'GET' | 'POST'
  headers?: Record<string, string>
  body?: string | Uint8Array
}

/**
 * The head of the answer; its body is still on the way.
 * @throws OutboundError `invalid_request`; otherwise whatever Node.js reports, or the abort
 */
export async function sendRequest(
  to: Destination,
  addresses: string[],
  message: Message,
  limit: { signal: AbortSignal; maxBytes: number; onConnected: () => void },
): Promise<http.IncomingMessage> {
  const isHttps = to.scheme === 'https:'
  const outgoing = openRequest(to, addresses, message, limit.signal)
  return new Promise((resolve, reject) => {
    outgoing
      .on('socket', (socket) => {
        socket.once(isHttps ? 'secureConnect' : 'connect', limit.onConnected)
        hangUpOnFlood(socket, limit.maxBytes)
      })
      .on('response', resolve)
      .on('error', reject)
      .on('close', () => reject(new Error('closed without an answer')))
      .end(message.body)
  })
}

/** @throws OutboundError `redirect_refused`, before the body is read (DR-32) */
export function refuseRedirect({ statusCode = 0 }: http.IncomingMessage): void {
  // 304 carries no location: it answers a conditional request.
  const isRedirect = statusCode >= 300 && statusCode < 400 && statusCode !== 304
  if (isRedirect) throw new OutboundError('redirect_refused')
}

/**
 * @param maxBytes counted while reading; a Content-Length beyond it ends the matter at once
 * @throws OutboundError `compressed`, `too_large` (DR-33)
 */
export async function readBody(answer: http.IncomingMessage, maxBytes: number): Promise<Buffer> {
  const encoding = answer.headers['content-encoding'] ?? 'identity'
  if (encoding.trim().toLowerCase() !== 'identity') throw new OutboundError('compressed')
  if (Number(answer.headers['content-length'] ?? 0) > maxBytes) {
    throw new OutboundError('too_large')
  }
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBytes) throw new OutboundError('too_large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Names in lower case, values that came several times joined; no cookie gets further (DR-34). */
export function plainHeaders(answer: http.IncomingMessage): Record<string, string> {
  const { 'set-cookie': _cookies, ...headers } = answer.headers
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}

// No proxy, no kept connection, no TLS session that would skip verifying the next time.
const HTTP_AGENT = new http.Agent({ keepAlive: false })
const HTTPS_AGENT = new https.Agent({ keepAlive: false, maxCachedSessions: 0 })

/**
 * Interim answers, empty lines and the noughts before the length of a chunk are neither head nor
 * body to the parser, and may come without end. Chunks of one byte take six on the wire.
 */
function hangUpOnFlood(socket: Socket, maxBytes: number): void {
  const most = 256 * 1024 + 8 * maxBytes
  let received = 0
  socket.on('data', (bytes: Buffer) => {
    received += bytes.length
    if (received > most) socket.destroy(new Error('far more was sent than any answer has'))
  })
}

function openRequest(
  to: Destination,
  addresses: string[],
  { method, headers, body }: Message,
  signal: AbortSignal,
): http.ClientRequest {
  const options = {
    method,
    signal,
    host: to.host,
    port: to.port,
    path: to.path,
    lookup: pinned(addresses),
    headers: ownHeaders(headers, body),
    insecureHTTPParser: false,
    maxHeaderSize: 16_384, // bytes
  }
  try {
    if (to.scheme === 'http:') return http.request({ ...options, agent: HTTP_AGENT })
    return https.request({
      ...options,
      agent: HTTPS_AGENT,
      servername: isIP(to.host) === 0 ? to.host : '', // RFC 6066 §3: never an address
      rejectUnauthorized: true, // also against NODE_TLS_REJECT_UNAUTHORIZED
      minVersion: 'TLSv1.2', // also against --tls-min-v1.0
    })
  } catch (cause) {
    throw new OutboundError('invalid_request', cause)
  }
}

/** Answers what was judged, whatever it is asked (DR-31). */
function pinned(addresses: string[]): LookupFunction {
  const known = addresses.map((address) => ({ address, family: isIP(address) }))
  return (_host, options, answer) => {
    const first = known[0]
    if (options.all) answer(null, known)
    else if (first) answer(null, first.address, first.family)
  }
}

/** What the caller wants to say, except where it is ours to say. */
function ownHeaders(wanted: Record<string, string> = {}, body?: string | Uint8Array) {
  const lowerCase = Object.entries(wanted).map(([name, value]) => [name.toLowerCase(), value])
  const { cookie: _cookie, host: _host, ...headers } = Object.fromEntries(lowerCase)
  const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
  return { ...headers, ...length, 'accept-encoding': 'identity', 'user-agent': 'agent-idp' }
}
