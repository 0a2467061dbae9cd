import type { Transaction } from 'kysely'
import { type Actor, recordEvent, recordEvents } from '../audit/record.ts'
import type { Row, Tables } from '../db/tables.ts'
import { NAMED_IN_AUDIT, type Reach } from './reach.ts'

type Ending = { at: Date; actor: Actor; revocation_id: string }

type Counts = {
  delegations_revoked: number
  refresh_tokens_revoked: number
  events_queued: number
  entitlements_ended: number
  actor_permissions_ended: number
}

/** The line of a call that stops what rests on one record. */
export const recordRequested = (
  tx: Transaction<Tables>,
  { kind, id }: Reach,
  { at, actor, revocation_id, tenant_id, ...counts }: Ending & Counts & { tenant_id: string },
): Promise<void> =>
  recordEvent(tx, {
    type: 'revocation.requested',
    at,
    actor,
    tenant_id,
    ...(NAMED_IN_AUDIT[kind] === 'line' && { [kind]: id }),
    detail: {
      revocation_id,
      by: kind,
      ...(NAMED_IN_AUDIT[kind] === 'detail' && { [kind]: id }),
      ...counts,
    },
  })

type Entitlement = Pick<Row<'entitlements'>, 'id' | 'tenant_id' | 'agent_id' | 'audience_id'>
type Delegation = Pick<
  Row<'delegations'>,
  'id' | 'tenant_id' | 'user_id' | 'agent_id' | 'audience_id'
>

type Permission = Pick<
  Row<'actor_permissions'>,
  'id' | 'tenant_id' | 'agent_id' | 'actor_id' | 'user_id' | 'audience_id'
>

type Ended = {
  entitlements: readonly Entitlement[]
  permissions?: readonly Permission[]
  delegations: readonly Delegation[]
}

/** A line for each record that ended with a revocation, as if it had ended alone. */
export const recordEnded = (
  tx: Transaction<Tables>,
  { entitlements, permissions = [], delegations }: Ended,
  { at, actor, revocation_id }: Ending,
): Promise<void> =>
  recordEvents(tx, [
    ...entitlements.map(({ id: entitlement_id, tenant_id, agent_id, audience_id }) => ({
      type: 'entitlement.ended',
      at,
      actor,
      tenant_id,
      agent_id,
      audience_id,
      detail: { entitlement_id, revocation_id },
    })),
    ...permissions.map(({ id, tenant_id, actor_id, ...named }) => ({
      type: 'actor_permission.ended',
      at,
      actor,
      tenant_id,
      agent_id: named.agent_id,
      user_id: named.user_id ?? undefined,
      audience_id: named.audience_id ?? undefined,
      detail: { actor_permission_id: id, actor_id, revocation_id },
    })),
    ...delegations.map((one) => revokedEvent(one, at, actor, { revocation_id })),
  ])

export const revokedEvent = (
  { id, tenant_id, user_id, agent_id, audience_id }: Delegation,
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
