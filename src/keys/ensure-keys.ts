import { WRONG_CLOCK } from '../db/clock.ts'
import type { Deps } from '../deps.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { bearKeys, confirmBirth, withNewKeys } from './new-key.ts'
import { KeyEncryptionError, requireKek } from './private-key-envelope.ts'
import { provenBy } from './proof.ts'
import { lengthenTokens, listSigningKeys, lockKeys, lockMaking } from './queries.ts'
import { isOf, type KeySlot, slotsOf, tokenLifetime } from './schedule.ts'

/** A key counts from its birth: by a wrong clock it would sign too early, or never. */
class WrongClockError extends Error {
  override name = 'WrongClockError'
  override message = `No signing key is made while ${WRONG_CLOCK}: set both by a time server`
}

type Surroundings = Pick<Deps, 'db' | 'now' | 'clockSkew' | 'config' | 'custody' | 'log'>
type Key = Awaited<ReturnType<typeof listSigningKeys>>[number]

/**
 * Makes what the first start lacks: an active and a next key for each purpose and algorithm. Replicas
 * that start at once wait for one another, and one of them makes the keys.
 * @throws {KeyEncryptionError|CustodyError} when a key that signs, or will, could not be opened or is not ours.
 * @throws {WrongClockError} when one is lacking and this machine's clock is not the database's
 */
export async function ensureKeys(deps: Surroundings): Promise<void> {
  const { db, config, custody } = deps
  const keks = config.keyEncryptionKeys ?? []
  const slots = slotsOf(config.signingAlgs)
  for (const { private_key, ...key } of await listSigningKeys(db)) {
    if (!slots.some((slot) => isOf(key, slot))) continue
    requireKek(keks, key, key.proof)
    if (!provenBy(keks, key)) {
      throw new KeyEncryptionError(
        `The public key of signing key ${key.kid} (${key.purpose}, ${key.alg}) is not the one it was made with, or this server did not make it`,
      )
    }
    await custody.open({ ...key, alg: key.alg as SigningAlg, reference: private_key ?? '' })
  }
  await lengthenTokens(db, tokenLifetime(config))
  await fillSlots(deps, true)
}

/**
 * Makes what a slot lacks since a key was dropped.
 * @throws {WrongClockError}
 */
export const makeMissingKeys = (deps: Surroundings): Promise<void> => fillSlots(deps, false)

async function fillSlots(deps: Surroundings, first: boolean): Promise<void> {
  const slots = slotsOf(deps.config.signingAlgs)
  if (lacksOf(await listSigningKeys(deps.db), slots).length === 0) return
  if ((await deps.clockSkew()) !== 0) throw new WrongClockError()
  const born = await deps.db.transaction().execute(async (tx) => {
    await lockMaking(tx, first ? '10min' : undefined)
    const wanted = lacksOf(await listSigningKeys(tx), slots)
    return withNewKeys(deps, wanted, async (made) => {
      await lockKeys(tx)
      const there = await listSigningKeys(tx)
      const lacks = lacksOf(there, slots)
      const used = made.filter((_, index) => lacks.some((lack) => isSame(lack, wanted[index])))
      await bearKeys(
        tx,
        deps,
        used.map((key) => {
          const status = wanted[made.indexOf(key)]?.status ?? 'next'
          return { ...key, status, first: first && there.length === 0 }
        }),
      )
      return used
    })
  })
  await confirmBirth(deps, born)
}

type Lack = KeySlot & { status: 'active' | 'next' }

const lacksOf = (keys: readonly Key[], slots: readonly KeySlot[]): Lack[] =>
  slots.flatMap((slot) =>
    (['active', 'next'] as const)
      .filter((status) => !keys.some((key) => isOf(key, slot) && key.status === status))
      .map((status) => ({ ...slot, status })),
  )

const isSame = (lack: Lack, other: Lack | undefined): boolean =>
  other !== undefined && isOf(lack, other) && lack.status === other.status
