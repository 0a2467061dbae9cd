/**
 * ES256 JWTs for the bench: the generator's client assertions, the peers' ID tokens, the ceiling's ID-JAGs.
 *
 * node:crypto with a bare KeyObject speaks DER; asking it for raw signatures takes an options object, with
 * which Node.js 24 copies the key at every call. So r and s are carried over by hand.
 */
import crypto, { type KeyObject } from 'node:crypto'

export type Jwk = Record<string, unknown> & { kid: string }
export type Claims = Record<string, unknown>

export function newJwk(kid: string): Jwk {
  const { privateKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { ...privateKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' }
}

export function publicJwk({ d: _, ...jwk }: Jwk): Jwk {
  return jwk as Jwk
}

export function privateKeyOf(jwk: Jwk): KeyObject {
  return crypto.createPrivateKey({ key: jwk, format: 'jwk' })
}

export function publicKeyOf(jwk: Jwk): KeyObject {
  return crypto.createPublicKey({ key: publicJwk(jwk), format: 'jwk' })
}

export function encodePart(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** `header` is an encoded part: it is the same for every token of one key. */
export function signJwt(header: string, claims: Claims, key: KeyObject): string {
  const input = `${header}.${encodePart(claims)}`
  const signature = rawFromDer(crypto.sign('sha256', Buffer.from(input), key))
  return `${input}.${signature.toString('base64url')}`
}

/** The header and claims of a token, unchecked. */
export function readJwt(token: string): { header: Claims; claims: Claims } {
  const [header = '', claims = ''] = token.split('.')
  return { header: decodePart(header), claims: decodePart(claims) }
}

export function signatureHolds(token: string, key: KeyObject): boolean {
  const end = token.lastIndexOf('.')
  const signature = Buffer.from(token.slice(end + 1), 'base64url')
  if (signature.length !== 64) return false
  return crypto.verify('sha256', Buffer.from(token.slice(0, end)), key, derFromRaw(signature))
}

/** A one-time private_key_jwt assertion (RFC 7523 §3). */
export function clientAssertion(
  header: string,
  clientId: string,
  audience: string,
  key: KeyObject,
): string {
  const now = Math.floor(Date.now() / 1000)
  const jti = crypto.randomUUID()
  return signJwt(
    header,
    { iss: clientId, sub: clientId, aud: audience, jti, iat: now, exp: now + 240 },
    key,
  )
}

/** A one-time DPoP proof for this endpoint (RFC 9449 §4.2). */
export function dpopProof(header: string, url: string, key: KeyObject): string {
  const iat = Math.floor(Date.now() / 1000)
  return signJwt(header, { jti: crypto.randomUUID(), htm: 'POST', htu: url, iat }, key)
}

export function dpopHeader({ kty, crv, x, y }: Jwk): string {
  return encodePart({ alg: 'ES256', typ: 'dpop+jwt', jwk: { kty, crv, x, y } })
}

export function assertionHeader(jwk: Jwk): string {
  return encodePart({ alg: 'ES256', typ: 'JWT', kid: jwk.kid })
}

function decodePart(part: string): Claims {
  return JSON.parse(Buffer.from(part, 'base64url').toString())
}

/** Ecdsa-Sig-Value, a SEQUENCE of two INTEGERs, to r and s of 32 bytes each. */
function rawFromDer(der: Buffer): Buffer {
  const raw = Buffer.alloc(64)
  let at = 2
  for (let end = 32; end <= 64; end += 32) {
    const length = der.readUInt8(at + 1)
    const stop = at + 2 + length
    const start = length > 32 ? stop - 32 : at + 2
    der.copy(raw, end - (stop - start), start, stop)
    at = stop
  }
  return raw
}

function derFromRaw(raw: Buffer): Buffer {
  const der = Buffer.alloc(72)
  let at = 2
  for (let start = 0; start < 64; start += 32) {
    let from = start
    while (from < start + 31 && raw[from] === 0) from++
    const signBit = raw.readUInt8(from) >> 7
    der[at] = 0x02
    der[at + 1] = start + 32 - from + signBit
    at += 2 + signBit // alloc left the padding byte zero
    at += raw.copy(der, at, from, start + 32)
  }
  der[0] = 0x30
  der[1] = at - 2
  return der.subarray(0, at)
}
