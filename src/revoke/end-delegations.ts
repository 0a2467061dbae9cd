/** Endings of delegations alone, in the order of locks and by the rules of end.ts. */
import type { Transaction } from 'kysely'
import { type Actor, byAdmin, recordEvent, recordEvents } from '../audit/record.ts'
import type { Tables } from '../db/tables.ts'
import { effectiveStatus } from '../delegations/delegation.ts'
import {
  endAll,
  endOne,
  expireInteractions,
  findDelegation,
  lockDelegation,
  lockLiveDelegation,
} from '../delegations/queries.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { lockPairs } from './owed-queries.ts'
import { revokedEvent } from './record-ended.ts'
import { tell } from './tell.ts'

/**
 * Ends one delegation: by the user's click, an administrator's call, or the agent that gives it up. One that
 * had ended stays as it was. Returns whether there is such a delegation among those that exist for the caller:
 * to a user only their own do, to an agent only what that user allowed it.
 */
export async function endDelegation(
  tx: Transaction<Tables>,
  deps: Deps,
  id: string,
  by: Actor & { kind: 'user' | 'admin' | 'agent' },
  of: { user_id?: string; agent_id?: string },
): Promise<boolean> {
  const found = await findDelegation(tx, id)
  if (!found) return false
  const { user_id = found.user_id, agent_id = found.agent_id } = of
  if (found.user_id !== user_id || found.agent_id !== agent_id) return false
  const reach = { user_id, agent_ids: [agent_id], audience_id: found.audience_id }
  await lockPairs(tx, reach)
  const before = await lockDelegation(tx, id)
  const at = deps.now()
  const ended = await endOne(tx, id, by.kind, at)
  // What was consumed or has expired may have been acted on; what was revoked has been told of. What a newer
  // consent between the same three has given since is not to end with an older one.
  const newer = await lockLiveDelegation(tx, { user_id, agent_id, audience_id: found.audience_id })
  const isLive = newer && effectiveStatus(newer, at) === 'active'
  if (before?.status !== 'revoked' && !isLive)
    await tell(tx, deps, reach, { cause: 'delegation_ended' })
  if (ended?.status === 'revoked') {
    await recordEvent(tx, revokedEvent(ended, at, by, { by: by.kind }))
  }
  return true
}

/** Ends what an agent holds at one audience, for its entitlement there has ended: a later one revives nothing. */
export async function endDelegationsOfPair(
  tx: Transaction<Tables>,
  deps: Deps,
  { agent_id, audience_id }: { agent_id: string; audience_id: string },
  admin: Admin,
): Promise<number> {
  const at = deps.now()
  const of = { agent_ids: [agent_id], audience_id }
  await expireInteractions(tx, of)
  await lockPairs(tx, of)
  const delegations = await endAll(tx, { of, at, reason: 'entitlement_ended' })
  await tell(tx, deps, of, { cause: 'entitlement_ended' })
  const actor = byAdmin(admin)
  await recordEvents(
    tx,
    delegations.map((one) => revokedEvent(one, at, actor, { by: 'entitlement_ended' })),
  )
  return delegations.length
}

/** Has somebody end delegations of a pair, and tells the audience of those. */
export async function endTelling<Ended extends { id: string }>(
  tx: Transaction<Tables>,
  deps: Deps,
  of: { agent_id: string; audience_id: string },
  end: () => Promise<Ended[]>,
): Promise<Ended[]> {
  await lockPairs(tx, { agent_ids: [of.agent_id], audience_id: of.audience_id })
  const ended = await end()
  const ids = ended.map(({ id }) => id)
  await tell(tx, deps, { ids }, { cause: 'entitlement_ended' })
  return ended
}
