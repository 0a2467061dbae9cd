/** A relying app's events endpoint, in the order of the reference receiver (protocol reference §6.2). */

import { compactVerify, decodeJwt, decodeProtectedHeader, type JWK } from 'jose'

export type Received =
  | { status: 202; revoked?: { iss: string; sub: string; aud: string } }
  | { status: 400; err: string }

type Expected = {
  issuer: string
  audience: string
  /** What the issuer publishes. */
  keys: readonly JWK[]
  /** The event types it knows. */
  knows: readonly string[]
  seen: Set<string>
}

const MEDIA_TYPES: Record<string, string> = {
  'application/secevent+jwt': 'secevent+jwt',
  'application/logout+jwt': 'logout+jwt',
}
const refused = (err: string): Received => ({ status: 400, err })

export async function receive(
  mediaType: string,
  body: string,
  { issuer, audience, keys, knows, seen }: Expected,
): Promise<Received> {
  const typ = MEDIA_TYPES[mediaType]
  if (typ === undefined) return refused('invalid_request')
  const claims = decodeJwt(body)
  if (claims.iss !== issuer) return refused('invalid_issuer')
  const header = decodeProtectedHeader(body)
  const key = keys.find(({ kid }) => kid === header.kid)
  if (!key) return refused('invalid_key')
  try {
    await compactVerify(body, key, { algorithms: [key.alg ?? ''] })
  } catch {
    return refused('authentication_failed')
  }
  if (header.typ !== typ) return refused('invalid_request')
  if (claims.aud !== audience) return refused('invalid_audience')
  const { jti, sub, events } = claims
  if (typeof jti !== 'string' || typeof sub !== 'string') return refused('invalid_request')
  if (typeof events !== 'object' || events === null) return refused('invalid_request')
  const types = Object.keys(events)
  if (types.length === 0) return refused('invalid_request')
  if (seen.has(jti)) return refused('invalid_request')
  seen.add(jti)
  if (!types.some((type) => knows.includes(type))) return { status: 202 }
  return { status: 202, revoked: { iss: issuer, sub, aud: audience } }
}
