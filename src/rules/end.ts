import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { notFound } from '../http/problem.ts'
import type { RuleKind } from './kind.ts'
import { recordRuleEvent } from './make.ts'
import { endRuleRow, lockRule } from './queries.ts'
import type { Rule, RuleTable } from './rule.ts'

/**
 * Ends a rule; one that was ended stays as it is, one that has expired is ended too. A mint holds the rule
 * that permits it `for share`: it is recorded before this commit or not at all.
 * @returns the rule as it was; undefined when it had ended
 * @throws {ProblemError} `not_found`
 */
export async function endRule<Table extends RuleTable, Given, Found>(
  tx: Db,
  deps: Deps,
  kind: RuleKind<Table, Given, Found>,
  { id, admin }: { id: string; admin: Admin },
): Promise<Rule<Table> | undefined> {
  const rule = await lockRule(tx, kind.table, id)
  if (rule === undefined) throw notFound(kind.name)
  if (rule.ended_at !== null) return undefined
  const at = deps.now()
  await endRuleRow(tx, kind.table, id, at)
  await kind.ended?.(tx, rule)
  await recordRuleEvent(tx, kind, rule, { what: 'ended', at, admin })
  return rule
}
