import { sql } from 'kysely'
import type { AgentFacts } from '../agents/authenticate.ts'
import { allowedUntil } from '../agents/metadata-queries.ts'
import type { Db } from '../db/tables.ts'
import { holdsMintsUp } from '../events/waiting.ts'
import { looksLikeMetadataUrl } from '../oauth/client-metadata.ts'
import type { AudienceFacts, DelegationFacts } from '../policy/facts.ts'
import type { Facts } from './facts.ts'

export type ActorRow = Pick<
  AgentFacts,
  | 'id'
  | 'status'
  | 'expires_at'
  | 'owner_id'
  | 'owner_status'
  | 'tenant_status'
  | 'jwks_uri'
  | 'credentials'
  | 'version'
  | 'client_metadata_url'
  | 'client_metadata_allowed_until'
>
export type Permission = { id: string; agent_id: string; actor_id: string; scopes: string[] | null }

/** These agents of the tenant as they stand; `enabled`: somebody is permitted to act for the client at all. */
export async function findActors(
  db: Db,
  { tenant_id, client_id, ids }: { tenant_id: string; client_id: string; ids: readonly string[] },
): Promise<{ enabled: boolean; actors: ActorRow[] }> {
  const permission = await db
    .selectFrom('actor_permissions')
    .select('id')
    .where('agent_id', '=', client_id)
    .where('ended_at', 'is', null)
    .limit(1)
    .executeTakeFirst()
  if (permission === undefined) return { enabled: false, actors: [] }
  if (ids.length === 0) return { enabled: true, actors: [] }
  const rows = await db
    .selectFrom('agents')
    .innerJoin('tenants', 'tenants.id', 'agents.tenant_id')
    .leftJoin('users as owner', 'owner.id', 'agents.owner_id')
    .select([
      'agents.id',
      'agents.status',
      'agents.expires_at',
      'agents.owner_id',
      'owner.status as owner_status',
      'tenants.status as tenant_status',
      'agents.jwks_uri',
      'agents.client_metadata_url',
      sql<Date | null>`${sql.raw(allowedUntil('agents'))}`.as('client_metadata_allowed_until'),
      sql<string>`agents.xmin::text`.as('version'),
    ])
    .where('agents.id', 'in', ids)
    .where('agents.tenant_id', '=', tenant_id)
    .execute()
  const keys = await db
    .selectFrom('credentials')
    .select(['id', 'agent_id', 'kid', sql<string | null>`jwk::text`.as('jwk')])
    .where('agent_id', 'in', ids)
    .where('ended_at', 'is', null)
    .where('kind', '=', 'jwk')
    .execute()
  const actors = rows.map((row) => ({
    ...row,
    credentials: keys
      .filter(({ agent_id }) => agent_id === row.id)
      .map(({ id, kid, jwk }) => ({ id, kid, jwk, secret_hash: null })),
  }))
  return { enabled: true, actors }
}

/** The ids of the agents that these client ids name. What names nobody is left as it is, and found nowhere. */
export async function findActorIds(db: Db, clientIds: readonly string[]): Promise<string[]> {
  const urls = clientIds.filter(looksLikeMetadataUrl)
  if (urls.length === 0) return [...clientIds]
  const known = await db
    .selectFrom('agents')
    .select(['id', 'client_metadata_url'])
    .where('client_metadata_url', 'in', urls)
    .where('status', '<>', 'retired')
    .execute()
  return clientIds.map(
    (name) => known.find(({ client_metadata_url: url }) => url === name)?.id ?? name,
  )
}

/** The live permissions of these actors that reach this user and this audience, whomever they act for. */
export async function findPermissions(
  db: Db,
  of: { user_id: string; audience_id: string | null; actor_ids: readonly string[] },
  now: Date,
): Promise<Permission[]> {
  return db
    .selectFrom('actor_permissions')
    .select(['id', 'agent_id', 'actor_id', 'scopes'])
    .where('actor_id', 'in', of.actor_ids)
    .where('ended_at', 'is', null)
    .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]))
    .where((eb) => eb.or([eb('user_id', 'is', null), eb('user_id', '=', of.user_id)]))
    .where((eb) => eb.or([eb('audience_id', 'is', null), eb('audience_id', '=', of.audience_id)]))
    .execute()
}

/** Which of these actors a block forbids here. Making one changes the version of the agent's row, or the user's. */
export async function findBlockedActors(
  db: Db,
  of: { user_id: string; audience_id: string | null; actor_ids: readonly string[] },
  now: Date,
): Promise<string[]> {
  const blocks = await db
    .selectFrom('blocks')
    .select('agent_id')
    .where('agent_id', 'in', of.actor_ids)
    .where('ended_at', 'is', null)
    .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]))
    .where((eb) => eb.or([eb('user_id', 'is', null), eb('user_id', '=', of.user_id)]))
    .where((eb) => eb.or([eb('audience_id', 'is', null), eb('audience_id', '=', of.audience_id)]))
    .execute()
  return blocks.flatMap(({ agent_id }) => agent_id ?? [])
}

/** An older revocation of somebody who acts for the client, which the audience has yet to hear of (EV-14). */
export async function findEventOfActors(
  db: Db,
  actors: readonly { id: string }[],
  of: {
    tenant_id: string
    audience: Pick<AudienceFacts, 'issuer'>
    delegation: Pick<DelegationFacts, 'sub_asserted'>
  },
): Promise<Facts['event']> {
  if (actors.length === 0) return undefined
  const waiting = holdsMintsUp('waiting', {
    tenant: 'asked.tenant_id',
    aud: 'asked.aud',
    sub: 'asked.sub',
    agent: 'any(asked.actor_ids)',
  })
  const { rows } = await sql<NonNullable<Facts['event']>>`
    select waiting.id, waiting.next_attempt_at as due_at
    from (select ${of.tenant_id}::text as tenant_id, ${of.audience.issuer}::text as aud,
      ${of.delegation.sub_asserted}::text as sub, ${actors.map(({ id }) => id)}::text[] as actor_ids) asked
    join event_deliveries waiting on ${sql.raw(waiting)}
    limit 1`.execute(db)
  return rows[0]
}
