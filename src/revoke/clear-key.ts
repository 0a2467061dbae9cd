import { recordEvent } from '../audit/record.ts'
import { awaitWriters } from '../db/await-writers.ts'
import type { Deps } from '../deps.ts'
import { queueForKey } from '../events/queue-for-key.ts'
import { signAnew } from '../events/sign-anew.ts'
import { repeatedly, type Worker } from '../http/repeatedly.ts'
import { type CompromisedKey, listUncleared, markCleared } from '../keys/compromise.ts'
import { endSession } from '../sessions/end.ts'
import { listSessionsSignedBy } from '../sessions/queries.ts'

export type Cleared = {
  sessions_ended: number
  events_signed_anew: number
  events_queued: number
  /** Audiences that were sent, or will be sent, an event because of the key. */
  told: string[]
  /** False: something still held on, and the worker goes on with it. */
  complete: boolean
}

/** Milliseconds that whoever signed just before gets to write it down. */
const PATIENCE = 5_000

/**
 * Ends what rests on a key that was dropped, after the drop has committed: the sessions whose ID tokens it
 * signed, and, if it signed ID-JAGs, what relying apps gave on the word of those; events that still wait are
 * signed anew. It may be run again and by any replica; it ends with `cleared_at`.
 */
export async function clearKey(
  deps: Deps,
  key: CompromisedKey,
  patience = PATIENCE,
  stopping?: AbortSignal,
): Promise<Cleared> {
  const { kid, purpose } = key
  const quiet = await awaitWriters(deps.db, patience, stopping)
  const cleared: Cleared = {
    sessions_ended: 0,
    events_signed_anew: 0,
    events_queued: 0,
    told: [],
    complete: quiet,
  }
  if (purpose === 'id_token') cleared.sessions_ended = await endSessionsSignedBy(deps, kid)
  if (purpose === 'id_jag') {
    await tellAudiences(deps, key, cleared).catch((err) => {
      // There may be no key yet to sign with: the drop itself is done, and whoever asked for it is to know.
      deps.log.error({ err, kid }, 'events of a compromised key could not all be signed')
      cleared.complete = false
    })
  }
  if (cleared.complete) await finish(deps, kid, cleared)
  return cleared
}

async function tellAudiences(
  deps: Deps,
  { kid, activated_at }: CompromisedKey,
  cleared: Cleared,
): Promise<void> {
  const { signed, left } = await signAnew(deps, kid)
  cleared.events_signed_anew = signed
  if (left > 0) cleared.complete = false
  if (!activated_at) return
  const { queued, audiences } = await queueForKey(deps, { kid, since: activated_at })
  cleared.events_queued = queued
  cleared.told = audiences
}

/** Milliseconds between two looks for keys that were dropped and not yet cleared. */
const EVERY = 5_000

/** Milliseconds. Nobody waits for the worker, and a delivery holds its event until a slow app has answered. */
const LONG_PATIENCE = 15_000

export const startClearing = (deps: Deps): Worker =>
  repeatedly(EVERY, (stopping) => clearLeftKeys(deps, LONG_PATIENCE, stopping), {
    failed: (err) => deps.log.error({ err }, 'a compromised key could not be cleared yet'),
    again: () => deps.log.info('compromised keys are cleared again'),
  })

/**
 * Goes on with the keys that were dropped and not yet cleared: a process may have ended in between. One that
 * cannot be cleared does not keep the others waiting.
 */
export async function clearLeftKeys(
  deps: Deps,
  patience = PATIENCE,
  stopping?: AbortSignal,
): Promise<void> {
  const faults: unknown[] = []
  for (const key of await listUncleared(deps.db)) {
    if (stopping?.aborted) break
    await clearKey(deps, key, patience, stopping).catch((error) => faults.push(error))
  }
  if (faults.length > 0) throw faults[0]
}

/**
 * Each line of sessions in a transaction of its own: whoever ends sessions takes all of them, by their ids,
 * before the first family, and a transaction that ends one line after the other does not.
 */
async function endSessionsSignedBy({ db, now }: Deps, kid: string): Promise<number> {
  let ended = 0
  for (const session of await listSessionsSignedBy(db, kid, now())) {
    ended += await db
      .transaction()
      .execute((tx) => endSession(tx, session, { at: now(), reason: 'key_compromised' }))
  }
  return ended
}

async function finish({ db, now }: Deps, kid: string, { told, ...counts }: Cleared): Promise<void> {
  await db.transaction().execute(async (tx) => {
    const at = now()
    if (!(await markCleared(tx, kid, at))) return
    const detail = { kid, ...counts, audiences_told: told.length }
    await recordEvent(tx, { type: 'key.cleared', at, actor: { kind: 'system' }, detail })
  })
}
