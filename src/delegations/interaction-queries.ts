import type { Insertable, Transaction } from 'kysely'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { Triple } from './lock.ts'

/** What the consent page and its decision need. */
export const INTERACTION_COLUMNS = [
  'id',
  'tenant_id',
  'user_id',
  'agent_id',
  'audience_id',
  'scopes',
  'resources',
  'authorization_details',
  'status',
  'expires_at',
] as const
export type Interaction = Pick<Row<'interactions'>, (typeof INTERACTION_COLUMNS)[number]>

/** The open interaction of exactly this question, if its time has not passed. */
export const findOpenInteraction = (db: Db, of: Triple & { question: Buffer }, now: Date) =>
  db
    .selectFrom('interactions')
    .select(['id', 'expires_at'])
    .where('user_id', '=', of.user_id)
    .where('agent_id', '=', of.agent_id)
    .where('audience_id', '=', of.audience_id)
    .where('question', '=', of.question)
    .where('status', '=', 'open')
    .where('expires_at', '>', now)
    .executeTakeFirst()

/** The new row, or undefined when the question has an open interaction already. */
export const insertInteraction = (db: Db, row: Insertable<Tables['interactions']>) =>
  db
    .insertInto('interactions')
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .returning(['id', 'expires_at'])
    .executeTakeFirst()

/** Marks what waited too long. What somebody holds is being decided, and left to them. */
export const expireStaleInteractions = (
  db: Db,
  of: { user_id: string; agent_id: string },
  now: Date,
) =>
  db
    .updateTable('interactions')
    .set({ status: 'expired' })
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('interactions')
        .select('id')
        .where('user_id', '=', of.user_id)
        .where('agent_id', '=', of.agent_id)
        .where('status', '=', 'open')
        .where('expires_at', '<=', now)
        .orderBy('id')
        .forUpdate()
        .skipLocked(),
    )
    .execute()

/** Drops the oldest open questions of an agent to a user beyond so many. */
export const expireExcessInteractions = (
  db: Db,
  of: { user_id: string; agent_id: string },
  kept: number,
) =>
  db
    .updateTable('interactions')
    .set({ status: 'expired' })
    .where('status', '=', 'open')
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('interactions')
        .select('id')
        .where('user_id', '=', of.user_id)
        .where('agent_id', '=', of.agent_id)
        .where('status', '=', 'open')
        .orderBy('created_at', 'desc')
        .orderBy('id', 'desc')
        .offset(kept)
        .forUpdate()
        .skipLocked(),
    )
    .execute()

export const findInteraction = (db: Db, id: string): Promise<Interaction | undefined> =>
  db.selectFrom('interactions').select(INTERACTION_COLUMNS).where('id', '=', id).executeTakeFirst()

/** The row as it stands, held to the end of the transaction; take it after the parties' rows. */
export const lockInteraction = (
  tx: Transaction<Tables>,
  id: string,
): Promise<Interaction | undefined> =>
  tx
    .selectFrom('interactions')
    .select(INTERACTION_COLUMNS)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()

export const decideInteraction = (
  tx: Transaction<Tables>,
  id: string,
  decision: { status: 'granted'; delegation_id: string } | { status: 'denied' | 'expired' },
  now: Date,
) =>
  tx
    .updateTable('interactions')
    .set({ ...decision, decided_at: decision.status === 'expired' ? null : now })
    .where('id', '=', id)
    .execute()
