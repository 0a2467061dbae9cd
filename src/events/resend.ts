import type { Transaction } from 'kysely'
import { type Actor, recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { notFound, ProblemError } from '../http/problem.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { GIVE_UP_AFTER } from './delivery.ts'
import type { Delivery } from './list-queries.ts'
import { findListenerNamed, type Listener, listListeners } from './queries.ts'
import {
  copyDelivery,
  type Failed,
  findSentAgain,
  lockDelivery,
  resendDelivery,
} from './resend-queries.ts'
import { chooseEventType } from './revocation-set.ts'
import { signEvents } from './sign.ts'

/**
 * Sends an event that failed again, at somebody's word (EV-13): under a new `jti`, where and how its audience is
 * told by now, or the one that is registered in its place, for another 72 hours. Whom it is for stays: where the
 * audience has another issuer by now, which is another server, it goes where it went. One that was accepted, and then
 * lost, stays as it is: another one says the same.
 * @throws {ProblemError} `invalid_transition` for one that was dropped, after a newer consent, and where the audience
 *   is told nothing any more; `unavailable` while no key can sign
 * @returns the id of the event that is on its way
 */
export async function resendEvent(
  deps: Pick<Deps, 'db' | 'keys' | 'config' | 'now'>,
  { id }: Delivery,
  actor: Actor,
): Promise<string> {
  return deps.db.transaction().execute(async (tx) => {
    const now = deps.now()
    const event = await lockDelivery(tx, id, now)
    if (event === undefined) throw notFound('event delivery')
    // Somebody else has just sent it again.
    if (event.status === 'queued') return id
    if (event.status === 'superseded') throw refusal('superseded')
    if (event.overtaken) throw refusal('overtaken')
    const known = event.status === 'delivered' ? await findSentAgain(tx, event) : undefined
    if (known) return known.id
    const [own] = await listListeners(tx, [event.audience_id])
    const listener = (await findListenerNamed(tx, event)) ?? own
    if (listener === undefined) throw refusal('nowhere')
    const { alg: _alg, sub: _sub, ...signed } = await signFor(tx, deps, event, listener)
    const sent = {
      ...signed,
      resent_at: now,
      expires_at: addSeconds(now, GIVE_UP_AFTER),
    }
    const again = event.status === 'delivered' ? newId('dlv') : id
    if (again === id) await resendDelivery(tx, id, sent)
    else await copyDelivery(tx, event, { id: again, ...sent })
    await recordEvent(tx, {
      type: 'event.resent',
      at: now,
      actor,
      tenant_id: event.tenant_id,
      user_id: event.user_id,
      audience_id: event.audience_id,
      ...(event.agent_id !== null && { agent_id: event.agent_id }),
      detail: {
        event_delivery_id: again,
        ...(again !== id && { copy_of: id }),
        jti: signed.jti,
        earlier_jti: event.jti,
      },
    })
    return again
  })
}

const REFUSALS = {
  superseded:
    'This event was dropped for another that says the same, or because access was given there again',
  overtaken:
    'Access was given there since, by its user or an administrator, and sent now it would take that away. Revoke the delegation if that is what you want',
  nowhere:
    'The audience is told nothing any more: it needs an events_endpoint, and an events_dialect other than none',
} as const

const refusal = (why: keyof typeof REFUSALS) =>
  new ProblemError('invalid_transition', REFUSALS[why])

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
