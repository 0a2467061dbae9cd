import { recordEvent } from '../audit/record.ts'
import { WRONG_CLOCK } from '../db/clock.ts'
import type { Deps } from '../deps.ts'
import { listEventEnds } from '../events/key-queries.ts'
import { repeatedly, type Worker } from '../http/repeatedly.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { makeMissingKeys } from './ensure-keys.ts'
import { provenBy } from './proof.ts'
import { listRetired, listUseless, removeKeys, replacePrivateKey } from './queries.ts'
import { rotateDue } from './rotate.ts'
import {
  destroyableAt,
  isOf,
  type KeySlot,
  refreshInterval,
  removableAt,
  slotsDue,
  slotsOf,
} from './schedule.ts'

/**
 * Moves every key along its life: whichever replica looks first, and once. Nothing waits for it: a key that is
 * rotated, destroyed or removed late does no harm but to grow old. A replica with a wrong clock moves none.
 */
export function startKeepingSchedule(deps: Deps): Worker {
  const { config, log } = deps
  const told: Told = new Set()
  const round = async () => {
    if ((await deps.clockSkew()) !== 0) throw new Error(WRONG_CLOCK)
    await keepSchedule(deps, told)
  }
  return repeatedly(4 * refreshInterval(config) * 1000, round, {
    failed: (err) => log.error({ err, what: 'clock' }, 'signing keys could not be moved along'),
    again: () => log.info('signing keys are moved along again'),
  })
}

/** What went wrong the last time, so that the log says it once. */
type Told = Set<string>

/** One round. What cannot be done holds up nothing else. */
export async function keepSchedule(deps: Deps, told: Told = new Set()): Promise<void> {
  const { config, keys } = deps
  const slots = slotsOf(config.signingAlgs)
  // What this replica has read says whether there is anything to do; the database is asked again under a lock.
  const known = keys.figures()
  const holds = (slot: KeySlot, held: string) =>
    known.some((key) => isOf(key, slot) && key.status === held)
  if (slots.some((slot) => !holds(slot, 'active') || !holds(slot, 'next'))) {
    await attempt(deps, told, 'missing', async () => {
      await makeMissingKeys(deps)
      await keys.refresh()
    })
  }
  for (const slot of slotsDue(keys.figures(), deps.now(), config)) {
    const name = `${slot.purpose} ${slot.alg}`
    await attempt(deps, told, name, () => rotateDue(deps, slot))
  }
  await attempt(deps, told, 'removal', () => removeRetired(deps))
  await attempt(deps, told, 'destruction', () => destroyUseless(deps, told))
}

async function attempt(
  { log }: Pick<Deps, 'log'>,
  told: Told,
  what: string,
  work: () => Promise<unknown>,
): Promise<void> {
  try {
    await work()
    told.delete(what)
  } catch (err) {
    if (!told.has(what)) log.error({ err, what }, 'signing keys could not be moved along')
    told.add(what)
  }
}

/** Takes the retired keys that nobody needs any more out of the JWKS. */
async function removeRetired({ db, config, now, keys }: Deps): Promise<void> {
  const retired = await listRetired(db)
  if (retired.length === 0) return
  const at = now()
  const kids = retired.map(({ kid }) => kid)
  const ends = await listEventEnds(db, kids)
  const over = retired.filter((key) => {
    const removable = removableAt(key, config, ends.get(key.kid))
    return removable !== undefined && at >= removable
  })
  if (over.length === 0) return
  await db.transaction().execute(async (tx) => {
    for (const detail of await removeKeys(
      tx,
      over.map(({ kid }) => kid),
      at,
    )) {
      await recordEvent(tx, { type: 'key.removed', at, actor: { kind: 'system' }, detail })
    }
  })
  await keys.refresh()
}

/** Ends the private part of keys that sign no more, wherever it is kept: what is gone cannot be stolen. */
async function destroyUseless(deps: Deps, told: Told): Promise<void> {
  const { db, config, custody, now } = deps
  for (const row of await listUseless(db)) {
    const { private_key: reference, retired_at, compromised_at, ...key } = row
    const since = compromised_at ?? retired_at
    if (reference === null || since === null || now() < destroyableAt(since, config)) continue
    // A row that somebody else wrote may name anything.
    if (!provenBy(config.keyEncryptionKeys ?? [], key)) continue
    await attempt(deps, told, key.kid, async () => {
      await custody.destroy({ ...key, alg: key.alg as SigningAlg, reference })
      await replacePrivateKey(db, key.kid, null)
    })
  }
}
