import type { Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { endReusedFamily as endFamily, type Reused } from '../sessions/reuse.ts'
import { tell } from './tell.ts'

/**
 * A spent refresh token came back: its family ends, and the apps where its agent acted for its user are told,
 * for one of the two who held it is a thief, and may have traded it before (GR-07). The delegations stay: the
 * user took nothing back, and whoever asks again has to sign that user in.
 *
 * No delegation is locked, for the family stands behind them in the line: what was minted through the family is
 * known once that is held.
 */
export async function endReusedFamily(
  tx: Transaction<Tables>,
  deps: Deps,
  reused: Omit<Reused, 'at'>,
): Promise<void> {
  const ended = await endFamily(tx, { ...reused, at: deps.now() })
  if (ended === undefined) return
  const of = { user_id: ended.user_id, agent_ids: [ended.agent_id] }
  await tell(tx, deps, of, { cause: 'refresh_token_reused' }, 'unlocked')
}
