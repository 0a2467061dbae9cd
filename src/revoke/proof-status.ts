/** How far the events of a revocation have come, all in all. */
export type ProofStatus = 'queued' | 'delivered' | 'failed'

/**
 * What waits may still be delivered, also what has yet to become an event; one that failed can be sent again.
 * Without events there is nobody to tell.
 */
export const statusOf = (
  { pending, failed }: { pending: number; failed: number },
  withheld: number,
): ProofStatus => (pending + withheld > 0 ? 'queued' : failed > 0 ? 'failed' : 'delivered')
