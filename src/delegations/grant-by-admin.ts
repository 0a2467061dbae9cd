import type { Transaction } from 'kysely'
import { byAdmin } from '../audit/record.ts'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, ProblemError, unsupported } from '../http/problem.ts'
import { readFuture } from '../http/shapes.ts'
import { wantedClaims } from '../oauth/profile.ts'
import { type Delegation, spelledByAudience } from './delegation.ts'
import { grantDelegation } from './grant.ts'
import { type LockedParties, lockParties } from './lock.ts'
import { findTenantOfUser } from './queries.ts'
import type { NewDelegationBody } from './schema.ts'

/**
 * A delegation that an administrator makes in the user's stead (source `admin`).
 * @throws {ProblemError} `validation_failed` naming the member, `unsupported_value` for `offline`,
 * `owner_inactive`
 */
export async function grantByAdmin(
  tx: Transaction<Tables>,
  deps: Deps,
  body: NewDelegationBody,
  admin: Admin,
): Promise<Delegation> {
  if (body.offline) {
    throw unsupported('/offline', 'Delegations that outlive the session are not supported yet')
  }
  const now = deps.now()
  const expiresAt =
    body.expires_at === undefined ? null : readFuture('/expires_at', body.expires_at, now)
  const { user_id, agent_id, audience_id } = body
  const user = await findTenantOfUser(tx, user_id)
  if (!user) throw refusal('user_inactive')

  const locked = await lockParties(tx, { ...user, user_id, agent_id, audience_id }, now)
  if (!locked.live) throw refusal(locked.reason)
  const { audience } = locked.parties
  const resources = body.resources ? spelledByAudience(body.resources, audience) : null
  const made = await grantDelegation(
    tx,
    deps,
    locked.parties,
    {
      scopes: body.scopes,
      resources,
      claims: wantedClaims(audience),
      mode: body.mode,
      source: 'admin',
      text_version: null,
      expires_at: expiresAt,
    },
    byAdmin(admin),
  )
  if (made.granted) return made.delegation
  const [member, at] =
    made.reason === 'scope_not_entitled'
      ? (['scopes', body.scopes.indexOf(made.value)] as const)
      : (['resources', resources?.indexOf(made.value) ?? 0] as const)
  throw invalid(`/${member}/${at}`, BEYOND[made.reason])
}

const BEYOND = {
  scope_not_entitled: 'is not among the scopes that entitlement and catalogue allow here',
  resource_not_entitled: 'is not among the resources of the entitlement',
  resource_not_registered: 'is not a resource of the audience',
} as const

type PartyReason = Extract<LockedParties, { live: false }>['reason']

const MISSING: Record<PartyReason, readonly [pointer: string, detail: string]> = {
  tenant_suspended: ['/user_id', 'belongs to a tenant that is suspended'],
  user_inactive: ['/user_id', 'is not an active user'],
  agent_suspended: ['/agent_id', "is not an active agent of the user's tenant"],
  agent_expired: ['/agent_id', 'is past its end'],
  owner_inactive: ['/agent_id', 'has no active owner'],
  audience_inactive: ['/audience_id', "is not an active audience of the user's tenant"],
  no_entitlement: ['/audience_id', 'the agent has no live entitlement for this audience'],
}

function refusal(reason: PartyReason): ProblemError {
  const [pointer, detail] = MISSING[reason]
  if (reason !== 'owner_inactive') return invalid(pointer, detail)
  return new ProblemError('owner_inactive', `The agent ${detail}`, {
    errors: [{ pointer, detail }],
  })
}
