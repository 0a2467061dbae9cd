import type { Transaction } from 'kysely'
import { newId, newTimeOrderedId } from '../db/ids.ts'
import type { Db, Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { within } from '../http/within.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { GIVE_UP_AFTER } from './delivery.ts'
import { insertDeliveries, type Listener, listListeners, type NewDelivery } from './queries.ts'
import { chooseEventType } from './revocation-set.ts'
import { NotSignedError, type Signed, signEvents, type Unsigned, type WaitForKeys } from './sign.ts'

/** Whom an audience is to hear of, and why. */
export type NewEvent = {
  audience_id: string
  user_id: string
  /** As asserted there. */
  sub: string
  /** What gave rise to it, in a word. */
  cause?: string
  revocation_id?: string
  /** The one agent it is about. Named to an audience that understands it; otherwise about all of them. */
  agent?: { id: string; client_id: string | null }
}

export type Queued = { id: string; audience_id: string; sub: string }

type Surroundings = Pick<Deps, 'keys' | 'now' | 'config' | 'log'>

/** Events signed and written at a time. */
const MOST = 100

/** Milliseconds that an ending waits for signatures: it holds locks, and the database ends what is idle for long. */
const PATIENCE = 1_000

/**
 * Signs events and writes them to the outbox, in the transaction that gives rise to them. An audience is
 * told of a subject, or of one agent for a subject, once, and not at all if it has nowhere to be told.
 * Returns what was queued.
 * No lock is waited for, so it may come last in any order of locks. Where no key can sign, they are queued
 * without a signature, which delivery makes.
 */
export async function queueEvents(
  tx: Transaction<Tables>,
  deps: Surroundings,
  events: readonly NewEvent[],
): Promise<Queued[]> {
  if (events.length === 0) return []
  const ids = [...new Set(events.map(({ audience_id }) => audience_id))]
  const listeners = new Map((await listListeners(tx, ids)).map((one) => [one.id, one]))
  const told = new Map<string, ToldEvent>()
  for (const { audience_id, revocation_id = null, cause = null, agent, ...event } of events) {
    const listener = listeners.get(audience_id)
    if (listener === undefined) continue
    const about = listener.names_agent ? agent : undefined
    const key = `${audience_id} ${event.sub} ${about?.id ?? ''}`
    const why = { revocation_id, compromised_kid: null, cause }
    told.set(key, { listener, ...event, about, cause: why })
  }
  return writeEvents(tx, deps, [...told.values()], createSignOrLeave(deps.log))
}

/** An event for somebody who listens. */
export type ToldEvent = {
  listener: Listener
  user_id: string
  sub: string
  about?: NewEvent['agent']
  cause: Pick<NewDelivery, 'revocation_id' | 'compromised_kid' | 'cause'>
}

/** Signs and writes, so many at a time. Whoever has no transaction has each of these alone. */
export async function writeEvents(
  db: Db,
  deps: Surroundings,
  events: readonly ToldEvent[],
  sign: Sign = signEvents,
): Promise<Queued[]> {
  const now = deps.now()
  const queued: Queued[] = []
  for (let at = 0; at < events.length; at += MOST) {
    const some = events.slice(at, at + MOST).map(contentOf)
    const signed = await sign(db, deps, some, now)
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

type Sign = <Event extends Unsigned>(
  db: Db,
  deps: Surroundings,
  events: readonly Event[],
  now: Date,
) => Promise<(Event & (Signed | NotSigned))[]>

/** Signed, or left to delivery: an ending does not wait for a custody, and asks none again that had no answer. */
function createSignOrLeave(log: Deps['log']): Sign {
  let left = false
  return async (db, deps, events, now) => {
    if (!left) {
      try {
        return await signEvents(db, deps, events, now, inTime)
      } catch (err) {
        // What is wrong with the database is wrong with the ending.
        if (!(err instanceof NotSignedError)) throw err
        log.error({ err }, 'events are queued that no key could sign yet')
        left = true
      }
    }
    return events.map((event) => ({ ...event, ...unsigned(now) }))
  }
}

/** What comes later than that comes to nobody. */
const inTime: WaitForKeys = async (work) => {
  try {
    return await within(PATIENCE, work, () => new Error('The keys did not answer in time'))
  } catch (cause) {
    throw new NotSignedError('No key could sign', { cause })
  }
}

type NotSigned = ReturnType<typeof unsigned>
const unsigned = (now: Date) => ({ jti: newTimeOrderedId('', now), kid: null, jws: null })

const contentOf = ({ listener, cause, about, ...of }: ToldEvent) => {
  const { id: audience_id, issuer: aud, event_type, names_agent: _, ...how } = listener
  return {
    ...how,
    ...cause,
    ...of,
    audience_id,
    aud,
    event_type: event_type ?? chooseEventType(),
    agent_id: about?.id ?? null,
    agent_client_id: about?.client_id ?? null,
  }
}
