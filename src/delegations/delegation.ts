import type { Row } from '../db/tables.ts'

/**
 * What a user allowed one agent at one audience. At most one per triple is live.
 *
 *   active ──spent──▶ consumed          (mode `once`, by the mint that spends it)
 *      ├────time────▶ expired           (told from `expires_at`; the row follows when somebody touches it)
 *      └────ended───▶ revoked           (`end_reason`: user, admin, agent, a revocation's id, or replaced)
 *
 * No state leads back: a delegation that ended stays ended, and a new consent is a new row.
 */
export type Delegation = Row<'delegations'>
export type DelegationStatus = Delegation['status']

/** The status a caller may rely on: an active row whose end has passed is `expired`. */
export function effectiveStatus(
  delegation: Pick<Delegation, 'status' | 'expires_at'>,
  now: Date,
): DelegationStatus {
  const { status, expires_at } = delegation
  return status === 'active' && expires_at !== null && expires_at <= now ? 'expired' : status
}
