import type { Insertable } from 'kysely'
import { byAdmin, recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Db, Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { readFuture } from '../http/shapes.ts'
import type { RuleKind } from './kind.ts'
import { insertRule } from './queries.ts'
import type { Rule, RuleTable } from './rule.ts'
import type { GivenRule } from './schema.ts'

/** The columns that are a kind's own, and the tenant. */
export type Own<Table extends RuleTable> = Omit<
  Insertable<Tables[Table]>,
  'id' | keyof GivenRule | 'created_at' | 'created_by' | 'ended_at'
> & { tenant_id: string }

/**
 * Writes a rule that its kind has checked, and says so in the audit log.
 * @throws {ProblemError} `validation_failed` for an end that has passed
 */
export async function makeRule<Table extends RuleTable, Given extends GivenRule, Found>(
  tx: Db,
  deps: Deps,
  kind: RuleKind<Table, Given, Found>,
  { own, given, admin }: { own: Own<Table>; given: Given; admin: Admin },
): Promise<Rule<Table>> {
  const now = deps.now()
  const { expires_at, reason } = given
  const row = {
    ...own,
    id: newId(kind.prefix),
    expires_at: expires_at === undefined ? null : readFuture('/expires_at', expires_at, now),
    reason: reason ?? null,
    created_at: now,
    created_by: admin.id,
  }
  const rule = await insertRule(tx, kind.table, row as unknown as Insertable<Tables[Table]>)
  await recordRuleEvent(tx, kind, rule, { what: 'created', at: now, admin })
  return rule
}

/** `<record>.created` or `<record>.ended`, with the id of the rule and of what it names. */
export async function recordRuleEvent<Table extends RuleTable, Given, Found>(
  tx: Db,
  { event, about }: RuleKind<Table, Given, Found>,
  rule: Rule<Table>,
  { what, at, admin }: { what: 'created' | 'ended'; at: Date; admin: Admin },
): Promise<void> {
  const { detail, ...named } = about(rule)
  await recordEvent(tx, {
    type: `${event}.${what}`,
    at,
    actor: byAdmin(admin),
    tenant_id: rule.tenant_id,
    ...named,
    detail: { [`${event}_id`]: rule.id, ...detail },
  })
}
