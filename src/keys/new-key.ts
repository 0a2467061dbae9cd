import { generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { sealPrivateKey } from './private-key-envelope.ts'
import { proveKey } from './proof.ts'
import { publicJwk, thumbprint } from './public-jwk.ts'
import type { KeySlot } from './schedule.ts'

export type KeyPair = { publicKey: KeyObject; privateKey: KeyObject }
export type MakeKeyPair = (alg: KeySlot['alg']) => Promise<KeyPair>

const generate = promisify(generateKeyPair)

/** Off the event loop: an RSA key takes its time. */
export const makeKeyPair: MakeKeyPair = (alg) =>
  alg === 'ES256'
    ? generate('ec', { namedCurve: 'P-256' })
    : generate('rsa', { modulusLength: 2048 })

export type Birth =
  | { status: 'next'; created_at: Date; published_at: Date }
  | { status: 'active'; created_at: Date; published_at: Date; activated_at: Date }

/** The row of a new key. */
export function newKey(
  keks: Buffer[],
  slot: KeySlot,
  birth: Birth,
  { publicKey, privateKey }: KeyPair,
) {
  const public_jwk = publicJwk(publicKey.export({ format: 'jwk' }), slot.alg)
  const identity = { kid: thumbprint(public_jwk), ...slot }
  return {
    ...identity,
    ...birth,
    public_jwk: JSON.stringify(public_jwk),
    private_key: sealPrivateKey(keks, identity, privateKey),
    proof: proveKey(keks, { ...identity, public_jwk }),
  }
}
