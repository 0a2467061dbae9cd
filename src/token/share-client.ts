import type { AgentFacts } from '../agents/authenticate.ts'
import { isAllowed } from '../agents/metadata-queries.ts'
import type { Reason } from '../audit/reason.ts'
import type { Db } from '../db/tables.ts'
import { type LiveParties, type Parties, shareParties } from '../sessions/lock.ts'

/**
 * What a code or a refresh token of this client rests on, shared. Of one that is known by a URL, whether a rule
 * still lets it come is asked once its agent is held, which whoever ends that rule takes too.
 */
export async function shareClientParties(
  tx: Db,
  { id, client_metadata_url }: AgentFacts,
  of: Parties,
  now: Date,
): Promise<LiveParties | { refused: Reason }> {
  const parties = await shareParties(tx, of, now)
  if ('refused' in parties || client_metadata_url === null) return parties
  if (await isAllowed(tx, id, now)) return parties
  return { refused: 'client_metadata_not_allowed' }
}
