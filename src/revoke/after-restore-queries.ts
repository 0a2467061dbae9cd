import { sql, type Transaction } from 'kysely'
import type { Db, Tables } from '../db/tables.ts'

/** Every tenant, held `for update`, in the order of their ids. */
export async function holdTenants(tx: Transaction<Tables>): Promise<string[]> {
  const tenants = await tx.selectFrom('tenants').select('id').orderBy('id').forUpdate().execute()
  return tenants.map(({ id }) => id)
}

/** True where a server of ours has ever been: before that there is nothing to restore. */
export async function hasSchema(db: Db): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`
    select to_regclass('tenants') is not null and to_regclass('signing_keys') is not null as found`.execute(
    db,
  )
  return rows[0]?.found === true
}

/** What the backup has as live, and only a person knows whether it has ended or been changed since. */
export type Live = {
  admin_keys: number
  users: number
  passwords: number
  upstream_accounts: number
  audience_accounts: number
  agents: number
  credentials: number
  audiences: number
  entitlements: number
  trusted_issuers: number
  actor_permissions: number
  client_metadata_rules: number
  blocks: number
  ssf_receivers: number
  tenants: number
}

export async function countLive(db: Db, now: Date): Promise<Live> {
  const unended = sql`ended_at is null and (expires_at is null or expires_at > ${now})`
  const { rows } = await sql<Live>`
    select
      (select count(*) from admin_keys where ${unended})::integer as admin_keys,
      (select count(*) from users where status = 'active')::integer as users,
      (select count(*) from user_passwords)::integer as passwords,
      (select count(*) from upstream_accounts)::integer as upstream_accounts,
      (select count(*) from audience_accounts)::integer as audience_accounts,
      (select count(*) from agents where status = 'active')::integer as agents,
      (select count(*) from credentials where ended_at is null)::integer as credentials,
      (select count(*) from audiences where status = 'active')::integer as audiences,
      (select count(*) from entitlements where ${unended})::integer as entitlements,
      (select count(*) from trusted_issuers where ${unended})::integer as trusted_issuers,
      (select count(*) from actor_permissions where ${unended})::integer as actor_permissions,
      (select count(*) from client_metadata_rules where ${unended})::integer as client_metadata_rules,
      (select count(*) from blocks where ${unended})::integer as blocks,
      (select count(*) from ssf_receivers where ended_at is null)::integer as ssf_receivers,
      (select count(*) from tenants where status = 'active')::integer as tenants`.execute(db)
  return rows[0] as Live
}

/** When the newest thing happened that the log has; undefined for an empty one. */
export async function findNewest(db: Db): Promise<Date | undefined> {
  const { rows } = await sql<{ at: Date | null }>`
    select greatest(
      (select at from audit_events order by id desc limit 1),
      (select at from issuances order by jti desc limit 1)) as at`.execute(db)
  return rows[0]?.at ?? undefined
}

/** Relying apps that may hold something of ours, and whether events reach them. */
export const listApps = (db: Db) =>
  db
    .selectFrom('audiences')
    .select(['issuer', 'name'])
    .select((eb) => eb('events_dialect', '<>', 'none').as('told'))
    .where((eb) =>
      eb.or([
        eb('status', '<>', 'retired'),
        eb('id', 'in', eb.selectFrom('delegations').select('audience_id')),
      ]),
    )
    .orderBy('issuer')
    .execute()
