import { type Actor, byAdmin } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { compromise, replicaMargin, stillAcceptedUntil } from '../keys/compromise.ts'
import { listHearing } from '../streams/receiver-queries.ts'
import { clearKey } from './clear-key.ts'
import { keyNotice } from './key-notice.ts'
import { listRelyingApps } from './queries.ts'

/**
 * Drops a signing key in an emergency and ends what rests on it (DS-26). The answer says what that cannot
 * reach: whoever keeps a copy of the key set, and until when.
 * @throws {ProblemError} `not_found`, `invalid_transition`
 */
export async function compromiseKey(
  deps: Deps,
  { kid, reason, admin }: { kid: string; reason: string | undefined; admin: Admin },
) {
  const actor: Actor = byAdmin(admin)
  const key = await compromise(deps, kid, { reason, actor })
  const { told, ...cleared } = await clearKey(deps, key)
  const until = key.purpose === 'seal' ? null : stillAcceptedUntil(key, deps.config)
  const margin = replicaMargin(deps.config)
  const apps = key.purpose === 'id_jag' ? await listRelyingApps(deps.db, told) : []
  return {
    ...key,
    status: 'compromised' as const,
    ...cleared,
    still_accepted_until: until,
    notice: keyNotice({ ...key, complete: cleared.complete, until, margin }),
    audiences: apps.map((app) => ({ ...app, told: told.includes(app.id) })),
    receivers: key.purpose === 'id_jag' ? await listHearing(deps.db) : [],
  }
}
