import { generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { signBytes } from '../oauth/jws.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import type { Custody, HeldKey } from './custody.ts'
import { openPrivateKey, sealedUnderNewest, sealPrivateKey } from './private-key-envelope.ts'
import { publicJwk, thumbprint } from './public-jwk.ts'

export type KeyPair = { publicKey: KeyObject; privateKey: KeyObject }
export type MakeKeyPair = (alg: SigningAlg) => Promise<KeyPair>

export type LocalCustody = Custody & {
  /** The same key under the newest key encryption key; undefined if it is there already. */
  reseal(key: HeldKey): string | undefined
}

const generate = promisify(generateKeyPair)

/** Off the event loop: an RSA key takes its time. */
export const makeKeyPair: MakeKeyPair = (alg) => {
  if (alg === 'ES256') return generate('ec', { namedCurve: 'P-256' })
  if (alg === 'ES384') return generate('ec', { namedCurve: 'P-384' })
  if (alg === 'EdDSA') return generate('ed25519')
  return generate('rsa', { modulusLength: 2048 })
}

/** Private keys in the database, encrypted under the first of `keks`, and in the memory of this process. */
export function openLocalCustody(keks: Buffer[], make: MakeKeyPair = makeKeyPair): LocalCustody {
  return {
    name: 'local',
    async generate({ purpose, alg }) {
      const { publicKey, privateKey } = await make(alg)
      const public_jwk = publicJwk(publicKey.export({ format: 'jwk' }), alg)
      const identity = { kid: thumbprint(public_jwk), purpose, alg }
      return { public_jwk, reference: sealPrivateKey(keks, identity, privateKey) }
    },
    async open(key) {
      const privateKey = openPrivateKey(keks, key, key.reference)
      return (input) => signBytes(key.alg, input, privateKey)
    },
    reseal: (key) =>
      sealedUnderNewest(keks, key.reference)
        ? undefined
        : sealPrivateKey(keks, key, openPrivateKey(keks, key, key.reference)),
    // It goes with its row.
    async destroy() {},
    async close() {},
  }
}
