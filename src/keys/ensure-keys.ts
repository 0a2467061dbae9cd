import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { type Birth, newKey } from './new-key.ts'
import { KeyEncryptionError, requireKek } from './private-key-envelope.ts'
import { provenBy } from './proof.ts'
import { insertKeys, lengthenTokens, listSigningKeys, lockKeys } from './queries.ts'
import { isOf, type KeySlot, publishedAt, slotsOf, tokenLifetime } from './schedule.ts'

type Surroundings = Pick<Deps, 'db' | 'now' | 'config' | 'custody'>

/**
 * Makes what the first start lacks: an active and a next key for each purpose and algorithm. Replicas
 * that start at once wait for one another, and one of them makes the keys.
 * @throws {KeyEncryptionError|CustodyError} when a key that signs, or will, could not be opened or is not ours.
 */
export async function ensureKeys(deps: Surroundings): Promise<void> {
  const { db, config, custody } = deps
  const keks = config.keyEncryptionKeys ?? []
  await db.transaction().execute(async (tx) => {
    await lockKeys(tx)
    const there = (await listSigningKeys(tx)).filter((key) =>
      slotsOf(config.signingAlgs).some((slot) => isOf(key, slot)),
    )
    for (const { private_key, ...key } of there) {
      requireKek(keks, key, key.proof)
      if (!provenBy(keks, key)) {
        throw new KeyEncryptionError(
          `The public key of signing key ${key.kid} (${key.purpose}, ${key.alg}) is not the one it was made with, or this server did not make it`,
        )
      }
      await custody.open({ ...key, alg: key.alg as SigningAlg, reference: private_key ?? '' })
    }
    await lengthenTokens(tx, tokenLifetime(config))

    await fillSlots(deps, tx, there, { first: true })
  })
}

/** Makes what a slot lacks since a key was dropped while no other could be made. */
export async function makeMissingKeys(deps: Surroundings): Promise<void> {
  await deps.db.transaction().execute(async (tx) => {
    await lockKeys(tx)
    await fillSlots(deps, tx, await listSigningKeys(tx), { first: false })
  })
}

type Key = Awaited<ReturnType<typeof listSigningKeys>>[number]

async function fillSlots(
  deps: Surroundings,
  tx: Db,
  there: Key[],
  { first }: { first: boolean },
): Promise<void> {
  const at = deps.now()
  const births = ({ purpose, alg }: KeySlot): Birth[] => {
    const held = there.filter((key) => isOf(key, { purpose, alg })).map(({ status }) => status)
    const lacks = (['active', 'next'] as const).filter((status) => !held.includes(status))
    // Before the first keys of a slot nothing was served, so nothing is cached: these count as published at once.
    const published_at = first && held.length === 0 ? at : publishedAt(at, deps.config)
    return lacks.map((status) =>
      status === 'next'
        ? { status, created_at: at, published_at }
        : { status, created_at: at, published_at, activated_at: at },
    )
  }
  const missing = slotsOf(deps.config.signingAlgs).flatMap((slot) =>
    births(slot).map((birth) => newKey(deps, slot, birth)),
  )
  await insertKeys(tx, await Promise.all(missing))
}
