/** What an agent needs before it may act: an active owner, a purpose, and an end that lies ahead. */
import type { Db, Row } from '../db/tables.ts'
import { invalid, ProblemError } from '../http/problem.ts'
import { shareOwner } from './queries.ts'

/**
 * Holds the owner as they are until the transaction has committed.
 * @throws {ProblemError} `validation_failed` for an unknown user, `owner_inactive` for one who cannot own it
 */
export async function requireActiveOwner(
  tx: Db,
  of: { tenant_id: string; owner_id: string },
): Promise<void> {
  const owner = await shareOwner(tx, of.owner_id)
  if (owner === undefined) throw invalid('/owner_id', 'names no user')
  if (owner.tenant_id === of.tenant_id && owner.status === 'active') return
  const detail =
    owner.status === 'active'
      ? 'The owner must be a user of the same tenant as the agent'
      : `The owner must be an active user; this one is ${owner.status}`
  throw new ProblemError('owner_inactive', detail, { errors: [{ pointer: '/owner_id', detail }] })
}

/** @throws {ProblemError} `owner_inactive`, `invalid_transition` */
export async function requireReady(tx: Db, agent: Row<'agents'>, now: Date): Promise<void> {
  const lacking = (what: string) =>
    new ProblemError('invalid_transition', `Give the agent ${what} first (PATCH)`)
  if (!agent.purpose?.trim()) throw lacking('a purpose')
  if (agent.expires_at === null || agent.expires_at <= now) {
    throw lacking('an expires_at in the future')
  }
  if (agent.owner_id === null) throw lacking('an owner')
  await requireActiveOwner(tx, { tenant_id: agent.tenant_id, owner_id: agent.owner_id })
}
