import type { Transaction } from 'kysely'
import { holdTenantOf } from '../db/hold-tenant.ts'
import type { Tables } from '../db/tables.ts'
import { findNamed, listAgentsOwned, type Named } from './queries.ts'

/** What one revocation is about: exactly one record, by its name on the wire. */
export const REACHES = ['agent_id', 'user_id', 'audience_id', 'owner_id', 'tenant_id'] as const
export type ReachKind = (typeof REACHES)[number]
export type Reach = {
  kind: ReachKind
  id: string
  /** Of a user: and everything that rests on the agents this user answers for, who has no owner now. */
  withAgents?: true
}

/** The same, as each table tells it. */
export type Extent = {
  named: Named
  /** By agent: that one; by owner, and by a user who is gone: all that the owner has now. */
  agentIds: string[] | undefined
}

const TABLES = {
  agent_id: 'agents',
  user_id: 'users',
  audience_id: 'audiences',
  owner_id: 'users',
  tenant_id: 'tenants',
} as const

/** Where a line of the audit log names it. The tenant is in every line. */
export const NAMED_IN_AUDIT = {
  agent_id: 'line',
  user_id: 'line',
  audience_id: 'line',
  owner_id: 'detail',
  tenant_id: 'anyway',
} as const

/**
 * Locks the record that the revocation names, before anything else; undefined when there is none such.
 * From here on no mint and no consent that rests on it can commit before the revocation has.
 */
export async function lockReach(
  tx: Transaction<Tables>,
  { kind, id, withAgents }: Reach,
): Promise<Extent | undefined> {
  const table = TABLES[kind]
  if (table !== 'tenants') await holdTenantOf(tx, table, id)
  const named = await findNamed(tx, table, id)
  if (!named) return undefined
  if (kind === 'agent_id') return { named, agentIds: [id] }
  // The owner is locked, and an agent's move to this owner takes that lock too: none can join unseen.
  if (kind === 'owner_id' || withAgents) return { named, agentIds: await listAgentsOwned(tx, id) }
  return { named, agentIds: undefined }
}
