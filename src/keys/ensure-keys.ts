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
  const heldOf = (slot: KeySlot) =>
    there.filter((key) => isOf(key, slot)).map(({ status }) => status)
  const missing = slotsOf(deps.config.signingAlgs).flatMap((slot) =>
    (['active', 'next'] as const)
      .filter((status) => !heldOf(slot).includes(status))
      .map(async (status) => ({ slot, status, key: await newKey(deps, slot) })),
  )
  const made = await Promise.all(missing)
  // Once they are made: that takes long, and nobody sees them before the commit.
  const at = deps.now()
  const birthOf = (slot: KeySlot, status: Birth['status']): Birth => {
    // Before the first keys of a slot nothing was served, so nothing is cached: these count as published at once.
    const isFirst = first && heldOf(slot).length === 0
    const published_at = isFirst ? at : publishedAt(at, deps.config)
    return status === 'next'
      ? { status, created_at: at, published_at }
      : { status, created_at: at, published_at, activated_at: at }
  }
  const rows = made.map(({ slot, status, key }) => ({ ...key, ...birthOf(slot, status) }))
  await insertKeys(tx, rows)
}
