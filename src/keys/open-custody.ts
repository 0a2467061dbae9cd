import { createPublicKey } from 'node:crypto'
import type { Config } from '../config.ts'
import { verifyBytes } from '../oauth/jws.ts'
import {
  type Custody,
  CustodyError,
  type HeldKey,
  type OpenCustody,
  type SignBytes,
} from './custody.ts'
import { type LocalCustody, type MakeKeyPair, openLocalCustody } from './local-custody.ts'
import { KeyEncryptionError } from './private-key-envelope.ts'
import { thumbprint } from './public-jwk.ts'

type Jwk = Record<string, unknown>

/** Every custody that a key of this server may be in. New keys are made in the one that KEY_CUSTODY names. */
export type KeyStore = Pick<Custody, 'generate' | 'destroy' | 'close'> &
  Pick<LocalCustody, 'reseal'> & {
    /** @throws {CustodyError|KeyEncryptionError} when it is out of reach, or not the private key of that public one. */
    open(key: HeldKey & { public_jwk: Jwk }): Promise<SignBytes>
    /** The name of the custody that a reference belongs to. */
    custodyOf(reference: string): string
  }

/**
 * @throws {CustodyError|KeyEncryptionError} in words for the operator.
 */
export async function openCustody(
  { keyEncryptionKeys: keks, keyCustody }: Pick<Config, 'keyEncryptionKeys' | 'keyCustody'>,
  make?: MakeKeyPair,
): Promise<KeyStore> {
  if (!keks?.length) throw new KeyEncryptionError('KEY_ENCRYPTION_KEY is not set')
  const local = openLocalCustody(keks, make)
  const chosen = keyCustody === 'local' ? local : await openElsewhere(keyCustody)

  // A change of KEY_CUSTODY leaves the keys there are where they are: rotations bring them over.
  const custodyOf = (reference: string) => /^([a-z0-9]+):/.exec(reference)?.[1] ?? local.name
  const find = (key: HeldKey): Custody => {
    const name = custodyOf(key.reference)
    const found = [local, chosen].find((custody) => custody.name === name)
    if (found) return found
    throw new CustodyError(
      `Signing key ${key.kid} (${key.purpose}, ${key.alg}) is kept by the custody "${name}": set KEY_CUSTODY to that one until rotations have replaced its keys`,
    )
  }
  return {
    custodyOf,
    generate: (slot) => inOurWords(async () => chosen.generate(slot)),
    open: (key) =>
      inOurWords(async () => {
        const sign = await find(key).open(key)
        await requireMatch(key, sign)
        return find(key) === local ? sign : (input) => inOurWords(async () => sign(input))
      }),
    destroy: (key) => inOurWords(async () => find(key).destroy(key)),
    reseal: (key) => (find(key) === local ? local.reseal(key) : undefined),
    async close() {
      await chosen.close()
    },
  }
}

/** Whatever a custody throws is told like its own errors: it can be asked again. */
async function inOurWords<Value>(work: () => Promise<Value>): Promise<Value> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof CustodyError || error instanceof KeyEncryptionError) throw error
    const { name, message } = error as Error
    // A file that was written elsewhere has a class of its own by this name.
    if (name === 'CustodyError') throw new CustodyError(message, { cause: error })
    throw new CustodyError('The place where private keys are kept failed', { cause: error })
  }
}

async function openElsewhere(setting: string): Promise<Custody> {
  const file = setting.startsWith('pkcs11:') ? './pkcs11-custody.ts' : setting
  let open: OpenCustody | undefined
  try {
    open = (await import(file)).openCustody
  } catch (cause) {
    throw new CustodyError(`KEY_CUSTODY: ${(cause as Error).message}`, { cause })
  }
  if (!open) throw new CustodyError('KEY_CUSTODY: the file exports no openCustody')
  const custody = await open(setting)
  if (/^[a-z0-9]+$/.test(custody.name) && custody.name !== 'local') return custody
  throw new CustodyError('KEY_CUSTODY: the name of a custody is one word of letters and digits')
}

const PROBE = Buffer.from('agent-idp probes a signing key')

/** A key that signs for another one would make tokens that nobody can verify. */
async function requireMatch(
  { kid, purpose, alg, public_jwk }: HeldKey & { public_jwk: Jwk },
  sign: SignBytes,
): Promise<void> {
  const publicKey = createPublicKey({ key: public_jwk, format: 'jwk' })
  if (thumbprint(public_jwk) === kid && verifyBytes(alg, PROBE, await sign(PROBE), publicKey))
    return
  throw new CustodyError(
    `The private key of signing key ${kid} (${purpose}, ${alg}) does not belong to its public key`,
  )
}
