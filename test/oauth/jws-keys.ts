import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { SigningAlg } from '../../src/oauth/signing-alg.ts'

export type Keys = Record<SigningAlg, { publicKey: KeyObject; privateKey: KeyObject }>

/** Of each algorithm a pair of its own. */
export const makeKeys = (): Keys => ({
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: generateKeyPairSync('ed25519'),
  PS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
})

const padding = constants.RSA_PKCS1_PSS_PADDING

/** A signature as JOSE writes it, made as OpenSSL knows how to and not as we do. */
export function otherSignature(
  alg: SigningAlg,
  input: string | Buffer,
  key: KeyObject,
  saltLength = 32,
): Buffer {
  const bytes = Buffer.from(input)
  if (alg === 'EdDSA') return sign(null, bytes, key)
  if (alg === 'PS256') return sign('sha256', bytes, { key, padding, saltLength })
  if (alg === 'RS256') return sign('sha256', bytes, key)
  return sign(alg === 'ES384' ? 'sha384' : 'sha256', bytes, { key, dsaEncoding: 'ieee-p1363' })
}
