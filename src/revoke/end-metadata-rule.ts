import type { Transaction } from 'kysely'
import { listBarred } from '../agents/metadata-queries.ts'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { CLIENT_METADATA_RULES } from '../rules/client-metadata-rule.ts'
import { listAgentsOf } from '../rules/client-metadata-rule-queries.ts'
import { endRule } from '../rules/end.ts'
import { lockPairs } from './owed-queries.ts'
import { tell } from './tell.ts'

/**
 * Ends a rule that lets agents come. Those whom no other one does are refused from then on, and the apps where they
 * acted are told (GR-07). Their delegations stay, for a new rule takes them back.
 *
 * The agents have another version then (rules/client-metadata-rule.ts): a mint of theirs came first, or comes no more.
 * @throws {ProblemError} `not_found`
 */
export async function endMetadataRule(
  tx: Transaction<Tables>,
  deps: Deps,
  what: { id: string; admin: Admin },
): Promise<void> {
  const ended = await endRule(tx, deps, CLIENT_METADATA_RULES, what)
  if (ended === undefined) return
  const agent_ids = await listBarred(tx, await listAgentsOf(tx, ended), deps.now())
  if (agent_ids.length === 0) return
  await lockPairs(tx, { agent_ids })
  await tell(tx, deps, { agent_ids }, { cause: 'client_metadata_rule_ended' })
}
