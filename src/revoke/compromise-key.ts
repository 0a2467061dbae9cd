import { type Actor, byAdmin } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { type CompromisedKey, compromise, stillAcceptedUntil } from '../keys/compromise.ts'
import { clearKey } from './clear-key.ts'
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
  const apps = key.purpose === 'id_jag' ? await listRelyingApps(deps.db, told) : []
  return {
    ...key,
    status: 'compromised' as const,
    ...cleared,
    still_accepted_until: until,
    notice: noticeOf(key, until),
    audiences: apps.map((app) => ({ ...app, told: told.includes(app.id) })),
  }
}

/** For a person who has to act on it, in plain words. */
function noticeOf({ purpose, compromised_at }: CompromisedKey, until: Date | null): string {
  if (until === null) {
    return `This server seals with another key since ${instant(compromised_at)}. Seals of this key stay as they are: whoever held it could have forged some, and only a head that was kept elsewhere tells (GET /audit-events/verify?head=).`
  }
  const dropped = `Since ${instant(compromised_at)} this server signs nothing with the key, does not publish it and accepts nothing signed by it.`
  const cached = `may go on accepting whatever is signed by it, with whatever expiry a thief writes, until it fetches the key set again: at ${instant(until)} at the latest, if it keeps a key set no longer than JWKS_CEILING.`
  if (purpose === 'id_token') {
    return `${dropped} The sessions that its ID tokens stand for have ended; their users sign in again. A client that verifies ID tokens with a copy of the key set ${cached} Tell those who run such clients to fetch it now.`
  }
  return `${dropped} A relying app that holds a copy of the key set ${cached} An app that was told by an event has ended what it gave for ID-JAGs of this key, but may keep the key. Tell the operators of the apps listed, by another way than the network, to fetch the key set now, and to end what they gave on ID-JAGs with this kid.`
}

const instant = (at: Date): string => at.toISOString()
