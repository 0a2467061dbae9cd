import type { Deps } from '../deps.ts'
import { proveKey } from './proof.ts'
import { thumbprint } from './public-jwk.ts'
import { type KeySlot, tokenLifetime } from './schedule.ts'

export type Birth =
  | { status: 'next'; created_at: Date; published_at: Date }
  | { status: 'active'; created_at: Date; published_at: Date; activated_at: Date }

/** Makes a key where keys are kept, and the row of it but for its birth: that comes once it is made. */
export async function newKey({ custody, config }: Pick<Deps, 'custody' | 'config'>, slot: KeySlot) {
  const { public_jwk, reference } = await custody.generate(slot)
  const identity = { kid: thumbprint(public_jwk), ...slot }
  return {
    ...identity,
    public_jwk: JSON.stringify(public_jwk),
    private_key: reference,
    proof: proveKey(config.keyEncryptionKeys ?? [], { ...identity, public_jwk }),
    token_lifetime: tokenLifetime(config),
  }
}
