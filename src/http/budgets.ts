/** Requests in a minute of the clock, over all replicas: how many, and what they are counted by. */
export type Budget = { name: string; perMinute: number }

/**
 * What one caller may ask for, whether or not it succeeds. They bound what one can take from the others, far
 * above what honest work needs:
 *
 * - a client does a sixth of what one core does: enough to renew 150,000 ID-JAGs every five minutes;
 * - a user's agents together ask ten times a second, for as long as they like;
 * - an address may be the one way out of several clients, and pages are asked for by a whole office behind one.
 *
 * Documents are those that a client publishes for itself (agents/client-documents.ts) and that are not known
 * or cannot be had: an honest client costs one a minute at the most, and its own trouble some more.
 *
 * A client is counted once it has authenticated and a user once a token of theirs was verified, so that
 * nobody can use up what belongs to somebody else.
 */
export const BUDGETS = {
  client: { name: 'client-requests', perMinute: 30_000 },
  user: { name: 'user-requests', perMinute: 600 },
  address: { name: 'address-requests', perMinute: 60_000 },
  pages: { name: 'address-pages', perMinute: 6_000 },
  document: { name: 'document-reads', perMinute: 30 },
  documentsOfAddress: { name: 'address-document-reads', perMinute: 120 },
} as const satisfies Record<string, Budget>
