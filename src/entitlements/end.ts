import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db, Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { notFound } from '../http/problem.ts'
import {
  findLastEntitlement,
  lockEntitlement,
  lockEntitlementById,
  type Pair,
  updateEntitlement,
} from './queries.ts'

/**
 * Ends an entitlement, by id or the live one of a pair: from this commit on nothing is minted under it. Ending
 * an ended one changes nothing. The delegations under it are the caller's part.
 * @param reason `admin`, or the id of the revocation that it is part of; never free text, for it is audited
 * @throws {ProblemError} `not_found` when there never was one
 */
export async function endEntitlement(
  tx: Db,
  deps: Deps,
  of: Pair | { id: string },
  reason: string,
  admin: Admin,
): Promise<Row<'entitlements'>> {
  const row =
    'id' in of
      ? await lockEntitlementById(tx, of.id)
      : ((await lockEntitlement(tx, of)) ?? (await findLastEntitlement(tx, of)))
  if (row === undefined) throw notFound('entitlement')
  if (row.ended_at !== null) return row
  const now = deps.now()
  const ended = await updateEntitlement(tx, row.id, { ended_at: now, updated_at: now })
  await recordEvent(tx, {
    type: 'entitlement.ended',
    at: now,
    actor: byAdmin(admin),
    tenant_id: row.tenant_id,
    agent_id: row.agent_id,
    audience_id: row.audience_id,
    detail: { entitlement_id: row.id, end_reason: reason },
  })
  return ended
}
