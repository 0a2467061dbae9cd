import { isUtf8 } from 'node:buffer'
import { type KeyObject, sign, verify } from 'node:crypto'

// Compact JWS (RFC 7515 §7.1) on node:crypto itself: synchronous, with bare KeyObjects, for this is the
// greater part of the work of an issuance. Stricter than a general library: what two parsers could read
// in two ways is refused (RFC 8725 §3, SE-15).

export type VerificationAlg = 'ES256' | 'RS256' | 'EdDSA'

export type DecodedJws = {
  header: Record<string, unknown> & { alg: string }
  payload: Record<string, unknown>
  signingInput: string
  signature: Buffer
}

/** Characters; what is longer is not read at all (SE-15). */
const LONGEST = 16 * 1024

/** Header parameters that would change how the rest is read. None of them is understood here. */
const REFUSED = ['crit', 'b64', 'zip']

/** The parts of a compact JWS, nothing of it verified yet; undefined unless its form is exact. */
export function decodeJws(token: string): DecodedJws | undefined {
  if (token.length > LONGEST) return undefined
  const parts = token.split('.', 4)
  if (parts.length !== 3) return undefined
  const [head = '', body = '', tail = ''] = parts
  const header = decodeObject(head)
  if (!isUsableHeader(header)) return undefined
  const payload = decodeObject(body)
  const signature = decodeBase64url(tail)
  if (!payload || !signature) return undefined
  return {
    header: { ...header, alg: algOf(header.alg) },
    payload,
    signingInput: `${head}.${body}`,
    signature,
  }
}

/** RFC 9864 gives EdDSA with this curve, the only one here, a name of its own: newer clients write that. */
const algOf = (alg: string): string => (alg === 'Ed25519' ? 'EdDSA' : alg)

/**
 * True when the signature is this key's. `alg` comes from the key's own record and the header has to
 * agree with it; what the token says alone decides nothing.
 */
export function verifyJws(jws: DecodedJws, alg: VerificationAlg, key: KeyObject): boolean {
  if (jws.header.alg !== alg || key.type !== 'public' || !isKeyFor(alg, key)) return false
  const signature = alg === 'ES256' ? derSignature(jws.signature) : jws.signature
  if (!signature) return false
  return verify(digestOf(alg), Buffer.from(jws.signingInput, 'ascii'), key, signature)
}

/** A compact JWS. `alg` is written into the header, whatever `header` says. */
export function signJws(
  header: object,
  payload: object,
  alg: Exclude<VerificationAlg, 'EdDSA'>,
  key: KeyObject,
): string {
  if (!isKeyFor(alg, key)) throw new TypeError(`Not a key for ${alg}`)
  const signingInput = `${encodeObject({ ...header, alg })}.${encodeObject(payload)}`
  const signature = sign(digestOf(alg), Buffer.from(signingInput, 'ascii'), key)
  return `${signingInput}.${(alg === 'ES256' ? rawSignature(signature) : signature).toString('base64url')}`
}

/** One key, one algorithm: neither a curve nor a padding is left to the token. */
export function isKeyFor(alg: VerificationAlg, key: KeyObject): boolean {
  if (alg === 'EdDSA') return key.asymmetricKeyType === 'ed25519'
  if (alg === 'ES256') {
    return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
  }
  if (alg !== 'RS256') return false
  const bits = key.asymmetricKeyType === 'rsa' ? key.asymmetricKeyDetails?.modulusLength : 0
  return (bits ?? 0) >= 2048
}

const digestOf = (alg: VerificationAlg) => (alg === 'EdDSA' ? null : 'sha256')

function isUsableHeader(
  header: Record<string, unknown> | undefined,
): header is DecodedJws['header'] {
  return (
    typeof header?.alg === 'string' &&
    !REFUSED.some((parameter) => Object.hasOwn(header, parameter))
  )
}

const encodeObject = (value: object): string =>
  Buffer.from(JSON.stringify(value), 'utf8').toString('base64url')

function decodeObject(part: string): Record<string, unknown> | undefined {
  const bytes = decodeBase64url(part)
  if (!bytes || !isUtf8(bytes)) return undefined
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Only what encodes back to the same text: no padding, no white space, no stray bits. */
function decodeBase64url(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, 'base64url')
  return bytes.toString('base64url') === part ? bytes : undefined
}

// JOSE writes an ECDSA signature as r and s, 32 bytes each (RFC 7518 §3.4); OpenSSL wants a DER SEQUENCE
// of two INTEGERs. Converting here is far cheaper than asking node:crypto for `ieee-p1363`.

function derSignature(raw: Buffer): Buffer | undefined {
  if (raw.length !== 64) return undefined
  const r = derInteger(raw.subarray(0, 32))
  const s = derInteger(raw.subarray(32))
  return Buffer.concat([Buffer.from([0x30, r.length + s.length]), r, s])
}

/** At most 35 bytes, so that every length here fits the short form. */
function derInteger(bytes: Buffer): Buffer {
  let start = 0
  while (start < 31 && bytes[start] === 0) start++
  const magnitude = bytes.subarray(start)
  const padding = (magnitude[0] ?? 0) >= 0x80 ? [0] : []
  return Buffer.concat([
    Buffer.from([0x02, magnitude.length + padding.length, ...padding]),
    magnitude,
  ])
}

function rawSignature(der: Buffer): Buffer {
  const rLength = der.readUInt8(3)
  const raw = Buffer.alloc(64)
  placeInteger(raw, 32, der.subarray(4, 4 + rLength))
  placeInteger(raw, 64, der.subarray(4 + rLength + 2))
  return raw
}

/** Right-aligned, so that it ends before `end`; the sign byte falls away. */
function placeInteger(raw: Buffer, end: number, bytes: Buffer): void {
  const magnitude = bytes.length > 32 ? bytes.subarray(bytes.length - 32) : bytes
  magnitude.copy(raw, end - magnitude.length)
}
