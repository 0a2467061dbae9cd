/**
 * The one guarded way out. Every call to an address that someone else supplied goes through here:
 * client metadata, JWKS, discovery documents, events endpoints (protocol.md §5.5).
 *
 *  1. https and port 443, unless the operator listed the port; no userinfo (DR-30).
 *  2. All addresses of the host are looked up once and judged; one bad one refuses the request.
 *     The connection goes to those addresses, without a second look-up (DR-31).
 *  3. No redirect is followed, nothing is decompressed, everything has a limit (DR-32, DR-33).
 *  4. Nothing of ours goes along: no cookie, no proxy, no connection kept (DR-34).
 *  5. An OutboundError can be shown; what the network or the other side said cannot (DR-36).
 */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { readAllowRule } from './allow-list.ts'
import {
  type DestinationRules,
  knownAddresses,
  readDestination,
  refuseAddresses,
  refuseBeforeLookup,
  refuseUrl,
} from './destination.ts'
import { type JsonFault, readJsonObject } from './json-object.ts'
import { type Lookup, lookUpAll, shareLookups } from './look-up.ts'
import { OutboundError, type OutboundReason } from './outbound-error.ts'
import {
  type Message,
  plainHeaders,
  readBody,
  refuseRedirect,
  sendRequest,
} from './send-request.ts'

export { parseAllowList } from './allow-list.ts'
export { OutboundError, type OutboundReason } from './outbound-error.ts'

export type OutboundSettings = {
  /** Entries of OUTBOUND_ALLOW, see allow-list.ts. */
  allow: string[]
  /** DR-35: `http` and any port, to loopback addresses only. */
  allowLoopbackHttp: boolean
  lookup?: Lookup
  /** Milliseconds for look-up, TCP and TLS together; 3000 unless told. */
  connectTimeoutMs?: number
  /** Milliseconds up to the last byte of the answer; 10000 unless told. */
  totalTimeoutMs?: number
  /** Aborted when the server is to stop: nobody is waited for much longer, by a request under way or a new one. */
  leaving?: AbortSignal
  /** Milliseconds from then on; 5000 unless told. */
  lastTimeoutMs?: number
}

export type OutboundRequest = Message & {
  url: string
  /** Bytes of the answer's body. */
  maxBytes: number
}

/** Names of `headers` are in lower case; `set-cookie` is dropped. */
export type OutboundAnswer = { status: number; headers: Record<string, string>; body: Buffer }

export type JsonAnswer = Omit<OutboundAnswer, 'body'> & { json: Record<string, unknown> }

export type Outbound = {
  /**
   * What is wrong with a URL before anything is asked of the network, in the words that a request
   * to it would be refused with; undefined if nothing is. For whoever registers an address.
   */
  judge(url: string): string | undefined
  /**
   * Any status but a redirect is an answer. Whatever the media type, the body is bytes.
   * @throws OutboundError, with `status` if one was received
   */
  request(request: OutboundRequest): Promise<OutboundAnswer>
  /**
   * A JSON object, with status 200. The media type is not looked at: key sets come as many.
   * @throws OutboundError, with `status` if one was received
   */
  getJson(url: string, limits: { maxBytes: number }): Promise<JsonAnswer>
}

/** @throws Error for a bad entry in `allow` */
export function createOutbound(settings: OutboundSettings): Outbound {
  const guard: Guard = {
    allow: settings.allow.map(readAllowRule),
    allowLoopbackHttp: settings.allowLoopbackHttp,
    lookup: shareLookups(settings.lookup ?? lookUpAll),
    connectTimeoutMs: settings.connectTimeoutMs ?? 3_000,
    totalTimeoutMs: settings.totalTimeoutMs ?? 10_000,
    over: settings.leaving && soonAfter(settings.leaving, settings.lastTimeoutMs ?? 5_000),
  }
  return {
    judge(url) {
      const refusal = refuseUrl(url, guard)
      return refusal && new OutboundError(refusal).message
    },

    request: (request) => call(guard, request, (answer) => readBody(answer, request.maxBytes)),

    async getJson(url, { maxBytes }) {
      const headers = { accept: 'application/json' }
      const request = { method: 'GET', url, headers, maxBytes } as const
      const { body, ...answer } = await call(guard, request, async (answer) => {
        if (answer.statusCode !== 200) throw new OutboundError('bad_status')
        const json = readJsonObject(await readBody(answer, maxBytes))
        if (typeof json === 'string') throw new OutboundError(NOT_TAKEN[json])
        return json
      })
      return { ...answer, json: body }
    },
  }
}

