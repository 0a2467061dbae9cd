import type { Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'
import { type DelegationsOf, touchLive } from '../delegations/queries.ts'
import type { Deps } from '../deps.ts'
import { listLeftBehind } from '../events/left-behind-queries.ts'
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
  | 'code_reused'
  | 'client_metadata_rule_ended'
  | 'expired'
  | 'restored'
  | 'audience_moved'

/**
 * What a thief may have been given does not wait for the last ending, and a server that is left hears of none.
 * Nor waits an agent that no rule lets come any more: its delegation stays, so that none that ends would be the last.
 */
const AT_ONCE: readonly Cause[] = [
  'refresh_token_reused',
  'code_reused',
  'audience_moved',
  'client_metadata_rule_ended',
]

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
  const waits = ({ withheld }: { withheld: boolean }) => withheld && !AT_ONCE.includes(cause)
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
    // A server that an audience was before it moved may have yet to hear of the same.
    const leftBehind = await listLeftBehind(tx, owed)
    await joinEvents(tx, revocation_id, [...underWay, ...leftBehind])
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
  const touched = delegations === 'held' ? await touchLive(tx, unsaid, now) : []
  // Where the agent is named, the app drops what that one has, and interrupts nobody else.
  const named = new Set(unsaid.flatMap((one) => (one.agent_id === null ? [] : one.audience_id)))
  const interrupted = touched.filter(({ audience_id }) => !named.has(audience_id))
  return { queued: queued.length, withheld: withheld.length, interrupted }
}
