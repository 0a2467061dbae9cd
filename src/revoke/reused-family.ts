import type { Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { isFamilyLive } from '../sessions/family-queries.ts'
import { endReusedFamily as endFamily, type Reused } from '../sessions/reuse.ts'
import { lockPairs } from './owed-queries.ts'
import { type Cause, tell } from './tell.ts'

const CAUSES = {
  refresh_token: 'refresh_token_reused',
  authorization_code: 'code_reused',
} as const satisfies Record<Reused['what'], Cause>

/**
 * A spent refresh token or code came back: the family ends, and the apps where its agent acted for its user are
 * told, for one of the two who held it is a thief, and may have traded what it gave (GR-07). The delegations stay:
 * the user took nothing back, and whoever asks again has to sign that user in.
 *
 * Whoever holds nothing yet has the delegations held first, as the line of locks wants it. Who has found out
 * under the lock of the code or the family cannot go back for them: what was minted through the family is known
 * then, and of what another agent mints just now the app may be told too late.
 * @returns whether it ended; not when it had before
 */
export async function endReusedFamily(
  tx: Transaction<Tables>,
  deps: Deps,
  { user_id, agent_id, ...reused }: Omit<Reused, 'at'> & { user_id: string; agent_id: string },
  locks: 'none' | 'some' = 'none',
): Promise<boolean> {
  if (!(await isFamilyLive(tx, reused.family_id))) return false
  const of = { user_id, agent_ids: [agent_id] }
  if (locks === 'none') await lockPairs(tx, of)
  const ended = await endFamily(tx, { ...reused, at: deps.now() })
  if (!ended) return false
  const cause = CAUSES[reused.what]
  await tell(tx, deps, of, { cause }, locks === 'none' ? 'held' : 'unlocked')
  return true
}
