import { type SqlBool, sql } from 'kysely'
import type { Db, Row } from '../db/tables.ts'
import { lastMintedAt } from '../delegations/queries.ts'

export type ActingAgent = Awaited<ReturnType<typeof listActingAgents>>[number]

const COLUMNS = [
  'delegations.id',
  'delegations.scopes',
  'delegations.resources',
  'delegations.authorization_details',
  'delegations.claims',
  'delegations.mode',
  'delegations.offline',
  'delegations.source',
  'delegations.status',
  'delegations.created_at',
  'delegations.expires_at',
  'delegations.consumed_at',
  'delegations.revoked_at',
  'delegations.end_reason',
  'agents.name as agent',
  'agents.purpose',
  'agents.status as agent_status',
  'audiences.name as audience',
  'audiences.issuer',
  'audiences.resources as catalogue',
  'audiences.status as audience_status',
  'audiences.profile',
  'audiences.claims as wanted',
  'entitlements.id as entitlement_id',
  'entitlements.resources as entitled',
  'users.name',
  'users.email',
  'users.email_verified_at',
  'users.phone_number',
  'users.phone_verified_at',
  'account.aud_sub',
  'account.aud_tenant',
] as const

/**
 * How far the service has been told of the end: by an event about this agent or all of them, since then or on its
 * way then. One that arrived says more than one that may, and that one more than one that did not.
 */
const TOLD = sql<Told | null>`(
  select json_build_object('status', event.status, 'at', event.delivered_at)
  from event_deliveries event
  where delegations.status <> 'active' and delegations.end_reason is distinct from 'replaced'
    and event.audience_id = delegations.audience_id and event.sub = delegations.sub_asserted
    and (event.agent_id is null or event.agent_id = delegations.agent_id)
    and event.status <> 'superseded'
    and (event.status = 'queued' or greatest(event.created_at, event.delivered_at, event.failed_at)
      >= coalesce(delegations.revoked_at, delegations.consumed_at, delegations.expires_at))
  order by array_position(array['delivered', 'queued', 'failed'], event.status),
    event.created_at desc, event.id desc limit 1)`.as('told')

/** `at`: when the service confirmed it, as JSON has instants. */
type Told = { status: Row<'event_deliveries'>['status']; at: string | null }

const LIVE = (now: Date) =>
  sql<SqlBool>`(delegations.status = 'active' and
    (delegations.expires_at is null or delegations.expires_at > ${now}))`

/** The live delegations of a user, newest first: there is at most one for each agent and audience. */
export const listActingAgents = (db: Db, userId: string, now: Date) =>
  ofUser(db, userId).where(LIVE(now)).execute()

/** The last of those that ended. */
export const listPastAgents = (db: Db, userId: string, now: Date, most: number) =>
  ofUser(db, userId)
    .where((eb) => eb.not(LIVE(now)))
    .limit(most)
    .execute()

const ofUser = (db: Db, userId: string) =>
  db
    .selectFrom('delegations')
    .innerJoin('agents', 'agents.id', 'delegations.agent_id')
    .innerJoin('audiences', 'audiences.id', 'delegations.audience_id')
    .innerJoin('users', 'users.id', 'delegations.user_id')
    .leftJoin('entitlements', (join) =>
      join
        .onRef('entitlements.agent_id', '=', 'delegations.agent_id')
        .onRef('entitlements.audience_id', '=', 'delegations.audience_id')
        .on('entitlements.ended_at', 'is', null),
    )
    .leftJoin('audience_accounts as account', (join) =>
      join
        .onRef('account.user_id', '=', 'delegations.user_id')
        .onRef('account.audience_id', '=', 'delegations.audience_id'),
    )
    .select(COLUMNS)
    .select(lastMintedAt)
    .select(TOLD)
    .where('delegations.user_id', '=', userId)
    .orderBy('delegations.created_at', 'desc')
    .orderBy('delegations.id', 'desc')

/**
 * Where else this user is signed in now, the latest sign-in first. Whoever signs in again in the same browser
 * stays in one place, however many sessions that makes.
 */
export async function listOtherPlaces(
  db: Db,
  of: { id: string; continues: string | null; user_id: string },
  now: Date,
): Promise<{ since: Date }[]> {
  const first = sql<string>`coalesce(continues, id)`
  return db
    .selectFrom('sessions')
    .select((eb) => eb.fn.max('auth_time').as('since'))
    .where('user_id', '=', of.user_id)
    .where(first, '<>', of.continues ?? of.id)
    .where('ended_at', 'is', null)
    .where('expires_at', '>', now)
    .groupBy(first)
    .orderBy('since', 'desc')
    .execute()
}
