import { sql } from 'kysely'
import type { Db } from '../db/tables.ts'
import { GRANT } from '../oauth/names.ts'

/**
 * The agent, if it may act now and proves itself by a key: active, before its end, of an active owner
 * and tenant, allowed to exchange. With its live public keys.
 */
export async function findPublicAgent(db: Db, id: string, now: Date) {
  return db
    .selectFrom('agents')
    .innerJoin('users as owner', 'owner.id', 'agents.owner_id')
    .innerJoin('tenants', 'tenants.id', 'agents.tenant_id')
    .select((eb) => [
      'agents.id',
      'agents.name',
      'agents.jwks_uri',
      eb
        .selectFrom('credentials')
        .select(
          sql<Record<string, unknown>[]>`coalesce(jsonb_agg(jwk order by slot), '[]')`.as('jwks'),
        )
        .whereRef('credentials.agent_id', '=', 'agents.id')
        .where('kind', '=', 'jwk')
        .where('ended_at', 'is', null)
        .$asScalar()
        .$notNull()
        .as('jwks'),
    ])
    .where('agents.id', '=', id)
    .where('agents.status', '=', 'active')
    .where('agents.token_endpoint_auth_method', '=', 'private_key_jwt')
    .where('agents.expires_at', '>', now)
    .where(sql<boolean>`${GRANT.tokenExchange} = any(agents.grant_types)`)
    .where('owner.status', '=', 'active')
    .where('tenants.status', '=', 'active')
    .executeTakeFirst()
}
