import { CKK_EC, CKK_EC_EDWARDS, CKK_RSA } from './cryptoki.ts'
import { CustodyError } from './custody.ts'

/** Of a public key object; the last two of RSA keys, the two before of others. */
export type PublicKeyAttributes = {
  keyType: number
  ecParams?: Buffer
  ecPoint?: Buffer
  modulus?: Buffer
  publicExponent?: Buffer
}

/** By CKA_EC_PARAMS, in hex: the object identifier in DER, or the name of the curve (PKCS #11 3.0 §2.3.10). */
const CURVES: Record<string, { crv: string; bytes: number }> = {
  '06082a8648ce3d030107': { crv: 'P-256', bytes: 32 },
  '06052b81040022': { crv: 'P-384', bytes: 48 },
  '130c656477617264733235353139': { crv: 'Ed25519', bytes: 32 },
  '06032b6570': { crv: 'Ed25519', bytes: 32 },
}

/** The key as RFC 7517 writes it. @throws {CustodyError} for kinds of keys that do not sign here */
export function jwkOf(key: PublicKeyAttributes): Record<string, string> {
  const { keyType, ecParams, ecPoint, modulus, publicExponent } = key
  if (keyType === CKK_RSA && modulus && publicExponent) {
    return { kty: 'RSA', n: unsigned(modulus), e: unsigned(publicExponent) }
  }
  const curve = CURVES[ecParams?.toString('hex') ?? '']
  if (keyType === CKK_EC && curve && curve.crv !== 'Ed25519' && ecPoint) {
    const point = bare(ecPoint, 1 + 2 * curve.bytes)
    if (point?.[0] === 4) {
      const [x, y] = [point.subarray(1, 1 + curve.bytes), point.subarray(1 + curve.bytes)]
      return { kty: 'EC', crv: curve.crv, x: x.toString('base64url'), y: y.toString('base64url') }
    }
  }
  if (keyType === CKK_EC_EDWARDS && curve?.crv === 'Ed25519' && ecPoint) {
    const point = bare(ecPoint, curve.bytes)
    if (point) return { kty: 'OKP', crv: curve.crv, x: point.toString('base64url') }
  }
  throw new CustodyError('the public key in the token is of no kind that signs here, or damaged')
}

/** The standard puts points into a DER OCTET STRING; there are modules that do not. */
function bare(point: Buffer, bytes: number): Buffer | undefined {
  if (point.length === bytes) return point
  const wrapped = point.length === bytes + 2 && point[0] === 4 && point[1] === bytes
  return wrapped ? point.subarray(2) : undefined
}

/** RFC 7518 §2: no byte more than the number needs, which tokens do not promise. */
function unsigned(number: Buffer): string {
  const first = number.findIndex((byte) => byte !== 0)
  return number.subarray(first === -1 ? number.length : first).toString('base64url')
}
