/**
 * The states of an audience. What a suspension or a retirement ends elsewhere is the caller's part.
 *
 *   active ⇄ suspended      suspend, resume; approve-change where its documents stopped it (approve.ts)
 *     └──────────┴─retire→ retired, which is final
 *
 * Each move takes the audience's row lock first, so that a mint for it waits for this commit or is waited
 * for, and does nothing where the audience is in that state already.
 */
import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db, Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { notFound, ProblemError } from '../http/problem.ts'
import { deleteAliases } from './alias-queries.ts'
import { awaitsApproval, takeOverStop } from './discovery-queries.ts'
import { lockAudience, updateAudience } from './queries.ts'

type Move = { to: Row<'audiences'>['status']; type: string }

/** Resuming brings no delegation back; retiring frees its issuer and its aliases for another record. */
export const AUDIENCE_MOVES = {
  suspend: { to: 'suspended', type: 'audience.suspended' },
  resume: { to: 'active', type: 'audience.resumed' },
  retire: { to: 'retired', type: 'audience.retired' },
} as const satisfies Record<string, Move>
export type AudienceMove = keyof typeof AUDIENCE_MOVES

/** @throws {ProblemError} `not_found`, `invalid_transition` */
export async function setAudienceState(
  tx: Db,
  deps: Deps,
  { id, move, reason }: { id: string; move: AudienceMove; reason?: string | undefined },
  admin: Admin,
): Promise<Row<'audiences'>> {
  const { to, type }: Move = AUDIENCE_MOVES[move]
  const audience = await lockAudience(tx, id)
  if (audience === undefined) throw notFound('audience')
  // A suspension because of a change becomes the administrator's own, which no approval ends.
  const taken = to === 'suspended' && (await takeOverStop(tx, id))
  if (audience.status === to && !taken) {
    if (to === 'active' || reason === undefined) return audience
    // Whoever stops it once more, and says why, is the last who did; their revocation is in the log.
    return updateAudience(tx, id, { status_reason: reason, updated_at: deps.now() })
  }
  if (audience.status === 'retired') {
    throw new ProblemError('invalid_transition', 'This audience is retired, which is final')
  }
  if (to === 'active' && (await awaitsApproval(tx, id))) {
    throw new ProblemError(
      'invalid_transition',
      'What its documents say awaits approval: look at pending_change, and call approve-change',
    )
  }
  if (to === 'retired') await deleteAliases(tx, id)
  const now = deps.now()
  const moved = await updateAudience(tx, id, {
    status: to,
    status_reason: reason ?? null,
    updated_at: now,
  })
  await recordEvent(tx, {
    type,
    at: now,
    actor: byAdmin(admin),
    tenant_id: audience.tenant_id,
    audience_id: id,
  })
  return moved
}
