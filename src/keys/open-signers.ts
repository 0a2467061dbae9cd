import type { Deps } from '../deps.ts'
import { within } from '../http/within.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { CustodyError, type SignBytes } from './custody.ts'
import { findKey, listPrivateKeys } from './queries.ts'

/** What signs with the keys that sign now and those that will, by `kid`. */
export type Signers = {
  /** Opens those that are not open yet, and lets go of the others. Nobody has to wait for it. */
  keep(kids: readonly string[]): void
  /** @throws {CustodyError|KeyEncryptionError} when it cannot be opened; {KeyEndedError} */
  get(kid: string): SignBytes | Promise<SignBytes>
  has(kid: string): boolean
  /** Waits for all that are being opened; rejects with the first fault. */
  settled(): Promise<void>
}

/** A key that signs no more, its private part destroyed since the keys were read: the next reading knows another. */
export class KeyEndedError extends CustodyError {
  override name = 'KeyEndedError'
}

/** Milliseconds: for one key to be opened, and until it is tried again. */
const PATIENCE = 10_000
const TRY_AGAIN = 5_000

/**
 * Opens private keys where they are kept, those that will sign too, so that a rotation finds them open and what
 * is wrong with one shows before. A place that is slow holds up its own keys alone: the key set, and what is
 * signed by others, do not wait for it.
 */
export function openSigners({ db, custody, log }: Pick<Deps, 'db' | 'custody' | 'log'>): Signers {
  const open = new Map<string, SignBytes>()
  const opening = new Map<string, Promise<SignBytes>>()
  const failed = new Map<string, { error: unknown; at: number }>()
  let wanted: readonly string[] = []

  const openOne = async (kid: string): Promise<SignBytes> => {
    const read = () => listPrivateKeys(db, [kid])
    // Once more: the first may have been under way while the process stood still, and its patience is over.
    const [row] = await read().catch(read)
    if (!row) throw new CustodyError(`Signing key ${kid} is gone`)
    const { private_key, alg, ...key } = row
    const held = { ...key, alg: alg as SigningAlg, reference: private_key ?? '' }
    try {
      const late = () => new CustodyError(`Signing key ${kid} was not opened in time`)
      return await within(PATIENCE, custody.open(held), late)
    } catch (error) {
      const found = await findKey(db, kid).catch(() => undefined)
      if (!found || found.status === 'active' || found.status === 'next') throw error
      throw new KeyEndedError(`Signing key ${kid} signs no more`, { cause: error })
    }
  }
  const begin = (kid: string): Promise<SignBytes> => {
    const begun = openOne(kid)
      .then((signer) => {
        if (wanted.includes(kid)) open.set(kid, signer)
        failed.delete(kid)
        return signer
      })
      .catch((error) => {
        if (error instanceof KeyEndedError) throw error
        // Once for the same fault, however often it is tried.
        const { message } = error as Error
        if ((failed.get(kid)?.error as Error | undefined)?.message !== message) {
          log.error({ err: error }, 'a signing key could not be opened')
        }
        failed.set(kid, { error, at: performance.now() })
        throw error
      })
      .finally(() => opening.delete(kid))
    begun.catch(() => undefined)
    opening.set(kid, begun)
    return begun
  }
  const mayBegin = (kid: string) =>
    !open.has(kid) &&
    !opening.has(kid) &&
    performance.now() - (failed.get(kid)?.at ?? -TRY_AGAIN) >= TRY_AGAIN

  return {
    keep(kids) {
      wanted = kids
      for (const kids of [open, failed])
        for (const kid of kids.keys()) if (!wanted.includes(kid)) kids.delete(kid)
      for (const kid of kids) if (mayBegin(kid)) void begin(kid)
    },
    get(kid) {
      const signer = open.get(kid) ?? opening.get(kid)
      if (signer) return signer
      if (mayBegin(kid)) return begin(kid)
      throw failed.get(kid)?.error
    },
    has: (kid) => open.has(kid),
    async settled() {
      await Promise.all([...opening.values()].map((one) => one.catch(unlessEnded)))
    },
  }
}

function unlessEnded(error: unknown): void {
  if (!(error instanceof KeyEndedError)) throw error
}
