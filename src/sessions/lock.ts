import type { Reason } from '../audit/reason.ts'
import { ChangedMeanwhile } from '../db/changed-meanwhile.ts'
import type { Db } from '../db/tables.ts'
import { shareSession } from './queries.ts'

export type Parties = {
  tenant_id: string
  user_id: string
  agent_id: string
  /** What the client proved itself by; null where that is not kept here. */
  credential_id: string | null
  session_id: string
}

export type LiveParties = NonNullable<Awaited<ReturnType<typeof shareUser>>> & {
  grant_types: string[]
  auth_time: Date
  amr: string[]
  /** False: the session has ended, which a refresh token outlives. */
  live: boolean
}

/**
 * Everything a code or a refresh token rests on, shared until the transaction ends, in the one order
 * (design §2, rule 3): tenant, user and owner, agent, credential, session; code and family come after.
 * Whoever ends one of them takes it `for update` first, so commit order alone decides who was earlier.
 * Whether the session is live is told, for a refresh token outlives it.
 * @returns the reason, if one of the others is not live.
 * @throws {ChangedMeanwhile} when the agent has been given another owner since that was asked
 */
export async function shareParties(
  db: Db,
  { tenant_id, user_id, agent_id, credential_id, session_id }: Parties,
  now: Date,
): Promise<LiveParties | { refused: Reason }> {
  const tenant = await shareTenant(db, tenant_id)
  if (tenant?.status !== 'active') return { refused: 'tenant_suspended' }
  const people = await shareUserAndOwner(db, { user_id, agent_id })
  const user = people.find(({ id }) => id === user_id)
  if (user?.status !== 'active') return { refused: 'user_inactive' }
  const agent = await shareAgent(db, agent_id)
  if (!agent || agent.status === 'retired') return { refused: 'agent_retired' }
  if (agent.status === 'requested') return { refused: 'agent_requested' }
  if (agent.status === 'suspended') return { refused: 'agent_suspended' }
  if (!agent.expires_at || agent.expires_at <= now) return { refused: 'agent_expired' }
  const owner = people.find(({ id }) => id === agent.owner_id)
  if (!owner && agent.owner_id !== null) throw new ChangedMeanwhile('the owner of an agent')
  if (owner?.status !== 'active') return { refused: 'owner_inactive' }
  if (credential_id !== null && (await shareCredential(db, credential_id))?.ended_at !== null) {
    return { refused: 'credential_ended' }
  }
  const session = await shareSession(db, session_id)
  if (!session) return { refused: 'session_ended' }
  const { auth_time, amr } = session
  const live = !session.ended_at && session.expires_at > now
  return { ...user, grant_types: agent.grant_types, auth_time, amr, live }
}

/**
 * Shares tenant and user, in the one order, before the insert of a row that refers to them and to a session:
 * its foreign keys would take the session first, against whoever ends the user's sessions.
 * @returns the reason, if one of them is not live.
 */
export async function holdUser(
  db: Db,
  { tenant_id, user_id }: Pick<Parties, 'tenant_id' | 'user_id'>,
): Promise<'tenant_suspended' | 'user_inactive' | undefined> {
  const tenant = await shareTenant(db, tenant_id)
  const user = await shareUser(db, user_id)
  if (tenant?.status !== 'active') return 'tenant_suspended'
  return user?.status === 'active' ? undefined : 'user_inactive'
}

/** The same of the agent, for a row that refers to it and to a session. */
export async function holdAgent(db: Db, id: string): Promise<void> {
  await db.selectFrom('agents').select('id').where('id', '=', id).forKeyShare().execute()
}

const shareTenant = (db: Db, id: string) =>
  db.selectFrom('tenants').select('status').where('id', '=', id).forShare().executeTakeFirst()

const shareUser = (db: Db, id: string) =>
  users(db).where('id', '=', id).forShare().executeTakeFirst()

/** The user, and the owner as far as one can tell before the agent is held. */
const shareUserAndOwner = (db: Db, of: Pick<Parties, 'user_id' | 'agent_id'>) =>
  users(db)
    .where((eb) =>
      eb.or([
        eb('id', '=', of.user_id),
        eb('id', '=', eb.selectFrom('agents').select('owner_id').where('id', '=', of.agent_id)),
      ]),
    )
    .orderBy('id')
    .forShare()
    .execute()

const users = (db: Db) =>
  db
    .selectFrom('users')
    .select([
      'id',
      'status',
      'name',
      'email',
      'email_verified_at',
      'phone_number',
      'phone_verified_at',
    ])

const shareAgent = (db: Db, id: string) =>
  db
    .selectFrom('agents')
    .select(['status', 'expires_at', 'owner_id', 'grant_types'])
    .where('id', '=', id)
    .forShare()
    .executeTakeFirst()

const shareCredential = (db: Db, id: string) =>
  db.selectFrom('credentials').select('ended_at').where('id', '=', id).forShare().executeTakeFirst()
