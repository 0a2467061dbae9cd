/**
 * Changes of state that end access: the record's own room changes the row, and what has to end with it ends
 * in the same transaction. Each of those verbs takes its row `for update` first, as lock order wants it; the
 * tenant is held before that, for the row of a revocation refers to it.
 * A stop is a revocation even where the record was stopped before: whatever slipped in meanwhile ends too.
 */

import type { Transaction } from 'kysely'
import { AGENT_MOVES, type AgentMove, setAgentState } from '../agents/lifecycle.ts'
import { AUDIENCE_MOVES, type AudienceMove, setAudienceState } from '../audiences/lifecycle.ts'
import { byAdmin, recordEvent } from '../audit/record.ts'
import { holdTenantOf } from '../db/hold-tenant.ts'
import type { Row, Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { endFamilies } from '../sessions/family-queries.ts'
import { endSessionsOfUsers } from '../sessions/queries.ts'
import { changeTenant } from '../tenants/change.ts'
import type { TenantPatch } from '../tenants/schema.ts'
import { changeUser } from '../users/change.ts'
import type { UserPatch } from '../users/schema.ts'
import { askAboutNewContacts } from './ask-again.ts'
import { revoke } from './end.ts'
import type { Reach } from './reach.ts'

type Tx = Transaction<Tables>
type Ended = { revocation_id?: string }

type Asked<Move> = { id: string; move: Move; reason?: string | undefined }

export async function moveAgent(
  tx: Tx,
  deps: Deps,
  asked: Asked<AgentMove>,
  admin: Admin,
): Promise<Ended> {
  const { id, move, reason = `Agent: ${move}` } = asked
  const ends = AGENT_MOVES[move].to !== 'active'
  if (ends) await holdTenantOf(tx, 'agents', id)
  await setAgentState(tx, deps, asked, admin)
  return ends ? stop(tx, deps, { kind: 'agent_id', id }, reason, admin) : {}
}

export async function moveAudience(
  tx: Tx,
  deps: Deps,
  asked: Asked<AudienceMove>,
  admin: Admin,
): Promise<Ended> {
  const { id, move, reason = `Audience: ${move}` } = asked
  const ends = AUDIENCE_MOVES[move].to !== 'active'
  if (ends) await holdTenantOf(tx, 'audiences', id)
  await setAudienceState(tx, deps, asked, admin)
  return ends ? stop(tx, deps, { kind: 'audience_id', id }, reason, admin) : {}
}

/**
 * A suspended or deleted user loses everything, and so do the agents that have no owner then; a new password
 * only signs them out everywhere, and a new address is asked about.
 */
export async function patchUser(
  tx: Tx,
  deps: Deps,
  id: string,
  patch: UserPatch,
  admin: Admin,
): Promise<{ user: Row<'users'> } & Ended> {
  await holdTenantOf(tx, 'users', id)
  const { user, before, passwordChanged } = await changeUser(tx, deps, id, patch, admin)
  if (patch.status === 'suspended' || patch.status === 'deleted') {
    const reach = { kind: 'user_id', id, withAgents: true } as const
    const ended = await stop(tx, deps, reach, `User: ${patch.status}`, admin)
    return { user, ...ended }
  }
  await askAboutNewContacts(tx, deps, { before, user }, admin)
  if (passwordChanged) await signOutEverywhere(tx, deps, user, admin)
  return { user }
}

export async function patchTenant(
  tx: Tx,
  deps: Deps,
  id: string,
  patch: TenantPatch,
  admin: Admin,
): Promise<{ tenant: Row<'tenants'> } & Ended> {
  const { tenant } = await changeTenant(tx, deps, id, patch, admin)
  if (patch.status !== 'suspended') return { tenant }
  const ended = await stop(tx, deps, { kind: 'tenant_id', id }, 'Tenant: suspended', admin)
  return { tenant, ...ended }
}

async function stop(
  tx: Tx,
  deps: Deps,
  reach: Reach,
  reason: string,
  admin: Admin,
): Promise<Ended> {
  const revoked = await revoke(tx, deps, { reach, reason, admin })
  return revoked ? { revocation_id: revoked.id } : {}
}

/**
 * Who knew the old password may sit in a session: all of them end, and what agents got through them. Receivers
 * have heard of it with the password.
 */
async function signOutEverywhere(tx: Tx, deps: Deps, user: Row<'users'>, admin: Admin) {
  const at = deps.now()
  const reason = 'password_changed'
  const sessions = await endSessionsOfUsers(tx, { user_ids: [user.id], at, reason })
  const families = await endFamilies(tx, { of: { user_ids: [user.id] }, at, reason })
  if (sessions === 0 && families.length === 0) return
  await recordEvent(tx, {
    type: 'session.ended',
    at,
    actor: byAdmin(admin),
    tenant_id: user.tenant_id,
    user_id: user.id,
    detail: { why: reason, sessions, family_ids: families.map(({ id }) => id) },
  })
}
