/**
 * Ends what must end together, in one transaction: the one place where an ending crosses rooms.
 *
 * Locks are taken in one order everywhere, rows of one table by id:
 *
 *   tenant → user, owner → agent → audience → entitlement → interaction → delegation → credential → session → code → family
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
import { type Actor, byAdmin, recordEvent, recordEvents } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Tables } from '../db/tables.ts'
import { effectiveStatus } from '../delegations/delegation.ts'
import {
  type DelegationsOf,
  endAll,
  endOne,
  expireInteractions,
  findDelegation,
  lockDelegation,
  lockLiveDelegation,
} from '../delegations/queries.ts'
import type { Deps } from '../deps.ts'
import { endAdminEntitlements } from '../entitlements/queries.ts'
import type { Interrupt } from '../events/list-queries.ts'
import type { Admin } from '../http/admin-door.ts'
import { voidCodes } from '../sessions/code-queries.ts'
import { countCurrentTokens, endFamilies } from '../sessions/family-queries.ts'
import { endSessionsOfUsers } from '../sessions/queries.ts'
import { endSessionsIn } from '../sessions/tenant-queries.ts'
import { queueSignals } from '../streams/queue.ts'
import { barPolicyDelegations } from '../users/queries.ts'
import { lockPairs } from './owed-queries.ts'
import { insertRevocation } from './queries.ts'
import { type Extent, lockReach, type Reach } from './reach.ts'
import { showInterrupts, tell } from './tell.ts'

export type Revoked = {
  id: string
  delegations_revoked: number
  refresh_tokens_revoked: number
  events_queued: number
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
  const actor = byAdmin(admin)

  const entitlements = await endPolicies(tx, reach, extent, at)
  const of = delegationsOf(reach, extent)
  await expireInteractions(tx, of)
  await lockPairs(tx, of)
  const delegations = await endAll(tx, { of, at, reason: id })
  await endSessions(tx, deps, reach, { at, reason: id })
  const tokens = await endSignIns(tx, reach, extent, { at, reason: id })
  const told = await tell(tx, deps, of, { cause: 'revocation', revocation_id: id })
  const revoked = {
    id,
    delegations_revoked: delegations.length,
    refresh_tokens_revoked: tokens,
    events_queued: told.queued,
  }
  await insertRevocation(tx, {
    ...revoked,
    tenant_id: extent.named.tenant_id,
    [reach.kind === 'tenant_id' ? 'revoked_tenant_id' : reach.kind]: reach.id,
    reason,
    admin_key_id: admin.id,
    created_at: at,
  })
  const { kind, id: reachId } = reach
  await recordEvent(tx, {
    type: 'revocation.requested',
    at,
    actor,
    tenant_id: extent.named.tenant_id,
    ...(kind === 'agent_id' || kind === 'user_id' || kind === 'audience_id'
      ? { [kind]: reachId }
      : {}),
    detail: {
      revocation_id: id,
      by: kind,
      ...(kind === 'owner_id' ? { owner_id: reachId } : {}),
      delegations_revoked: revoked.delegations_revoked,
      refresh_tokens_revoked: revoked.refresh_tokens_revoked,
      events_queued: revoked.events_queued,
      entitlements_ended: entitlements.length,
    },
  })
  await recordEvents(tx, [
    ...entitlements.map(({ id: entitlement_id, ...rest }) => ({
      type: 'entitlement.ended',
      at,
      actor,
      ...rest,
      detail: { entitlement_id, revocation_id: id },
    })),
    ...delegations.map((delegation) => revokedEvent(delegation, at, actor, { revocation_id: id })),
  ])
  return {
    ...revoked,
    ...(told.withheld > 0 && { events_withheld: told.withheld }),
    ...showInterrupts(told.interrupted),
  }
}

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

const revokedEvent = (
  {
    id,
    tenant_id,
    user_id,
    agent_id,
    audience_id,
  }: { id: string; tenant_id: string; user_id: string; agent_id: string; audience_id: string },
  at: Date,
  actor: Actor,
  detail: Record<string, unknown>,
) => ({
  type: 'delegation.revoked',
  at,
  actor,
  tenant_id,
  user_id,
  agent_id,
  audience_id,
  delegation_id: id,
  detail,
})
