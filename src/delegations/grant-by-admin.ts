import type { Transaction } from 'kysely'
import { byAdmin } from '../audit/record.ts'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, ProblemError } from '../http/problem.ts'
import { readFuture } from '../http/shapes.ts'
import {
  type AuthorizationDetail,
  readAuthorizationDetails,
} from '../oauth/authorization-details.ts'
import { GRANT } from '../oauth/names.ts'
import { wantedClaims } from '../oauth/profile.ts'
import type { Delegation } from './delegation.ts'
import { type Bounds, spelledByAudience } from './excess.ts'
import { grantDelegation } from './grant.ts'
import { type LockedParties, lockParties } from './lock.ts'
import { findTenantOfUser } from './queries.ts'
import type { NewDelegationBody } from './schema.ts'

/**
 * A delegation that an administrator makes in the user's stead (source `admin`).
 * @throws {ProblemError} `validation_failed` naming the member, `owner_inactive`
 */
export async function grantByAdmin(
  tx: Transaction<Tables>,
  deps: Deps,
  body: NewDelegationBody,
  admin: Admin,
): Promise<Delegation> {
  const now = deps.now()
  const expires_at =
    body.expires_at === undefined ? null : readFuture('/expires_at', body.expires_at, now)
  const { offline = false } = body
  if (offline && expires_at === null) {
    throw invalid('/expires_at', 'is required with offline: what outlives the session has an end')
  }
  const details = readDetails(body.authorization_details ?? [])
  const { user_id, agent_id, audience_id } = body
  const user = await findTenantOfUser(tx, user_id)
  if (!user) throw refusal('user_inactive')

  const locked = await lockParties(tx, { ...user, user_id, agent_id, audience_id }, now)
  if (!locked.live) throw refusal(locked.reason)
  const { agent, audience } = locked.parties
  if (offline && !agent.grant_types.includes(GRANT.refreshToken)) {
    throw invalid('/offline', 'needs an agent that may hold refresh tokens; this one may not')
  }
  const resources = body.resources ? spelledByAudience(body.resources, audience) : null
  const made = await grantDelegation(
    tx,
    deps,
    locked.parties,
    {
      scopes: body.scopes,
      resources,
      authorization_details: details.map((detail) => located(detail, audience)),
      claims: wantedClaims(audience),
      mode: body.mode,
      offline,
      source: 'admin',
      text_version: null,
      expires_at,
    },
    byAdmin(admin),
  )
  if (made.granted) return made.delegation
  throw invalid(`/${made.member}/${made.at}`, BEYOND[made.reason])
}

/** The entries, if they are as RFC 9396 wants them; one that is not is named. */
function readDetails(given: AuthorizationDetail[]): AuthorizationDetail[] {
  const details = readAuthorizationDetails(given)
  if (details) return details
  const wrong = given.findIndex((one) => readAuthorizationDetails([one]) === undefined)
  if (wrong < 0) throw invalid('/authorization_details', 'is too long')
  throw invalid(`/authorization_details/${wrong}`, 'is not an entry of authorization details')
}

/** With its locations in the audience's own spelling, as they are compared and shown. */
const located = (detail: AuthorizationDetail, audience: Bounds['audience']): AuthorizationDetail =>
  Array.isArray(detail.locations)
    ? { ...detail, locations: spelledByAudience(detail.locations, audience) }
    : detail

const BEYOND = {
  scope_not_entitled: 'is not among the scopes that entitlement and catalogue allow here',
  resource_not_entitled: 'is not among the resources of the entitlement',
  resource_not_registered: 'is not a resource of the audience',
  details_unknown_type: 'is of a type that no resource in reach knows',
  details_not_entitled: 'is of a type that the entitlement does not allow',
  details_elsewhere: 'names a location that is not a resource in reach, or does not know the type',
} as const

type PartyReason = Extract<LockedParties, { live: false }>['reason']

const MISSING: Record<PartyReason, readonly [pointer: string, detail: string]> = {
  tenant_suspended: ['/user_id', 'belongs to a tenant that is suspended'],
  user_inactive: ['/user_id', 'is not an active user'],
  agent_suspended: ['/agent_id', "is not an active agent of the user's tenant"],
  agent_expired: ['/agent_id', 'is past its end'],
  owner_inactive: ['/agent_id', 'has no active owner'],
  audience_inactive: ['/audience_id', "is not an active audience of the user's tenant"],
  no_entitlement: ['/audience_id', 'is an audience for which the agent has no live entitlement'],
}

function refusal(reason: PartyReason): ProblemError {
  const [pointer, detail] = MISSING[reason]
  if (reason !== 'owner_inactive') return invalid(pointer, detail)
  return new ProblemError('owner_inactive', `The agent ${detail}`, {
    errors: [{ pointer, detail }],
  })
}
