import { sql } from 'kysely'
import { allowedUntil } from '../agents/metadata-queries.ts'
import type { Db } from '../db/tables.ts'

const allowed = sql<Date | null>`${sql.raw(allowedUntil('agents'))}`.as(
  'client_metadata_allowed_until',
)

// By an administrator: as an agent, or by a rule for this very URL. A rule for a host lets others come too.
const enrolled = sql<boolean>`(agents.client_metadata_url is null or exists (
  select from client_metadata_rules rule
  where rule.url = agents.client_metadata_url and rule.ended_at is null))`.as('enrolled')

/** The client that a request names, with what decides whether it may ask; a retired one is as unknown as none. */
export function findClient(db: Db, id: string) {
  return db
    .selectFrom('agents')
    .innerJoin('tenants', 'tenants.id', 'agents.tenant_id')
    .leftJoin('users as owner', 'owner.id', 'agents.owner_id')
    .select([
      'agents.id',
      'agents.tenant_id',
      'agents.name',
      'agents.status',
      'agents.expires_at',
      'agents.redirect_uris',
      'agents.grant_types',
      'agents.token_endpoint_auth_method',
      'agents.client_metadata_url',
      allowed,
      enrolled,
      'owner.status as owner_status',
      'tenants.status as tenant_status',
    ])
    .where('agents.id', '=', id)
    .where('agents.status', '<>', 'retired')
    .executeTakeFirst()
}

export type GrantedUser = NonNullable<Awaited<ReturnType<typeof findGrantedUser>>>

/** The user behind an access token, if the grant and all that it rests on are live. */
export function findGrantedUser(db: Db, family_id: string, now: Date) {
  return db
    .selectFrom('refresh_token_families as family')
    .innerJoin('sessions', 'sessions.id', 'family.session_id')
    .innerJoin('users', 'users.id', 'family.user_id')
    .innerJoin('tenants', 'tenants.id', 'family.tenant_id')
    .innerJoin('agents', 'agents.id', 'family.agent_id')
    .innerJoin('users as owner', 'owner.id', 'agents.owner_id')
    .select([
      'users.id',
      'family.agent_id',
      'agents.client_metadata_url',
      allowed,
      'family.tenant_id',
      'users.name',
      'users.email',
      'users.email_verified_at',
      'users.phone_number',
      'users.phone_verified_at',
    ])
    .where('family.id', '=', family_id)
    .where('family.ended_at', 'is', null)
    .where('sessions.ended_at', 'is', null)
    .where('sessions.expires_at', '>', now)
    .where('users.status', '=', 'active')
    .where('tenants.status', '=', 'active')
    .where('agents.status', '=', 'active')
    .where('agents.expires_at', '>', now)
    .where('owner.status', '=', 'active')
    .executeTakeFirst()
}
