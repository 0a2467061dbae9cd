/**
 * What is missing, for every reason that the token endpoint gives: the compiler misses whatever is not here.
 * docs/operators.md has the same table.
 */
import type { Circumstances, Condition } from './condition.ts'
import { CLIENT_CONDITIONS, SUBJECT_CONDITIONS } from './conditions-of-proof.ts'
import { RIGHT_CONDITIONS, TARGET_CONDITIONS } from './conditions-of-right.ts'
import type { Missing } from './explain-schema.ts'
import type { ToldReason } from './refusals.ts'

export const CONDITIONS: Record<ToldReason, Condition> = {
  ...CLIENT_CONDITIONS,
  ...SUBJECT_CONDITIONS,
  ...TARGET_CONDITIONS,
  ...RIGHT_CONDITIONS,
}

/** What one exchange lacks, as exactly as its circumstances tell. */
export function missingFor(reason: ToldReason, of: Circumstances): Missing {
  const { rule, missing, here, record } = CONDITIONS[reason]
  const id = record?.(of)
  return { rule, detail: here?.(of) ?? missing, ...(id && { record: id }) }
}
