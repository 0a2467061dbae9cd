import { type Selectable, sql, type Transaction } from 'kysely'
import type { Reason } from '../audit/reason.ts'
import { ChangedMeanwhile } from '../db/changed-meanwhile.ts'
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
 * tenant, user and owner, agent, audience, entitlement. Whatever ends one of them takes its row `for update`
 * first, so from here to the commit nothing does; and what was ended before is seen (rule 3).
 * @throws {ChangedMeanwhile} when the agent has been given another owner since that was asked
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

  const people = await lockPeople(tx, { ...of, tenant_id })
  const isActive = (id: string) => people.some((one) => one.id === id && one.status === 'active')
  if (!isActive(of.user_id)) return { live: false, reason: 'user_inactive' }
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
  const { owner_id } = agent
  if (owner_id === null) return { live: false, reason: 'owner_inactive' }
  if (!people.some(({ id }) => id === owner_id)) throw new ChangedMeanwhile('the owner of an agent')
  if (!isActive(owner_id)) return { live: false, reason: 'owner_inactive' }
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

/** The user, and the owner as far as one can tell before the agent is held. */
const lockPeople = (
  tx: Transaction<Tables>,
  { tenant_id, user_id, agent_id }: Triple & { tenant_id: string },
) =>
  tx
    .selectFrom('users')
    .select(['id', 'status'])
    .where('tenant_id', '=', tenant_id)
    .where((eb) =>
      eb.or([
        eb('id', '=', user_id),
        eb('id', '=', eb.selectFrom('agents').select('owner_id').where('id', '=', agent_id)),
      ]),
    )
    .orderBy('id')
    .forShare()
    .execute()
