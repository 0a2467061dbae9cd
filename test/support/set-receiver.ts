/**
 * A recipient of security event tokens that has read RFC 8417 and RFC 8935, and nothing else: it knows no
 * auth.md, takes any event, and needs no `sub` at the top. Written on node:crypto and node:http alone.
 */
import { createPublicKey, type JsonWebKey, verify } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export type SetRecipient = {
  /** Whose events it wants. */
  issuer: string
  /** How it is called by them. */
  audience: string
  keys(): Promise<readonly JsonWebKey[]>
}
export type Push = { contentType: string; accept: string; body: string }
export type Transmission =
  | { status: 202 }
  | { status: 400; err: string; description: string; language: 'en' }
type Json = Record<string, unknown>

const DIGEST: Record<string, string> = { ES256: 'sha256', RS256: 'sha256', PS256: 'sha256' }

/** The events that were accepted, each once, are put into `accepted`. */
export async function receiveSet(
  { contentType, accept, body }: Push,
  recipient: SetRecipient,
  accepted: Json[],
): Promise<Transmission> {
  // RFC 8935 §2.1: what a transmission consists of.
  if (contentType.toLowerCase() !== 'application/secevent+jwt') {
    return failure('invalid_request', 'not a SET by its media type')
  }
  if (!/(^|,)\s*(application\/json|application\/\*|\*\/\*)\s*($|[,;])/i.test(accept)) {
    return failure('invalid_request', 'takes no JSON for an answer')
  }
  const parts = body.split('.')
  const [header, claims] = parts.slice(0, 2).map(readPart)
  if (parts.length !== 3 || !header || !claims) return failure('invalid_request', 'not a JWT')
  if (claims.iss !== recipient.issuer) return failure('invalid_issuer', 'not from my transmitter')
  const keys = await recipient.keys()
  const key = keys.find(({ kid, alg }) => kid === header.kid && alg === header.alg)
  if (!key || header.kid === undefined) return failure('invalid_key', 'no such key')
  if (!isSigned(parts, String(header.alg), key)) {
    return failure('authentication_failed', 'the signature is not by that key')
  }
  if (![claims.aud].flat().includes(recipient.audience)) {
    return failure('invalid_audience', 'not for me')
  }
  const fault = faultOfSet(header, claims)
  if (fault !== undefined) return failure('invalid_request', fault)
  // RFC 8935 §2.2: a SET that came before is acknowledged like the first time.
  const isNew = !accepted.some(({ iss, jti }) => iss === claims.iss && jti === claims.jti)
  if (isNew) accepted.push(claims)
  return { status: 202 }
}

/** RFC 8417 §2.2, §2.3, and §4 for what would let it pass as another kind of token. */
function faultOfSet({ typ }: Json, { iat, jti, sub, toe, txn, events, ...more }: Json) {
  if (!/^(application\/)?secevent\+jwt$/i.test(String(typ))) return 'not typed as a SET'
  if (typeof iat !== 'number') return 'without iat'
  if (typeof jti !== 'string' || jti === '') return 'without jti'
  if (sub !== undefined && typeof sub !== 'string') return 'sub is no text'
  if (toe !== undefined && typeof toe !== 'number') return 'toe is no date'
  if (txn !== undefined && typeof txn !== 'string') return 'txn is no text'
  for (const name of ['exp', 'nonce']) if (name in more) return `may be another kind: ${name}`
  if (!isObject(events) || Object.keys(events).length === 0) return 'without events'
  for (const [type, payload] of Object.entries(events)) {
    if (!URL.canParse(type)) return 'an event that is not named by a URI'
    if (!isObject(payload)) return 'a payload that is no object'
  }
}

function isSigned([head, payload, tail = '']: string[], alg: string, jwk: JsonWebKey): boolean {
  const digest = DIGEST[alg]
  if (digest === undefined) return false
  const key = createPublicKey({ key: jwk, format: 'jwk' })
  const pss = { padding: 6, saltLength: 32 }
  const how = { ES256: { dsaEncoding: 'ieee-p1363' as const }, PS256: pss }[alg]
  const signature = Buffer.from(tail, 'base64url')
  return verify(digest, Buffer.from(`${head}.${payload}`), { key, ...how }, signature)
}

function readPart(part: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const failure = (err: string, description: string): Transmission => ({
  status: 400,
  err,
  description,
  language: 'en',
})

/** The same behind an address. */
export async function startSetReceiver(
  t: { after(end: () => Promise<void>): void },
  recipient: SetRecipient,
) {
  const accepted: Json[] = []
  const answers: Transmission[] = []
  const take = async ({ method, headers }: IncomingMessage, body: string) => {
    if (method !== 'POST') return failure('invalid_request', 'not a POST')
    const { 'content-type': contentType = '', accept = '' } = headers
    return receiveSet({ contentType, accept, body }, recipient, accepted)
  }
  const server = createServer(async (request, response) => {
    const answer = await take(request, await text(request))
    answers.push(answer)
    const { status, ...failed } = answer
    if (!('err' in failed)) return response.writeHead(status).end()
    const { err, description, language } = failed
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-language': language,
    })
    return response.end(JSON.stringify({ err, description }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`
  return { url, accepted, answers }
}
