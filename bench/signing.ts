/**
 * What a signature costs where the key is kept: by the local custody and by a token of SoftHSM in turn, through
 * the store that the key ring signs with, in this process. Each has its own key of each algorithm.
 */
import { createPublicKey, type KeyObject, randomBytes } from 'node:crypto'
import type { SignBytes } from '../src/keys/custody.ts'
import { type KeyStore, openCustody } from '../src/keys/open-custody.ts'
import { thumbprint } from '../src/keys/public-jwk.ts'
import { verifyBytes } from '../src/oauth/jws.ts'
import { SIGNING_ALGS, type SigningAlg } from '../src/oauth/signing-alg.ts'
import { cpuSeconds } from './processes.ts'
import { makeToken } from './soft-hsm.ts'

export const CUSTODIES = ['local', 'pkcs11'] as const
export const AT_ONCE = [1, 32] as const

export interface Signing {
  perSecond: number
  /** CPU microseconds per signature: of the process that asks, and of the one that the module runs in. */
  cpu: { server: number; host: number }
}

export interface SigningRound {
  alg: SigningAlg
  atOnce: (typeof AT_ONCE)[number]
  local: Signing
  pkcs11: Signing
}

type Key = { alg: SigningAlg; publicKey: KeyObject; sign: SignBytes }

/** As long as the signing input of an ID-JAG. */
const INPUT = randomBytes(600)
const PURPOSE = 'id_jag'

/** @throws when a signature does not verify. */
export async function measureSigning(
  { rounds, slice, dir }: { rounds: number; slice: number; dir: string },
  say: (line: string) => void,
): Promise<SigningRound[]> {
  const { SOFTHSM2_CONF, KEY_CUSTODY } = makeToken(dir)
  process.env.SOFTHSM2_CONF = SOFTHSM2_CONF // the host of the module inherits it
  const keyEncryptionKeys = [randomBytes(32)]
  const local = await openCustody({ keyEncryptionKeys, keyCustody: 'local' })
  const pkcs11 = await openCustody({ keyEncryptionKeys, keyCustody: KEY_CUSTODY })
  try {
    const stores = { local, pkcs11 }
    const measured: SigningRound[] = []
    const keys = { local: await makeKeys(local), pkcs11: await makeKeys(pkcs11) }
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? CUSTODIES : CUSTODIES.toReversed()
      for (const [n, alg] of SIGNING_ALGS.entries()) {
        for (const atOnce of AT_ONCE) {
          const of: Partial<Record<keyof typeof stores, Signing>> = {}
          for (const name of order) of[name] = await signFor(slice, keys[name][n] as Key, atOnce)
          measured.push({ alg, atOnce, ...(of as Pick<SigningRound, 'local' | 'pkcs11'>) })
        }
      }
      say(`round ${round + 1}: signatures, ${SIGNING_ALGS.join(', ')}`)
    }
    return measured
  } finally {
    await Promise.all([local.close(), pkcs11.close()])
  }
}

const makeKeys = (store: KeyStore): Promise<Key[]> =>
  Promise.all(
    SIGNING_ALGS.map(async (alg) => {
      const { public_jwk, reference } = await store.generate({ purpose: PURPOSE, alg })
      const key = { kid: thumbprint(public_jwk), purpose: PURPOSE, alg, reference } as const
      const publicKey = createPublicKey({ key: public_jwk, format: 'jwk' })
      return { alg, publicKey, sign: await store.open({ ...key, public_jwk }) }
    }),
  )

async function signFor(seconds: number, key: Key, atOnce: number): Promise<Signing> {
  await signUntil(performance.now() + seconds * 250, key, atOnce) // to warm up
  const from = { at: performance.now(), own: ownCpu(), all: cpuSeconds(process.pid) }
  const count = await signUntil(from.at + seconds * 1000, key, atOnce)
  const elapsed = (performance.now() - from.at) / 1000
  const [own, all] = [ownCpu() - from.own, cpuSeconds(process.pid) - from.all]
  const signature = await key.sign(INPUT)
  if (!verifyBytes(key.alg, INPUT, signature, key.publicKey)) {
    throw new Error(`a signature for ${key.alg} does not verify`)
  }
  const perSignature = (spent: number) => (Math.max(0, spent) * 1e6) / count
  return {
    perSecond: count / elapsed,
    cpu: { server: perSignature(own), host: perSignature(all - own) },
  }
}

async function signUntil(end: number, { sign }: Key, atOnce: number): Promise<number> {
  let count = 0
  const work = async () => {
    while (performance.now() < end) {
      await sign(INPUT)
      count++
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return count
}

function ownCpu(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
