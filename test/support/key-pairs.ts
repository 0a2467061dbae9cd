import { createPrivateKey, createPublicKey, generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'
import { type MakeKeyPair, makeKeyPair } from '../../src/keys/local-custody.ts'

const generate = promisify(generateKeyPair)

/** RSA keys made once for a whole run: the eight that a first start needs. */
export async function makeRsaKeys(): Promise<string[]> {
  const make = async () => {
    const { privateKey } = await generate('rsa', { modulusLength: 2048 })
    return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  }
  return Promise.all(Array.from({ length: 8 }, make))
}

const handedOut = new Map<string, number>()

/**
 * Makes key pairs for the house on this database. Its first RSA keys are those of the run, for making one takes
 * a tenth of a second; no house gets one twice.
 */
export function keyPairsFor(database: string): MakeKeyPair {
  const made: string[] = JSON.parse(process.env.TEST_RSA_KEYS ?? '[]')
  return async (alg) => {
    const count = handedOut.get(database) ?? 0
    const pem = alg === 'RS256' || alg === 'PS256' ? made[count] : undefined
    if (pem === undefined) return makeKeyPair(alg)
    handedOut.set(database, count + 1)
    const privateKey = createPrivateKey(pem)
    return { privateKey, publicKey: createPublicKey(pem) }
  }
}
