import { type Selectable, sql, type Transaction } from 'kysely'
import type { Reason } from '../audit/reason.ts'
import type { Tables } from '../db/tables.ts'

/** Whom a delegation joins. */
export type Triple = { user_id: string; agent_id: string; audience_id: string }

/** The parties as they stand under the locks; only `lockParties` makes this. */
export type Parties = {
  of: Triple & { tenant_id: string }
  agent: Pick<Selectable<Tables['agents']>, 'name' | 'grant_types'>
  audience: Pick<
    Selectable<Tables['audiences']>,
    'profile' | 'resources' | 'claims' | 'subject_type' | 'sector'
  >
  entitlement: Pick<
    Selectable<Tables['entitlements']>,
    'scopes' | 'resources' | 'authorization_details_types' | 'consent' | 'created_at' | 'expires_at'
  >
}
export type LockedParties =
  | { live: true; parties: Parties }
  | {
      live: false
      reason: Extract<
        Reason,
        | 'tenant_suspended'
        | 'user_inactive'
        | 'agent_suspended'
        | 'agent_expired'
        | 'owner_inactive'
        | 'audience_inactive'
        | 'no_entitlement'
      >
    }

/**
 * Takes every row that a delegation rests on `for share`, one statement each so that the order is certain:
 * tenant, user, agent, owner, audience, entitlement. Whatever ends one of them takes its row `for update`
 * first, so from here to the commit nothing does; and what was ended before is seen (rule 3).
 */
export async function lockParties(
  tx: Transaction<Tables>,
  of: Triple & { tenant_id: string },
  now: Date,
): Promise<LockedParties> {
  const { tenant_id } = of
  const tenant = await tx
    .selectFrom('tenants')
    .select('status')
    .where('id', '=', tenant_id)
    .forShare()
    .executeTakeFirst()
  if (tenant?.status !== 'active') return { live: false, reason: 'tenant_suspended' }

  if (!(await lockActiveUser(tx, tenant_id, of.user_id))) {
    return { live: false, reason: 'user_inactive' }
  }
  const agent = await tx
    .selectFrom('agents')
    .select(['name', 'status', 'expires_at', 'owner_id', 'grant_types'])
    .where('id', '=', of.agent_id)
    .where('tenant_id', '=', tenant_id)
    .forShare()
    .executeTakeFirst()
  if (agent?.status !== 'active') return { live: false, reason: 'agent_suspended' }
  if (agent.expires_at === null || agent.expires_at <= now) {
    return { live: false, reason: 'agent_expired' }
  }
  if (agent.owner_id === null || !(await lockActiveUser(tx, tenant_id, agent.owner_id))) {
    return { live: false, reason: 'owner_inactive' }
  }
  const audience = await tx
    .selectFrom('audiences')
    .select(['status', 'profile', 'resources', 'claims', 'subject_type', 'sector'])
    .where('id', '=', of.audience_id)
    .where('tenant_id', '=', tenant_id)
    .forShare()
    .executeTakeFirst()
  if (audience?.status !== 'active') return { live: false, reason: 'audience_inactive' }

  const entitlement = await tx
    .selectFrom('entitlements')
    .select([
      'scopes',
      'resources',
      'authorization_details_types',
      'consent',
      'created_at',
      'expires_at',
    ])
    .where('agent_id', '=', of.agent_id)
    .where('audience_id', '=', of.audience_id)
    .where('ended_at', 'is', null)
    .forShare()
    .executeTakeFirst()
  if (!entitlement || (entitlement.expires_at !== null && entitlement.expires_at <= now)) {
    return { live: false, reason: 'no_entitlement' }
  }
  // Where no delegation exists yet there is no row to lock: those who would make one come one by one.
  await sql`select pg_advisory_xact_lock(hashtextextended(${`${of.user_id} ${of.agent_id} ${of.audience_id}`}, 0))`.execute(
    tx,
  )
  const { user_id, agent_id, audience_id } = of
  const triple = { tenant_id, user_id, agent_id, audience_id }
  return { live: true, parties: { of: triple, agent, audience, entitlement } }
}

async function lockActiveUser(tx: Transaction<Tables>, tenantId: string, id: string) {
  const user = await tx
    .selectFrom('users')
    .select('status')
    .where('id', '=', id)
    .where('tenant_id', '=', tenantId)
    .forShare()
    .executeTakeFirst()
  return user?.status === 'active'
}
