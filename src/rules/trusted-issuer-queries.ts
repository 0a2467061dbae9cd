import { sql } from 'kysely'
import type { Db, Row } from '../db/tables.ts'

/** The registration that stands. It may be past its end: that is for the caller to say. */
export const findLiveTrustedIssuer = (
  db: Db,
  of: { tenant_id: string; issuer: string },
): Promise<Pick<Row<'trusted_issuers'>, 'id' | 'expires_at'> | undefined> =>
  db
    .selectFrom('trusted_issuers')
    .select(['id', 'expires_at'])
    .where((eb) => eb.and(of))
    .where('ended_at', 'is', null)
    .executeTakeFirst()

const REGISTRATION = [
  'id',
  'tenant_id',
  'issuer',
  'jwks_uri',
  'clients',
  'claim_mapping',
  'provisioning',
  'trust_auth_time',
  'trust_contacts',
  'expires_at',
] as const

export type Registration = Pick<Row<'trusted_issuers'>, (typeof REGISTRATION)[number]>

/**
 * What the tenant of a client says of an issuer, and whose account a subject there is, in one read. With the
 * version of that user: it changes when the subject is unlinked (upstream-account.ts).
 */
export async function findSubject(
  db: Db,
  of: { client_id: string; issuer: string; subject: string },
): Promise<
  { registration: Registration; user_id: string | null; user_version: string | null } | undefined
> {
  const row = await db
    .selectFrom('agents')
    .innerJoin('trusted_issuers', (join) =>
      join
        .onRef('trusted_issuers.tenant_id', '=', 'agents.tenant_id')
        .on('trusted_issuers.issuer', '=', of.issuer)
        .on('trusted_issuers.ended_at', 'is', null),
    )
    .leftJoin('upstream_accounts', (join) =>
      join
        .onRef('upstream_accounts.tenant_id', '=', 'agents.tenant_id')
        .on('upstream_accounts.issuer', '=', of.issuer)
        .on('upstream_accounts.subject', '=', of.subject),
    )
    .leftJoin('users', 'users.id', 'upstream_accounts.user_id')
    .select(REGISTRATION.map((name) => `trusted_issuers.${name}` as const))
    .select(['upstream_accounts.user_id', sql<string | null>`users.xmin::text`.as('user_version')])
    .where('agents.id', '=', of.client_id)
    .executeTakeFirst()
  if (row === undefined) return undefined
  const { user_id, user_version, ...registration } = row
  return { registration, user_id, user_version }
}
