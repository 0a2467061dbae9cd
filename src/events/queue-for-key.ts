import type { Deps } from '../deps.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { listAudiencesTold, listDelegationsOfKey } from './key-queries.ts'
import { holdOutbox, type Listener, listAllListeners } from './queries.ts'
import { writeEvents } from './queue.ts'

type Surroundings = Pick<Deps, 'db' | 'keys' | 'config' | 'now' | 'log'>

/** A compromised key that signed ID-JAGs; `since`: when it began to. */
export type KeyInUse = { kid: string; since: Date }

/** `queued`: events, by this call. `audiences`: all that were told because of this key, or will be. */
export type ToldOfKey = { queued: number; audiences: string[] }

/** Delegations looked at in one statement. */
const MOST = 500

/** Seconds by which the clocks of replicas may differ, and more: an issuance has the time of another one. */
const SKEW = 60

/**
 * Queues an event for each subject of each audience that was told of it by an ID-JAG of a compromised key.
 * What a service gave on the word of that key, it may have given to a thief: it cannot tell, and neither
 * can we, for what a thief signs is recorded nowhere. So it is to drop all that it gave for that subject. The
 * delegations stay, and their agents mint again by the next key. Of subjects that this key never vouched for
 * here nothing is said: the protocol has no event about a key.
 *
 * In many small statements, so that nothing waits. After a crash, or where several replicas ask, an audience
 * is told of a subject once all the same. It goes by delegation, for an agent that mints all day has
 * thousands of issuances since the key began, and the first of them decides. A mint that commits meanwhile
 * may be missed: ask again once the last of them has.
 */
export async function queueForKey(
  deps: Surroundings,
  { kid, since }: KeyInUse,
  most = MOST,
): Promise<ToldOfKey> {
  const key = { kid, since: addSeconds(since, -SKEW) }
  const listeners = await listAllListeners(deps.db)
  let queued = 0
  for (const listener of listeners) queued += await tellOfKey(deps, key, listener, most)
  return { queued, audiences: await listAudiencesTold(deps.db, kid) }
}

async function tellOfKey(
  deps: Surroundings,
  { kid, since }: KeyInUse,
  listener: Listener,
  limit: number,
): Promise<number> {
  const of = { kid, since, audience_id: listener.id, limit }
  const cause = { revocation_id: null, compromised_kid: kid, cause: 'key_compromised' }
  let queued = 0
  let after = ''
  for (;;) {
    const page = await listDelegationsOfKey(deps.db, { ...of, after })
    const due = new Map(page.filter((one) => one.due).map((one) => [one.sub, one]))
    const events = [...due.values()].map(({ user_id, sub }) => ({ listener, user_id, sub, cause }))
    queued += await deps.db.transaction().execute(async (tx) => {
      // From here on whoever drops the key that signs these waits for them, and then finds them.
      await holdOutbox(tx)
      return (await writeEvents(tx, deps, events)).length
    })
    after = page.at(-1)?.id ?? after
    if (page.length < limit) return queued
  }
}
