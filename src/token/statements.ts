import type pg from 'pg'
import { createGatherFacts, type GatherFacts } from './facts.ts'
import { createRecordRefusal, type RecordRefusal } from './record-refusal.ts'
import { createRecordIssuance, type RecordIssuance } from './spend-and-record.ts'

export type Statements = {
  gatherFacts: GatherFacts
  recordIssuance: RecordIssuance
  recordRefusal: RecordRefusal
}

const made = new WeakMap<pg.Pool, Statements>()

/**
 * The statements of the exchange, shared by all the doors that lead to it: what is recorded may wait for a
 * lock, and each set of statements holds connections of the pool while it does.
 */
export function statementsOn(pool: pg.Pool): Statements {
  const known = made.get(pool)
  if (known) return known
  const statements = {
    gatherFacts: createGatherFacts(pool),
    recordIssuance: createRecordIssuance(pool),
    recordRefusal: createRecordRefusal(pool),
  }
  made.set(pool, statements)
  return statements
}
