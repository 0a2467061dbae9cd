import type { Db } from '../db/tables.ts'

export type ConsentFacts = NonNullable<Awaited<ReturnType<typeof findConsentFacts>>>

/** Whom and what a question is about, in one reading; undefined unless all of them are live. */
export async function findConsentFacts(
  db: Db,
  of: { user_id: string; agent_id: string; audience_id: string },
  now: Date,
) {
  const row = await db
    .selectFrom('users')
    .innerJoin('tenants', 'tenants.id', 'users.tenant_id')
    .innerJoin('agents', (join) =>
      join.onRef('agents.tenant_id', '=', 'users.tenant_id').on('agents.id', '=', of.agent_id),
    )
    .innerJoin('users as owner', 'owner.id', 'agents.owner_id')
    .innerJoin('audiences', (join) =>
      join
        .onRef('audiences.tenant_id', '=', 'users.tenant_id')
        .on('audiences.id', '=', of.audience_id),
    )
    .innerJoin('entitlements', (join) =>
      join
        .onRef('entitlements.agent_id', '=', 'agents.id')
        .onRef('entitlements.audience_id', '=', 'audiences.id')
        .on('entitlements.ended_at', 'is', null),
    )
    .leftJoin('audience_accounts as account', (join) =>
      join
        .onRef('account.user_id', '=', 'users.id')
        .onRef('account.audience_id', '=', 'audiences.id'),
    )
    .select([
      'users.id as user_id',
      'users.name as user_name',
      'users.email',
      'users.email_verified_at',
      'users.phone_number',
      'users.phone_verified_at',
      'agents.name as agent_name',
      'agents.purpose',
      'agents.redirect_uris',
      'agents.jwks_uri',
      'agents.client_metadata_url',
      'agents.grant_types',
      'audiences.name as audience_name',
      'audiences.issuer',
      'audiences.profile',
      'audiences.claims',
      'audiences.max_auth_age',
      'audiences.resources as catalogue',
      'entitlements.scopes',
      'entitlements.resources',
      'entitlements.authorization_details_types',
      'account.aud_sub',
      'account.aud_tenant',
    ])
    .where('users.id', '=', of.user_id)
    .where('users.status', '=', 'active')
    .where('tenants.status', '=', 'active')
    .where('agents.status', '=', 'active')
    .where('agents.expires_at', '>', now)
    .where('owner.status', '=', 'active')
    .where('audiences.status', '=', 'active')
    .where((eb) =>
      eb.or([eb('entitlements.expires_at', 'is', null), eb('entitlements.expires_at', '>', now)]),
    )
    .executeTakeFirst()
  if (!row) return undefined
  return {
    user: {
      id: row.user_id,
      name: row.user_name,
      email: row.email,
      email_verified_at: row.email_verified_at,
      phone_number: row.phone_number,
      phone_verified_at: row.phone_verified_at,
    },
    /** Theirs at the audience, where one was entered. */
    account:
      row.aud_sub === null ? undefined : { aud_sub: row.aud_sub, aud_tenant: row.aud_tenant },
    agent: {
      name: row.agent_name,
      purpose: row.purpose,
      redirect_uris: row.redirect_uris,
      jwks_uri: row.jwks_uri,
      client_metadata_url: row.client_metadata_url,
      grant_types: row.grant_types,
    },
    audience: {
      name: row.audience_name,
      issuer: row.issuer,
      profile: row.profile,
      claims: row.claims,
      max_auth_age: row.max_auth_age,
      resources: row.catalogue,
    },
    entitlement: {
      scopes: row.scopes,
      resources: row.resources,
      authorization_details_types: row.authorization_details_types,
    },
  }
}

/** The names for the page after a decision, whatever state their bearers are in. */
export const findNames = (db: Db, of: { agent_id: string; audience_id: string }) =>
  db
    .selectFrom('agents')
    .innerJoin('audiences', 'audiences.tenant_id', 'agents.tenant_id')
    .select(['agents.name as agent', 'audiences.name as audience'])
    .where('agents.id', '=', of.agent_id)
    .where('audiences.id', '=', of.audience_id)
    .executeTakeFirstOrThrow()
