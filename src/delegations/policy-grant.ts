import type { Actor } from '../audit/record.ts'
import { recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Deps } from '../deps.ts'
import { hurry } from '../events/hurry.ts'
import { wantedClaims } from '../oauth/profile.ts'
import { lockParties, type Parties, type Triple } from './lock.ts'
import { isPolicyStopped } from './policy-queries.ts'
import { insertDelegation, lockLiveDelegation } from './queries.ts'
import { subjectFor } from './subject.ts'

/**
 * Makes the delegation of an entitlement with `consent: "admin"`, at its first mint. What anyone ended is
 * not made again, nor what was replaced by something narrower: that takes a later entitlement, an
 * administrator's own delegation, or the user's consent; and a revocation by user bars all of that user's.
 * @returns `made`, or `exists` when somebody was faster: ask again. Otherwise it may not be made.
 */
export async function grantByPolicy(
  deps: Deps,
  of: Triple & { tenant_id: string },
  by: Actor,
): Promise<'made' | 'exists' | 'stopped'> {
  const now = deps.now()
  return deps.db.transaction().execute(async (tx) => {
    const locked = await lockParties(tx, of, now)
    if (!locked.live) return 'exists'
    const { entitlement, audience } = locked.parties
    if (entitlement.consent !== 'admin') return 'stopped'
    if (await lockLiveDelegation(tx, of)) return 'exists'
    if (await isPolicyStopped(tx, of, entitlement.created_at)) return 'stopped'
    const delegation = await insertDelegation(tx, {
      id: newId('dlg'),
      ...of,
      ...policyRights(entitlement, audience),
      sub_asserted: await subjectFor(tx, of, audience, now),
      created_at: now,
    })
    if (delegation === undefined) return 'exists'
    await hurry(tx, { audience_id: of.audience_id, sub: delegation.sub_asserted })
    await recordEvent(tx, {
      type: 'delegation.granted',
      at: now,
      actor: by,
      ...of,
      delegation_id: delegation.id,
      detail: { mode: 'always', source: 'policy' },
    })
    return 'made'
  })
}

type Bounds = Pick<Parties['entitlement'], 'scopes' | 'resources' | 'expires_at'>

/** What a policy delegation allows: all that the entitlement does and the audience asks for. */
export const policyRights = (
  { scopes, resources, expires_at }: Bounds,
  audience: Pick<Parties['audience'], 'profile' | 'claims'>,
) =>
  ({
    scopes,
    resources,
    authorization_details: null,
    claims: wantedClaims(audience),
    mode: 'always',
    source: 'policy',
    expires_at,
  }) as const
