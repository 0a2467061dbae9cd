import { isUtf8 } from 'node:buffer'
import { constants, type KeyObject, sign, verify } from 'node:crypto'
import { derSignature, rawSignature } from './ecdsa-signature.ts'
import { isObject } from './is-object.ts'
import type { SigningAlg } from './signing-alg.ts'

// Compact JWS (RFC 7515 §7.1) on node:crypto itself: synchronous, with bare KeyObjects, for this is the
// greater part of the work of an issuance. Stricter than a general library: what two parsers could read
// in two ways is refused (RFC 8725 §3, SE-15).

/** What others may sign with: clients, whoever proves to hold a key, trusted issuers. We sign with more. */
export type VerificationAlg = Extract<SigningAlg, 'ES256' | 'RS256' | 'EdDSA'>

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
export function verifyJws(jws: DecodedJws, alg: SigningAlg, key: KeyObject): boolean {
  if (jws.header.alg !== alg) return false
  return verifyBytes(alg, Buffer.from(jws.signingInput, 'ascii'), jws.signature, key)
}

/** A compact JWS. `alg` is written into the header, whatever `header` says. */
export function signJws(header: object, payload: object, alg: SigningAlg, key: KeyObject): string {
  const input = signingInputOf(header, payload, alg)
  return `${input}.${signBytes(alg, Buffer.from(input, 'ascii'), key).toString('base64url')}`
}

/** The part of a compact JWS that is signed, for whoever holds the key elsewhere. */
export const signingInputOf = (header: object, payload: object, alg: SigningAlg): string =>
  `${encodeObject({ ...header, alg })}.${encodeObject(payload)}`

/**
 * A signature as JOSE writes it (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1).
 * @throws {TypeError} when the key is none for this algorithm, or not private
 */
export function signBytes(alg: SigningAlg, input: Buffer, key: KeyObject): Buffer {
  if (!isKeyFor(alg, key)) throw new TypeError(`Not a key for ${alg}`)
  const signature = sign(DIGEST[alg], input, alg === 'PS256' ? { key, ...PSS } : key)
  const size = SCALAR_BYTES[alg]
  return size === undefined ? signature : rawSignature(signature, size)
}

/** Whether `signature`, as JOSE writes it, is by this public key. One signature is written in one way. */
export function verifyBytes(
  alg: SigningAlg,
  input: Buffer,
  signature: Buffer,
  key: KeyObject,
): boolean {
  if (key.type !== 'public' || !isKeyFor(alg, key)) return false
  const size = SCALAR_BYTES[alg]
  if (size !== undefined) {
    const der = derSignature(signature, size)
    return der !== undefined && verify(DIGEST[alg], input, key, der)
  }
  if (alg === 'EdDSA') return signature.length === 64 && verify(null, input, key, signature)
  // OpenSSL would take a PSS signature without its leading zeros.
  if (signature.length !== Math.ceil(modulusLength(key) / 8)) return false
  return verify('sha256', input, alg === 'PS256' ? { key, ...PSS } : key, signature)
}

/** One key, one algorithm: neither a curve nor a padding is left to the token. */
export function isKeyFor(alg: SigningAlg, key: KeyObject): boolean {
  if (alg === 'EdDSA') return key.asymmetricKeyType === 'ed25519'
  const curve = CURVE[alg]
  if (curve !== undefined) {
    return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === curve
  }
  return (alg === 'RS256' || alg === 'PS256') && modulusLength(key) >= 2048
}

/** Bits; 0 of a key that is not RSA, or for one padding alone. */
const modulusLength = (key: KeyObject): number =>
  (key.asymmetricKeyType === 'rsa' ? key.asymmetricKeyDetails?.modulusLength : 0) ?? 0

const DIGEST = { ES256: 'sha256', RS256: 'sha256', EdDSA: null, PS256: 'sha256', ES384: 'sha384' }
const CURVE: Partial<Record<SigningAlg, string>> = { ES256: 'prime256v1', ES384: 'secp384r1' }
/** Of r, and of s, of the algorithms that have them. */
const SCALAR_BYTES: Partial<Record<SigningAlg, number>> = { ES256: 32, ES384: 48 }
/** MGF1 is with the same hash (RFC 7518 §3.5), and the salt as long as that, no byte more or less. */
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }

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
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Only what encodes back to the same text: no padding, no white space, no stray bits. */
function decodeBase64url(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, 'base64url')
  return bytes.toString('base64url') === part ? bytes : undefined
}
