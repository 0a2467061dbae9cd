import { recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import { endFamilies } from './family-queries.ts'

export type Reused = { family_id: string; at: Date; request_id?: string | undefined }

/**
 * A spent refresh token came back: one of its two holders is a thief, so its family ends (OP-22, TX-27).
 * @returns whose it was; undefined when it had ended already, and nothing happened
 */
export async function endReusedFamily(
  db: Db,
  { family_id, at, request_id }: Reused,
): Promise<{ user_id: string; agent_id: string } | undefined> {
  const [ended] = await endFamilies(db, { of: { ids: [family_id] }, at, reason: 'token_reused' })
  if (ended === undefined) return undefined
  await recordEvent(db, {
    type: 'refresh_token.reused',
    at,
    actor: { kind: 'agent', id: ended.agent_id },
    tenant_id: ended.tenant_id,
    agent_id: ended.agent_id,
    user_id: ended.user_id,
    detail: { family_id },
    request_id,
  })
  return ended
}
