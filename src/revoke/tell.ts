import type { Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'
import { type DelegationsOf, touchLive } from '../delegations/queries.ts'
import type { Deps } from '../deps.ts'
import { type Interrupt, MOST_INTERRUPTS } from '../events/list-queries.ts'
import { joinEvents } from '../events/queries.ts'
import { queueEvents } from '../events/queue.ts'
import { listOwed, type Owed } from './owed-queries.ts'
import { forgetWithheld, noteWithheld } from './withheld-queries.ts'

/** What gave rise to an event, in the words of its record. */
export type Cause =
  | 'revocation'
  | 'delegation_ended'
  | 'entitlement_ended'
  | 'refresh_token_reused'
  | 'expired'
  | 'restored'

/** A member of an answer, where there is something to say. */
export const showInterrupts = (interrupted: readonly Interrupt[]): { interrupts?: Interrupt[] } =>
  interrupted.length === 0 ? {} : { interrupts: interrupted.slice(0, MOST_INTERRUPTS) }

export type Told = {
  /** Events that were written. */
  queued: number
  /** Subjects whose audience waits for the last ending. */
  withheld: number
  interrupted: Interrupt[]
}

/**
 * Writes the outbox rows for an ending in this reach, in its transaction and after it: the last that is done
 * under its locks (rule 4). The caller holds the delegations (`lockPairs`), so that no mint is missed, or says
 * that it does not, and then none is touched.
 */
export async function tell(
  tx: Transaction<Tables>,
  deps: Deps,
  of: DelegationsOf,
  { cause, revocation_id }: { cause: Cause; revocation_id?: string },
  delegations: 'held' | 'unlocked' = 'held',
): Promise<Told> {
  const now = deps.now()
  const all = await listOwed(tx, of, now)
  // What a thief may have been given does not wait for the last of them to end.
  const waits = ({ withheld }: { withheld: boolean }) =>
    withheld && cause !== 'refresh_token_reused'
  const withheld = all.filter(waits)
  await noteWithheld(tx, withheld, { since: now, revocation_id })
  const owed = all.filter((one) => !waits(one))
  const unsaid = owed.filter(({ queued_id }) => queued_id === null)
  const queued = await queueEvents(
    tx,
    deps,
    unsaid.map(({ audience_id, user_id, sub, agent_id, client_id }) => ({
      audience_id,
      user_id,
      sub,
      cause,
      ...(revocation_id !== undefined && { revocation_id }),
      ...(agent_id !== null && { agent: { id: agent_id, client_id } }),
    })),
  )
  if (revocation_id !== undefined) {
    const underWay = owed.flatMap(({ queued_id }) => queued_id ?? [])
    await joinEvents(tx, revocation_id, underWay)
  }
  // Those who waited for the last ending are proved by this one.
  for (const one of await forgetWithheld(tx, owed)) {
    const isOf = (event: Pick<Owed, 'audience_id' | 'sub'>) =>
      event.audience_id === one.audience_id && event.sub === one.sub
    const ids = [
      ...queued.filter(isOf).map(({ id }) => id),
      ...owed.filter(isOf).flatMap(({ queued_id }) => queued_id ?? []),
    ]
    for (const waited of one.revocation_ids) await joinEvents(tx, waited, ids)
  }
  const ofEveryAgent = unsaid.filter(({ agent_id }) => agent_id === null)
  const interrupted = delegations === 'held' ? await touchLive(tx, ofEveryAgent, now) : []
  return { queued: queued.length, withheld: withheld.length, interrupted }
}
