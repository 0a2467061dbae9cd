import { holdTenantOf } from '../db/hold-tenant.ts'
import type { Db } from '../db/tables.ts'
import { invalid } from '../http/problem.ts'
import { holdRecord, type NamedTable, type Standing } from './queries.ts'

/** A record that a rule names, and the JSON pointer to the member that does. */
export type Named = {
  pointer: string
  table: NamedTable
  id: string
  /** How it is taken, where more is needed than that it stays as it is. */
  take?: (tx: Db, id: string) => Promise<Standing | undefined>
}
export type Held = Named & Standing

/** Along the line of locks (revoke/end.ts), rows of one table by id. */
const ORDER: readonly NamedTable[] = ['users', 'agents', 'audiences']

/**
 * Holds what a rule names, the tenant first, until the transaction ends.
 * @returns the records in the order named, all of one tenant
 * @throws {ProblemError} `validation_failed` at the first that does not exist, or is of another tenant
 *   than the first
 */
export async function holdNamed(
  tx: Db,
  named: readonly [Named, ...Named[]],
): Promise<[Held, ...Held[]]> {
  const [first, ...others] = named
  await holdTenantOf(tx, first.table, first.id)
  const found = new Map<Named, Standing | undefined>()
  for (const one of named.toSorted(inLockOrder)) {
    const { table, id, take } = one
    found.set(one, take ? await take(tx, id) : await holdRecord(tx, table, id))
  }
  const held = (one: Named): Held => {
    const record = found.get(one)
    if (record === undefined) throw invalid(one.pointer, `names no ${one.table.slice(0, -1)}`)
    return { ...one, ...record }
  }
  const head = held(first)
  const rest = others.map((other) => {
    const record = held(other)
    if (record.tenant_id === head.tenant_id) return record
    throw invalid(other.pointer, `is of another tenant than ${head.pointer.slice(1)}`)
  })
  return [head, ...rest]
}

/** @throws {ProblemError} `validation_failed` at the first that is gone for good */
export function refuseGone(records: readonly Held[]): void {
  const gone = records.find(({ status }) => status === 'retired' || status === 'deleted')
  if (gone) throw invalid(gone.pointer, `is ${gone.status}, which is final`)
}

const inLockOrder = (one: Named, other: Named): number =>
  ORDER.indexOf(one.table) - ORDER.indexOf(other.table) || (one.id < other.id ? -1 : 1)