const NOT_TAKEN: Record<JsonFault, OutboundReason> = {
  not_utf8: 'not_json',
  not_json: 'not_json',
  no_object: 'not_json',
  unstorable: 'unstorable_json',
  too_deep: 'deep_json',
}

type Guard = DestinationRules & {
  lookup: Lookup
  connectTimeoutMs: number
  totalTimeoutMs: number
  over: AbortSignal | undefined
}

function soonAfter(signal: AbortSignal, milliseconds: number): AbortSignal {
  const over = new AbortController()
  const begin = () => setTimeout(() => over.abort(), milliseconds).unref()
  signal.addEventListener('abort', begin, { once: true })
  return over.signal
}

/** Everything between the URL and the answer, under all time limits. */
async function call<T>(
  guard: Guard,
  { url, maxBytes, ...message }: OutboundRequest,
  read: (answer: IncomingMessage) => Promise<T>,
): Promise<{ status: number; headers: Record<string, string>; body: T }> {
  const to = readDestination(url)
  if (typeof to === 'string') throw new OutboundError(to)
  refuseIf(refuseBeforeLookup(to, guard))

  const abort = new AbortController()
  const giveUp = () => abort.abort()
  if (guard.over?.aborted) throw new OutboundError('timeout')
  guard.over?.addEventListener('abort', giveUp)
  const total = setTimeout(giveUp, guard.totalTimeoutMs)
  const connecting = setTimeout(giveUp, guard.connectTimeoutMs)
  // What it means if something unknown goes wrong now, and what was answered so far.
  let failing: OutboundReason = 'resolution_failed'
  let status: number | undefined
  try {
    const addresses = await findAddresses(guard.lookup, to.host, abort.signal)
    refuseIf(refuseAddresses(to, addresses, guard))

    failing = 'connect_failed'
    const onConnected = () => {
      clearTimeout(connecting)
      failing = 'bad_response'
    }
    const limit = { signal: abort.signal, maxBytes, onConnected }
    const answer = await sendRequest(to, addresses, message, limit)
    status = answer.statusCode ?? 0
    refuseRedirect(answer)
    return { status, headers: plainHeaders(answer), body: await read(answer) }
  } catch (cause) {
    const error = asOutboundError(cause, abort.signal.aborted ? 'timeout' : failing)
    error.status = status
    throw error
  } finally {
    clearTimeout(total)
    clearTimeout(connecting)
    guard.over?.removeEventListener('abort', giveUp)
    abort.abort() // closes the connection, whatever is still on the way
  }
}

/** @throws the signal's reason, or what the look-up throws */
async function findAddresses(lookup: Lookup, host: string, signal: AbortSignal): Promise<string[]> {
  const known = knownAddresses(host)
  if (known) return known
  const found = await new Promise<string[]>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    lookup(host).then(resolve, reject)
  })
  if (found.length === 0 || found.some((address) => isIP(address) === 0)) {
    throw new Error('the look-up found no address, or something else')
  }
  return found
}

function refuseIf(refusal: OutboundReason | undefined): void {
  if (refusal) throw new OutboundError(refusal)
}

function asOutboundError(cause: unknown, otherwise: OutboundReason): OutboundError {
  return cause instanceof OutboundError ? cause : new OutboundError(otherwise, cause)
}
