/**
 * A receiver of Shared Signals as somebody else would write it: from SSF 1.0, RFC 8935, RFC 8936, RFC 8417 and
 * RFC 6749 alone, with nothing of the server but its issuer.
 */
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLocalJWKSet, decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose'
import type { Answer, House } from '../support/house.ts'

export const CAEP = 'https://schemas.openid.net/secevent/caep/event-type'
export const SESSION_REVOKED = `${CAEP}/session-revoked`
export const CREDENTIAL_CHANGE = `${CAEP}/credential-change`
export const VERIFICATION = 'https://schemas.openid.net/secevent/ssf/event-type/verification'
export const STREAM_UPDATED = 'https://schemas.openid.net/secevent/ssf/event-type/stream-updated'
export const PUSH = 'urn:ietf:rfc:8935'
export const POLL = 'urn:ietf:rfc:8936'

// biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
export type SecurityEvent = JWTPayload & { sub_id: any; txn: string; events: Record<string, any> }

export type SignalReceiver = {
  client_id: string
  client_secret: string
  audience: string
  metadata: Record<string, string>
  /** An access token with these scopes. */
  token(scope?: string): Promise<string>
  /** Calls an endpoint of the metadata, or another address, with a token that may do everything. */
  call(method: string, url: string, body?: object, token?: string): Promise<Answer>
  create(delivery?: object, more?: object): Promise<Answer>
  /** Reads a SET as RFC 8417 and SSF §4 want it; throws for one that is not to be believed. */
  read(set: string): Promise<SecurityEvent>
  poll(
    streamId: string,
    body?: object,
  ): Promise<{ sets: Record<string, string>; moreAvailable: boolean }>
}

let count = 0

/** Enrols one with the administrator, who hands over its credentials. */
export async function openReceiver(house: House, of: object = {}): Promise<SignalReceiver> {
  const audience = `https://receiver-${++count}.example/signals`
  const made = await house.admin('POST', '/ssf-receivers', {
    name: `Receiver ${count}`,
    audience,
    ...of,
  })
  if (made.status !== 201) throw new Error(made.text)
  const { client_id, client_secret } = made.body
  const get = async (url: string) => {
    const answer = await house.inject({ method: 'GET', url: pathOf(url) })
    if (answer.status !== 200) throw new Error(answer.text)
    return answer.body
  }
  const { issuer } = house.config
  const metadata = await get(`${issuer}/.well-known/ssf-configuration`)
  const server = await get(`${issuer}/.well-known/oauth-authorization-server`)

  async function token(scope?: string): Promise<string> {
    const pair = Buffer.from(`${client_id}:${client_secret}`).toString('base64')
    const fields = { grant_type: 'client_credentials', scope }
    const authorization = `Basic ${pair}`
    const answer = await house.form(pathOf(server.token_endpoint), fields, { authorization })
    if (answer.status !== 200) throw new Error(answer.text)
    return answer.body.access_token
  }

  async function call(method: string, url: string, body?: object, withToken?: string) {
    const bearer = withToken ?? (await token())
    return house.inject({
      method: method as 'GET',
      url: pathOf(url),
      headers: {
        authorization: `Bearer ${bearer}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { payload: JSON.stringify(body) }),
    })
  }

  async function read(set: string): Promise<SecurityEvent> {
    const keys = createLocalJWKSet(await get(metadata.jwks_uri))
    const { typ, alg } = decodeProtectedHeader(set)
    if (typ !== 'secevent+jwt') throw new Error(`typ is ${typ}`)
    if (alg !== 'RS256') throw new Error(`alg is ${alg}`)
    const { payload } = await jwtVerify(set, keys, { issuer: metadata.issuer, audience })
    const claims = payload as SecurityEvent
    if (claims.sub !== undefined || claims.exp !== undefined) throw new Error('sub or exp')
    if (typeof claims.jti !== 'string' || typeof claims.iat !== 'number')
      throw new Error('jti, iat')
    if (typeof claims.sub_id?.format !== 'string') throw new Error('sub_id')
    if (Object.keys(claims.events ?? {}).length !== 1) throw new Error('events')
    return claims
  }

  return {
    client_id,
    client_secret,
    audience,
    metadata,
    token,
    call,
    read,
    create: (delivery, more = {}) =>
      call('POST', metadata.configuration_endpoint, {
        ...(delivery && { delivery }),
        events_requested: [SESSION_REVOKED, CREDENTIAL_CHANGE],
        ...more,
      }),
    async poll(streamId, body = { returnImmediately: true }) {
      const { body: configuration } = await call(
        'GET',
        `${metadata.configuration_endpoint}?stream_id=${streamId}`,
      )
      const answer = await call('POST', configuration.delivery.endpoint_url, body)
      if (answer.status !== 200) throw new Error(answer.text)
      return answer.body
    },
  }
}

export function pathOf(url: string): string {
  const { pathname, search } = new URL(url)
  return `${pathname}${search}`
}

export type Pushed = { headers: Record<string, unknown>; body: string }
type EndpointAnswer = { status: number; body?: object; headers?: Record<string, string> }
export type Endpoint = {
  url: string
  received: Pushed[]
  /** What it answers next, and when nothing of that is left. */
  answers: EndpointAnswer[]
  otherwise: EndpointAnswer
  /** Resolves when so many have come. */
  arrived(number: number): Promise<void>
}

/** Where events are pushed (RFC 8935 §2). */
export async function openEndpoint(t: { after(end: () => unknown): void }): Promise<Endpoint> {
  const arrivals = new EventEmitter()
  const endpoint: Endpoint = {
    url: '',
    received: [],
    answers: [],
    otherwise: { status: 202 },
    async arrived(number) {
      while (endpoint.received.length < number) await once(arrivals, 'one')
    },
  }
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    endpoint.received.push({
      headers: { ...request.headers, method: request.method },
      body: Buffer.concat(chunks).toString(),
    })
    arrivals.emit('one')
    const { status, body, headers } = endpoint.answers.shift() ?? endpoint.otherwise
    response.writeHead(status, { ...(body && { 'content-type': 'application/json' }), ...headers })
    response.end(body && JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => new Promise((resolve) => server.close(resolve)))
  endpoint.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`
  return endpoint
}
