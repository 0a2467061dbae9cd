import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { notFound } from '../http/problem.ts'
import { endCredentialRow, lockCredential } from './credential-queries.ts'
import { touchAgent } from './queries.ts'

/**
 * From this commit on the credential opens nothing: a mint under way waits for it or is waited for. Ending
 * an ended one changes nothing.
 * @throws {ProblemError} `not_found`, also for another agent's credential
 */
export async function endCredential(
  tx: Db,
  deps: Deps,
  of: { agent_id: string; id: string },
  admin: Admin,
): Promise<void> {
  // A mint by an access token rests on no one credential, but on there being one: it compares the agent's version.
  await touchAgent(tx, of.agent_id)
  const row = await lockCredential(tx, of)
  if (row === undefined) throw notFound('credential of this agent')
  if (row.ended_at !== null) return
  const now = deps.now()
  await endCredentialRow(tx, row.id, now)
  await recordEvent(tx, {
    type: 'credential.ended',
    at: now,
    actor: byAdmin(admin),
    tenant_id: row.tenant_id,
    agent_id: of.agent_id,
    detail: { credential_id: row.id },
  })
}
