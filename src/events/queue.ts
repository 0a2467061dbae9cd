import type { Transaction } from 'kysely'
import { newId } from '../db/ids.ts'
import type { Db, Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { GIVE_UP_AFTER } from './delivery.ts'
import { insertDeliveries, type Listener, listListeners, type NewDelivery } from './queries.ts'
import { chooseEventType } from './revocation-set.ts'
import { signEvents } from './sign.ts'

/** Whom an audience is to hear of, and why. */
export type NewEvent = {
  audience_id: string
  user_id: string
  /** As asserted there. */
  sub: string
  revocation_id?: string
}

export type Queued = { id: string; audience_id: string; sub: string }

/** Events signed and written at a time. */
const MOST = 100

/**
 * Signs events and writes them to the outbox, in the transaction that gives rise to them. An audience is
 * told of a subject once, and not at all if it has nowhere to be told. Returns what was queued.
 * No lock is waited for, so it may come last in any order of locks.
 */
export async function queueEvents(
  tx: Transaction<Tables>,
  deps: Pick<Deps, 'keys' | 'now' | 'config'>,
  events: readonly NewEvent[],
): Promise<Queued[]> {
  if (events.length === 0) return []
  const ids = [...new Set(events.map(({ audience_id }) => audience_id))]
  const listeners = new Map((await listListeners(tx, ids)).map((one) => [one.id, one]))
  const pairs = new Map(events.map((event) => [`${event.audience_id} ${event.sub}`, event]))
  const told = [...pairs.values()].flatMap(({ audience_id, revocation_id = null, ...event }) => {
    const listener = listeners.get(audience_id)
    return listener ? [{ listener, ...event, cause: { revocation_id, compromised_kid: null } }] : []
  })
  return writeEvents(tx, deps, told)
}

/** An event for somebody who listens. */
export type ToldEvent = {
  listener: Listener
  user_id: string
  sub: string
  cause: Pick<NewDelivery, 'revocation_id' | 'compromised_kid'>
}

/** Signs and writes, so many at a time. Whoever has no transaction has each of these alone. */
export async function writeEvents(
  db: Db,
  deps: Pick<Deps, 'keys' | 'now' | 'config'>,
  events: readonly ToldEvent[],
): Promise<Queued[]> {
  const now = deps.now()
  const queued: Queued[] = []
  for (let at = 0; at < events.length; at += MOST) {
    const some = events.slice(at, at + MOST).map(contentOf)
    const signed = await signEvents(db, deps, some, now)
    const deliveries = signed.map(({ alg: _, ...event }) => ({
      id: newId('dlv'),
      ...event,
      next_attempt_at: now,
      created_at: now,
      expires_at: addSeconds(now, GIVE_UP_AFTER),
    }))
    queued.push(...(await insertDeliveries(db, deliveries)))
  }
  return queued
}

const contentOf = ({ listener, cause, ...of }: ToldEvent) => {
  const { id: audience_id, issuer: aud, event_type, ...how } = listener
  return { ...how, ...cause, ...of, audience_id, aud, event_type: event_type ?? chooseEventType() }
}
