import { type Actor, recordEvent } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import { notFound } from '../http/problem.ts'
import { hurryOne } from './hurry.ts'
import { type Delivery, findDelivery } from './list-queries.ts'
import { resendEvent } from './resend.ts'

/**
 * Has an event tried at somebody's word (EV-13): one that waits at once, as it is, one that failed anew, and one that
 * was accepted by way of another. One that is being sent is left alone.
 * @throws {ProblemError} `not_found`; as `resendEvent` does for one that does not wait
 * @returns the id of the event that is on its way
 */
export async function retryEvent(
  deps: Pick<Deps, 'db' | 'keys' | 'config' | 'now'>,
  id: string,
  actor: Actor,
): Promise<string> {
  const event = await findDelivery(deps.db, id)
  if (event === undefined) throw notFound('event delivery')
  if (event.status !== 'queued') return resendEvent(deps, event, actor)
  await hastenEvent(deps, event, actor)
  return id
}

/** It goes on holding up mints as it did: nothing changes but when it is tried (EV-14). */
const hastenEvent = (
  { db, now }: Pick<Deps, 'db' | 'now'>,
  { id, tenant_id, user_id, audience_id, agent_id }: Delivery,
  actor: Actor,
) =>
  db.transaction().execute(async (tx) => {
    const at = now()
    if ((await hurryOne(tx, { id, now: at })) === 0) return
    await recordEvent(tx, {
      type: 'event.hastened',
      at,
      actor,
      ...{ tenant_id, user_id, audience_id },
      ...(agent_id !== null && { agent_id }),
      detail: { event_delivery_id: id },
    })
  })
