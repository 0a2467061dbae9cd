import { createHash } from 'node:crypto'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import {
  type Attribute,
  CK_PARAMS_RSA_PSS,
  CKA_DECRYPT,
  CKA_DERIVE,
  CKA_EC_PARAMS,
  CKA_MODULUS_BITS,
  CKA_PUBLIC_EXPONENT,
  CKA_SIGN_RECOVER,
  CKA_UNWRAP,
  CKG_MGF1_SHA256,
  CKM,
  type Mechanism,
} from './cryptoki.ts'

type MechanismName = keyof typeof CKM

/** What a token has to be asked for, so that keys and signatures of an algorithm come out. */
export type TokenAlgorithm = {
  generateBy: MechanismName
  /** What says in a template which key is meant. */
  kind: Attribute[]
  signBy: MechanismName
  parameter?: Mechanism['parameter']
  /** What is signed: of ECDSA the digest, for tokens do not hash there. */
  prepare(input: Buffer): Buffer
  /** Bytes of a signature. */
  size: number
}

/** What a private key could do besides signing: some tokens allow all of it unless they are told. */
export const OTHER_USES = [CKA_DECRYPT, CKA_UNWRAP, CKA_SIGN_RECOVER, CKA_DERIVE]

/** Object identifiers of the curves, in DER. */
const P256 = Buffer.from('06082a8648ce3d030107', 'hex')
const P384 = Buffer.from('06052b81040022', 'hex')
/** PKCS #11 3.0 §2.3.10: the name of the curve, a PrintableString. */
const ED25519 = Buffer.from('\x13\x0cedwards25519', 'latin1')

const whole = (input: Buffer) => input
const rsa: Omit<TokenAlgorithm, 'signBy'> = {
  generateBy: 'CKM_RSA_PKCS_KEY_PAIR_GEN',
  kind: [
    { type: CKA_MODULUS_BITS, value: 2048 },
    { type: CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
  ],
  prepare: whole,
  size: 256,
}

export const TOKEN_ALGORITHMS: Record<SigningAlg, TokenAlgorithm> = {
  ES256: {
    generateBy: 'CKM_EC_KEY_PAIR_GEN',
    kind: [{ type: CKA_EC_PARAMS, value: P256 }],
    signBy: 'CKM_ECDSA',
    prepare: (input) => createHash('sha256').update(input).digest(),
    size: 64,
  },
  ES384: {
    generateBy: 'CKM_EC_KEY_PAIR_GEN',
    kind: [{ type: CKA_EC_PARAMS, value: P384 }],
    signBy: 'CKM_ECDSA',
    prepare: (input) => createHash('sha384').update(input).digest(),
    size: 96,
  },
  EdDSA: {
    generateBy: 'CKM_EC_EDWARDS_KEY_PAIR_GEN',
    kind: [{ type: CKA_EC_PARAMS, value: ED25519 }],
    signBy: 'CKM_EDDSA',
    prepare: whole,
    size: 64,
  },
  RS256: { ...rsa, signBy: 'CKM_SHA256_RSA_PKCS' },
  PS256: {
    ...rsa,
    signBy: 'CKM_SHA256_RSA_PKCS_PSS',
    parameter: {
      type: CK_PARAMS_RSA_PSS,
      hashAlg: CKM.CKM_SHA256,
      mgf: CKG_MGF1_SHA256,
      saltLen: 32,
    },
  },
}
