import type { Transaction } from 'kysely'
import { type Actor, recordEvent } from '../audit/record.ts'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { notFound, ProblemError } from '../http/problem.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { GIVE_UP_AFTER } from './delivery.ts'
import type { Delivery } from './list-queries.ts'
import { findListenerNamed, type Listener, listListeners } from './queries.ts'
import { type Failed, lockDelivery, resendDelivery } from './resend-queries.ts'
import { chooseEventType } from './revocation-set.ts'
import { signEvents } from './sign.ts'

/**
 * Sends an event that failed again, at somebody's word (EV-13): under a new `jti`, where and how its audience is
 * told by now, or the one that is registered in its place, for another 72 hours. Whom it is for stays: where the
 * audience has another issuer by now, which is another server, it goes where it went.
 * @throws {ProblemError} `invalid_transition` unless it failed, after a newer consent, and where the audience is told
 *   nothing any more; `unavailable` while no key can sign
 */
export async function resendEvent(
  deps: Pick<Deps, 'db' | 'keys' | 'config' | 'now'>,
  known: Delivery,
  actor: Actor,
): Promise<void> {
  const { id } = known
  refuseEnded(known)
  await deps.db.transaction().execute(async (tx) => {
    const now = deps.now()
    const event = await lockDelivery(tx, id, now)
    // Somebody else has just sent it again.
    if (event?.status === 'queued') return
    refuseEnded(event)
    if (event.overtaken) throw refusal('overtaken')
    const [own] = await listListeners(tx, [event.audience_id])
    const listener = (await findListenerNamed(tx, event)) ?? own
    if (listener === undefined) throw refusal('nowhere')
    const { jti, kid, jws, ...how } = await signFor(tx, deps, event, listener)
    const { aud, dialect, endpoint, event_type, agent_id, agent_client_id } = how
    await resendDelivery(tx, id, {
      ...{ aud, jti, kid, jws, dialect, endpoint, event_type, agent_id, agent_client_id },
      resent_at: now,
      expires_at: addSeconds(now, GIVE_UP_AFTER),
    })
    await recordEvent(tx, {
      type: 'event.resent',
      at: now,
      actor,
      tenant_id: event.tenant_id,
      user_id: event.user_id,
      audience_id: event.audience_id,
      ...(event.agent_id !== null && { agent_id: event.agent_id }),
      detail: { event_delivery_id: id, jti, earlier_jti: event.jti },
    })
  })
}

type Known = Pick<Failed, 'status' | 'delivered_at'>

function refuseEnded<Event extends Known>(event: Event | undefined): asserts event is Event {
  if (event === undefined) throw notFound('event delivery')
  const { status, delivered_at } = event
  if (status === 'delivered') throw refusal('delivered', `, at ${delivered_at?.toISOString()}`)
  if (status === 'superseded') throw refusal('superseded')
}

const REFUSALS = {
  delivered: 'The audience has accepted this event',
  superseded:
    'This event was dropped for another that says the same, or because access was given there again',
  overtaken:
    'Access was given there since, by its user or an administrator, and sent now it would take that away. Revoke the delegation if that is what you want',
  nowhere:
    'The audience is told nothing any more: it needs an events_endpoint, and an events_dialect other than none',
} as const

const refusal = (why: keyof typeof REFUSALS, more = '') =>
  new ProblemError('invalid_transition', `${REFUSALS[why]}${more}`)

/**
 * The same event in the words of today; in its own to a server that the audience is no more. One that names an agent
 * names none to those who do not understand it.
 */
async function signFor(
  tx: Transaction<Tables>,
  deps: Pick<Deps, 'keys' | 'config' | 'now'>,
  { sub, ...event }: Failed,
  { issuer, alg, names_agent, ...today }: Listener,
) {
  const { aud, agent_id, agent_client_id } = event
  const isThere = aud === issuer
  const named = isThere && !names_agent ? NOBODY : { agent_id, agent_client_id }
  const { dialect, endpoint, event_type } = isThere ? today : event
  const about = { aud, sub, ...named }
  const how = { alg, dialect, endpoint, event_type: event_type ?? chooseEventType() }
  const [signed] = await signEvents(tx, deps, [{ ...about, ...how }], deps.now()).catch((cause) => {
    throw new ProblemError('unavailable', 'No key can sign just now', { cause })
  })
  if (signed === undefined) throw new Error('each event is signed')
  return signed
}

const NOBODY = { agent_id: null, agent_client_id: null }
