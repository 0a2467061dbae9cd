/**
 * The `sub` by which an audience knows a user (IJ-30…IJ-35). A public one is the user's id. A pairwise one is
 * random, made when somebody first allows something in that sector, and kept: it is told again to every
 * audience of the sector, never given to anybody else, and stays when the user is deleted.
 * Neither looks like an agent's id, nor like the URL that names other clients (SE-09).
 */
import { randomBytes } from 'node:crypto'
import type { Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'

type User = { user_id: string; tenant_id: string }
type Audience = { subject_type: 'public' | 'pairwise'; sector: string | null }

/** For parties that the caller has locked: with the user held, none of this waits for an ending. */
export async function subjectFor(
  tx: Transaction<Tables>,
  { user_id, tenant_id }: User,
  { subject_type, sector }: Audience,
  now: Date,
): Promise<string> {
  if (subject_type === 'public') return user_id
  if (sector === null) throw new Error('a pairwise audience has no sector')
  const known = await findSubject(tx, { user_id, sector })
  if (known !== undefined) return known
  const sub = `p_${randomBytes(16).toString('base64url')}`
  // Of several that make it at once one does, and the others wait here for its commit.
  await tx
    .insertInto('pairwise_subjects')
    .values({ user_id, tenant_id, sector, sub, created_at: now })
    .onConflict((conflict) => conflict.columns(['user_id', 'sector']).doNothing())
    .execute()
  const kept = await findSubject(tx, { user_id, sector })
  if (kept === undefined) throw new Error('a pairwise subject came and went')
  return kept
}

async function findSubject(
  tx: Transaction<Tables>,
  { user_id, sector }: { user_id: string; sector: string },
): Promise<string | undefined> {
  const row = await tx
    .selectFrom('pairwise_subjects')
    .select('sub')
    .where('user_id', '=', user_id)
    .where('sector', '=', sector)
    .executeTakeFirst()
  return row?.sub
}
