/** How far the events of a revocation have come, all in all. */
export type ProofStatus = 'queued' | 'delivered' | 'failed'

/** What waits may still be delivered; one that failed can be sent again. Without events there is nobody to tell. */
export const statusOf = (events: { pending: number; failed: number }): ProofStatus =>
  events.pending > 0 ? 'queued' : events.failed > 0 ? 'failed' : 'delivered'
