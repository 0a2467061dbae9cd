/**
 * Ends what must end together, in one transaction: the one place where an ending crosses rooms.
 *
 * Locks are taken in one order everywhere, rows of one table by id:
 *
 *   tenant → user, owner → agent → audience → entitlement → interaction → delegation
 *     → credential → session → code → family → actor permission
 *
 * 1. A mint and a consent take what they rest on `for share` along this line. A revocation holds the tenant,
 *    to which its own row refers, takes the row it names `for update`, and then goes down the line: nobody
 *    waits upwards, so nobody waits in a circle. The owner of an agent is a user, taken where users are. Whoever
 *    takes several of them takes them `for share`, and those who share do not wait for one another.
 *    A `for key share`, be it a foreign key's, has its place in the line too: it keeps a `for update` waiting,
 *    behind which others wait who have no quarrel with it.
 * 2. A mint or consent that reaches the named row first commits first, and the revocation then sees its
 *    delegation; one that comes later waits, and then sees what ended, be it an entitlement, a barred user
 *    or a dropped question where there was no delegation yet (rule 3).
 * 3. Consumed and expired delegations are history already and stay as they are.
 * 4. The administrator's reason is text about people, perhaps: it stands in the revocation alone.
 * 5. Before the first delegation ends, all that are in reach are held, and with them those that other agents
 *    have of the same user at the same audience: an event ends what the app gave for these too (tell.ts).
 */

import type { Transaction } from 'kysely'
import { byAdmin } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Tables } from '../db/tables.ts'
import { type DelegationsOf, endAll, expireInteractions } from '../delegations/queries.ts'
import type { Deps } from '../deps.ts'
import { endAdminEntitlements } from '../entitlements/queries.ts'
import type { Interrupt } from '../events/list-queries.ts'
import type { Admin } from '../http/admin-door.ts'
import { endPermissionsOfActors } from '../rules/actor-permission-queries.ts'
import { voidCodes } from '../sessions/code-queries.ts'
import { countCurrentTokens, endFamilies } from '../sessions/family-queries.ts'
import { endSessionsOfUsers } from '../sessions/queries.ts'
import { endSessionsIn } from '../sessions/tenant-queries.ts'
import { queueSignals } from '../streams/queue.ts'
import { barPolicyDelegations } from '../users/queries.ts'
import { lockPairs } from './owed-queries.ts'
import { insertRevocation } from './queries.ts'
import { type Extent, lockReach, type Reach } from './reach.ts'
import { recordEnded, recordRequested } from './record-ended.ts'
import { showInterrupts, tell } from './tell.ts'

export type Revoked = {
  id: string
  delegations_revoked: number
  refresh_tokens_revoked: number
  events_queued: number
  created_at: Date
  events_withheld?: number
  interrupts?: Interrupt[]
}

/** Stops everything that rests on one agent, user, audience, owner or tenant; undefined if there is none such. */
export async function revoke(
  tx: Transaction<Tables>,
  deps: Deps,
  { reach, reason, admin }: { reach: Reach; reason: string; admin: Admin },
): Promise<Revoked | undefined> {
  const extent = await lockReach(tx, reach)
  if (!extent) return undefined
  const id = newId('rev')
  const at = deps.now()
  const { tenant_id } = extent.named

  const entitlements = await endPolicies(tx, reach, extent, at)
  const of = delegationsOf(reach, extent)
  await expireInteractions(tx, of)
  await lockPairs(tx, of)
  const delegations = await endAll(tx, { of, at, reason: id })
  await endSessions(tx, deps, reach, { at, reason: id })
  const tokens = await endSignIns(tx, reach, extent, { at, reason: id })
  const permissions = await endPermissions(tx, reach, extent, at)
  const told = await tell(tx, deps, of, { cause: 'revocation', revocation_id: id })
  const counts = {
    delegations_revoked: delegations.length,
    refresh_tokens_revoked: tokens,
    events_queued: told.queued,
  }
  await insertRevocation(tx, {
    id,
    ...counts,
    tenant_id,
    [reach.kind === 'tenant_id' ? 'revoked_tenant_id' : reach.kind]: reach.id,
    reason,
    admin_key_id: admin.id,
    created_at: at,
  })
  const ending = { at, actor: byAdmin(admin), revocation_id: id }
  await recordRequested(tx, reach, {
    ...ending,
    ...counts,
    tenant_id,
    entitlements_ended: entitlements.length,
    actor_permissions_ended: permissions.length,
  })
  await recordEnded(tx, { entitlements, permissions, delegations }, ending)
  return {
    id,
    ...counts,
    created_at: at,
    ...(told.withheld > 0 && { events_withheld: told.withheld }),
    ...showInterrupts(told.interrupted),
  }
}

/** Rule 4: what asks no user must be ended as well, or the next mint would bring a delegation back. */
async function endPolicies(
  tx: Transaction<Tables>,
  { kind, id }: Reach,
  { agentIds }: Extent,
  at: Date,
) {
  if (kind === 'user_id') await barPolicyDelegations(tx, id, at)
  if (kind === 'user_id' && agentIds === undefined) return []
  const of = agentIds ? { agent_ids: agentIds } : { [kind]: id }
  return endAdminEntitlements(tx, { of, at })
}

/** Or the next mint would name an agent in reach as one that acts for another. */
async function endPermissions(
  tx: Transaction<Tables>,
  { kind, id }: Reach,
  { agentIds }: Extent,
  at: Date,
) {
  if (agentIds) return endPermissionsOfActors(tx, { of: { actor_ids: agentIds }, at })
  if (kind === 'tenant_id') return endPermissionsOfActors(tx, { of: { tenant_id: id }, at })
  return []
}

function delegationsOf({ kind, id }: Reach, { agentIds }: Extent): DelegationsOf {
  if (kind === 'user_id') return { user_id: id, or_agent_ids: agentIds ?? [] }
  return agentIds ? { agent_ids: agentIds } : { [kind]: id }
}

/** Whoever is stopped as a person is signed out everywhere, and receivers hear of it; by agent or audience nobody is. */
async function endSessions(
  tx: Transaction<Tables>,
  deps: Deps,
  { kind, id }: Reach,
  ending: { at: Date; reason: string },
) {
  const signal = { event: 'session-revoked', by: 'admin' } as const
  if (kind === 'user_id') {
    await endSessionsOfUsers(tx, { user_ids: [id], ...ending })
    await queueSignals(tx, deps, [{ ...signal, of: { user_id: id }, reason: 'revoked' }])
  }
  if (kind === 'tenant_id') {
    await endSessionsIn(tx, { tenant_id: id, ...ending })
    await queueSignals(tx, deps, [{ ...signal, of: { tenant_id: id }, reason: 'tenant_revoked' }])
  }
}

/** What sign-in gave the agents in reach, codes on their way included. Returns how many refresh tokens died. */
async function endSignIns(
  tx: Transaction<Tables>,
  { kind, id }: Reach,
  { agentIds }: Extent,
  { at, reason }: { at: Date; reason: string },
): Promise<number> {
  if (kind === 'audience_id') return 0
  const ofUser = kind === 'user_id' && {
    user_ids: [id],
    ...(agentIds && { or_agent_ids: agentIds }),
  }
  const of = ofUser || (agentIds ? { agent_ids: agentIds } : { tenant_id: id })
  await voidCodes(tx, { ...of, ...(ofUser && agentIds && { agent_ids: agentIds }) }, at)
  return countCurrentTokens(tx, await endFamilies(tx, { of, at, reason }), at)
}
