import { recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import { endFamilies } from './family-queries.ts'

/** What works once, and came back: one of its two holders is a thief. */
export type Secret = 'refresh_token' | 'authorization_code'

export type Reused = {
  what: Secret
  family_id: string
  at: Date
  request_id?: string | undefined
}

const REASONS: Record<Secret, string> = {
  refresh_token: 'token_reused',
  authorization_code: 'code_reused',
}

/**
 * Nobody can say which of the two was first, so what it gave ends (OP-09, OP-22, TX-27).
 * @returns whether it did; not when that had ended already, and nothing happened
 */
export async function endReusedFamily(
  db: Db,
  { what, family_id, at, request_id }: Reused,
): Promise<boolean> {
  const of = { ids: [family_id] }
  const [ended] = await endFamilies(db, { of, at, reason: REASONS[what] })
  if (ended === undefined) return false
  await recordEvent(db, {
    type: `${what}.reused`,
    at,
    actor: { kind: 'agent', id: ended.agent_id },
    tenant_id: ended.tenant_id,
    agent_id: ended.agent_id,
    user_id: ended.user_id,
    detail: { family_id },
    request_id,
  })
  return true
}
