/**
 * Rules of administrators, beside what users and entitlements say: blocks forbid, the other kinds permit what
 * nobody may without them.
 *
 * This room keeps them. The exchange reads them with its other facts (token/facts.ts), and policy/ says what
 * they mean.
 *
 *  1. A rule is made and ended, never changed, and its row stays. Past its end it says `expired` by itself.
 *  2. All that a rule names exists when it is made, and is of the rule's one tenant (named.ts).
 *  3. From the commit that makes or ends a rule no mint is recorded that has not seen it. For those that only
 *     permit, the mint holds the row that permitted it, and ending takes that row; for blocks see block.ts.
 *  4. The reason is text about people, perhaps: it stands in the rule alone, not in the audit log.
 *
 * The kinds differ in what they name. Each has a file of its own that says so (kind.ts), and a schema; lists,
 * endings and the calls are written once for all of them.
 */
import type { Row } from '../db/tables.ts'

export type RuleTable = 'actor_permissions' | 'blocks' | 'client_metadata_rules' | 'trusted_issuers'

/** A row of one of these tables, and what all of them have. */
export type Rule<Table extends RuleTable> = Row<Table> & RuleColumns
type RuleColumns = Pick<
  Row<RuleTable>,
  'id' | 'tenant_id' | 'expires_at' | 'reason' | 'created_at' | 'created_by' | 'ended_at'
>

export const RULE_STATUSES = ['active', 'ended', 'expired'] as const
export type RuleStatus = (typeof RULE_STATUSES)[number]

/** A rule as the API shows it. */
export const describeRule = <Columns extends RuleColumns>(rule: Columns, now: Date) => ({
  ...rule,
  status: ruleStatus(rule, now),
})

function ruleStatus({ ended_at, expires_at }: RuleColumns, now: Date): RuleStatus {
  if (ended_at !== null) return 'ended'
  return expires_at !== null && expires_at <= now ? 'expired' : 'active'
}
