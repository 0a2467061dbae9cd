import { BUDGETS, type Budget } from './budgets.ts'
import { callerOf, type Exceeded } from './rate-limit.ts'
import type { Tally } from './tally.ts'

/**
 * Counts a document that has to be fetched for a caller who has proved nothing, by its address and the caller's.
 * @returns the budget that is spent, if one is
 */
export function countDocument(
  { tally }: { tally: Tally },
  { url, address }: { url: string; address: string | undefined },
): { budget: Budget; exceeded: Exceeded } | undefined {
  const spent = (budget: Budget, key: string) => {
    const exceeded = tally.take(budget, key)
    return exceeded && { budget, exceeded }
  }
  return (
    (address === undefined ? undefined : spent(BUDGETS.documentsOfAddress, callerOf(address))) ??
    spent(BUDGETS.document, url)
  )
}
