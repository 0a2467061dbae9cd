import type { TObject } from 'typebox'
import type { AuditEvent } from '../audit/record.ts'
import type { IdPrefix } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import type { Rule, RuleTable } from './rule.ts'

/** What one kind of rule has of its own. */
export type RuleKind<Table extends RuleTable, Given, Found = void> = {
  table: Table
  prefix: IdPrefix
  /** One of them in a sentence, such as `actor permission`. */
  name: string
  /** Its name in the audit log: `<event>.created`, `<event>.ended`. */
  event: string
  path: string
  schema: {
    given: TObject
    /** Built on `ruleMembers`. */
    record: TObject
    /** Built on `RuleQuery`; what it adds are columns of the table. */
    query: TObject
  }
  summaries: { make: string; list: string; end: string }
  description?: string
  /**
   * Checks what can be told without our records. It may ask others, which takes longer than a transaction
   * may be kept waiting.
   * @returns what `make` needs of it
   * @throws {ProblemError} `validation_failed` naming the member
   */
  check?(deps: Deps, given: Given): Promise<Found>
  /**
   * Checks what is given against the records it names, and makes the rule with `makeRule`.
   * @throws {ProblemError} `validation_failed` naming the member
   */
  make(tx: Db, deps: Deps, given: Given, admin: Admin, found: Found): Promise<Rule<Table>>
  /** What else its end does, once its row has ended. */
  ended?(tx: Db, rule: Rule<Table>): Promise<void>
  /** What the audit log says of it beside its id: ids and closed words. */
  about(rule: Rule<Table>): Pick<AuditEvent, 'user_id' | 'agent_id' | 'audience_id' | 'detail'>
}
