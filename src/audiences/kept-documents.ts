/** Documents as they are kept, and how long they count. */
import type { KeptDocument } from './discovery-queries.ts'
import type { ReadDocument } from './read-document.ts'

/** Milliseconds that documents are used before they are read again: at least, at the most, and unless they say (DR-10). */
const LEAST = 5 * 60_000
const MOST = 24 * 60 * 60_000
const UNLESS_TOLD = 60 * 60_000

export const keptDocuments = (documents: readonly ReadDocument[]): KeptDocument[] =>
  documents.map(({ kind, url, read_at, document }) => ({
    kind,
    url,
    read_at: read_at.toISOString(),
    document,
  }))

/** The one that says the least counts for all. */
export function timesOf(documents: readonly ReadDocument[], now: Date) {
  const told = documents.flatMap(({ fresh_for }) => (fresh_for === undefined ? [] : fresh_for))
  const lifetime = told.length === 0 ? UNLESS_TOLD : Math.min(...told) * 1000
  const until = new Date(now.getTime() + Math.min(Math.max(lifetime, LEAST), MOST))
  return { read_at: now, expires_at: until, next_read_at: until }
}

/** After so many failures in a row. */
export const afterFailures = (failures: number, now: Date): Date =>
  new Date(now.getTime() + Math.min(LEAST * 2 ** Math.min(failures - 1, 12), MOST))
