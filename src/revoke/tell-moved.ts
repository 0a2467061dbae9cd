import type { Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { lockPairs } from './owed-queries.ts'
import { tell } from './tell.ts'

/**
 * An audience is about to get another issuer, which is another server: the one that it was until now is told,
 * by its own name and at its own endpoint, of everybody it may have given something. After that nobody would
 * tell it: endings go to the new one. No delegation ends, and the agents come again, to the new one.
 *
 * The caller holds the audience, so that no mint for the old one is under way; the delegations come after it
 * in the line, as everywhere.
 * @returns how many events it queued
 */
export async function tellMoved(
  tx: Transaction<Tables>,
  deps: Deps,
  audience_id: string,
): Promise<number> {
  await lockPairs(tx, { audience_id })
  const { queued } = await tell(tx, deps, { audience_id }, { cause: 'audience_moved' })
  return queued
}
