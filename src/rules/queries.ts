import { type Insertable, type SqlBool, sql } from 'kysely'
import { newestFirst } from '../db/newest-first.ts'
import type { Db, Row, Tables } from '../db/tables.ts'
import type { ListRequest } from '../http/list.ts'
import type { Rule, RuleStatus, RuleTable } from './rule.ts'

const EVERY = [
  'id',
  'tenant_id',
  'expires_at',
  'reason',
  'created_at',
  'created_by',
  'ended_at',
] as const
const COLUMNS = {
  actor_permissions: [...EVERY, 'agent_id', 'actor_id', 'user_id', 'audience_id', 'scopes'],
  blocks: [...EVERY, 'user_id', 'agent_id', 'audience_id'],
  client_metadata_rules: [
    ...EVERY,
    ...(['url', 'host', 'owner_id', 'purpose', 'environment', 'agent_expires_at'] as const),
  ],
  trusted_issuers: [
    ...EVERY,
    ...(['issuer', 'jwks_uri', 'clients', 'claim_mapping', 'provisioning'] as const),
    ...(['trust_auth_time', 'trust_contacts'] as const),
  ],
} as const satisfies { [Table in RuleTable]: readonly (keyof Row<Table>)[] }

// In the eyes of the types one table stands for all: the columns that are named below are those of every rule.
type Any = 'blocks'
const columnsOf = (table: RuleTable) => COLUMNS[table] as (typeof COLUMNS)[Any]

export async function insertRule<Table extends RuleTable>(
  db: Db,
  table: Table,
  rule: Insertable<Tables[Table]>,
): Promise<Rule<Table>> {
  const row = await db
    .insertInto(table as Any)
    .values(rule as Insertable<Tables[Any]>)
    .returning(columnsOf(table))
    .executeTakeFirstOrThrow()
  return row as Rule<Table>
}

export async function lockRule<Table extends RuleTable>(
  db: Db,
  table: Table,
  id: string,
): Promise<Rule<Table> | undefined> {
  const row = await db
    .selectFrom(table as Any)
    .select(columnsOf(table))
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
  return row as Rule<Table> | undefined
}

export async function endRuleRow(db: Db, table: RuleTable, id: string, now: Date): Promise<void> {
  await db
    .updateTable(table as Any)
    .set({ ended_at: now })
    .where('id', '=', id)
    .execute()
}

export type RuleFilter = {
  status?: RuleStatus | undefined
  /** Value by column. */
  named: Readonly<Record<string, string>>
}

export async function listRules<Table extends RuleTable>(
  db: Db,
  table: Table,
  { status, named }: RuleFilter,
  list: ListRequest,
  now: Date,
): Promise<Rule<Table>[]> {
  let query = db
    .selectFrom(table as Any)
    .select(columnsOf(table))
    .$call(newestFirst(list))
  for (const [column, value] of Object.entries(named)) {
    query = query.where(sql.ref(column), '=', value)
  }
  if (status !== undefined) query = query.where(inStatus(status, now))
  return (await query.execute()) as Rule<Table>[]
}

function inStatus(status: RuleStatus, now: Date) {
  switch (status) {
    case 'ended':
      return sql<SqlBool>`ended_at is not null`
    case 'expired':
      return sql<SqlBool>`ended_at is null and expires_at <= ${now}`
    case 'active':
      return sql<SqlBool>`ended_at is null and (expires_at is null or expires_at > ${now})`
  }
}

export type NamedTable = 'users' | 'agents' | 'audiences'
export type Standing = { tenant_id: string; status: string }

/** The record, held so that no administrator changes it before this transaction ends; mints may go on. */
export function holdRecord(tx: Db, table: NamedTable, id: string): Promise<Standing | undefined> {
  return tx
    .selectFrom(table)
    .select(['tenant_id', 'status'])
    .where('id', '=', id)
    .forKeyShare()
    .executeTakeFirst()
}
