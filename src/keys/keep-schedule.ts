import { recordEvent } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import { listEventEnds } from '../events/key-queries.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { makeMissingKeys } from './ensure-keys.ts'
import { listRetired, listUseless, removeKeys, replacePrivateKey } from './queries.ts'
import { rotateDue } from './rotate.ts'
import { destroyableAt, refreshInterval, removableAt, slotsOf } from './schedule.ts'

/**
 * Moves every key along its life: whichever replica looks first, and once. Nothing waits for it: a key that is
 * rotated, destroyed or removed late does no harm but to grow old.
 */
export function startKeeping(deps: Deps): { stop(): Promise<void> } {
  let round: Promise<void> = Promise.resolve()
  let busy = false
  const timer = setInterval(
    () => {
      if (busy) return
      busy = true
      round = keepSchedule(deps)
        .catch((err) => deps.log.error({ err }, 'the signing keys could not be moved along'))
        .finally(() => {
          busy = false
        })
    },
    4 * refreshInterval(deps.config) * 1000,
  )
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await round
    },
  }
}

export async function keepSchedule(deps: Deps): Promise<void> {
  // What this replica has read says whether there is anything to do; the database is asked again under a lock.
  const statuses = deps.keys
    .figures()
    .map(({ purpose, alg, status }) => `${purpose} ${alg} ${status}`)
  const isMissing = slotsOf(deps.config.signingAlgs).some(({ purpose, alg }) =>
    ['active', 'next'].some((status) => !statuses.includes(`${purpose} ${alg} ${status}`)),
  )
  if (isMissing) {
    await makeMissingKeys(deps)
    await deps.keys.refresh()
  }
  const now = deps.now()
  const isDue = deps.keys
    .figures()
    .some(({ status, next }) => status === 'next' && next !== undefined && now >= next.at)
  if (isDue) await rotateDue(deps)
  await removeRetired(deps)
  await destroyUseless(deps)
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
async function destroyUseless({ db, config, custody, now, log }: Deps): Promise<void> {
  for (const { private_key, retired_at, compromised_at, ...key } of await listUseless(db)) {
    const since = compromised_at ?? retired_at
    if (private_key === null || since === null || now() < destroyableAt(since, config)) continue
    try {
      await custody.destroy({ ...key, alg: key.alg as SigningAlg, reference: private_key })
      await replacePrivateKey(db, key.kid, null)
    } catch (err) {
      log.error({ err, kid: key.kid }, 'the private key of a signing key could not be destroyed')
    }
  }
}
