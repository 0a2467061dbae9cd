/** What is known of an audience by its documents, as the API shows it. */

import type { Pending } from './discovery.ts'
import type { Discovery } from './discovery-queries.ts'
import type { Discovered, PendingChange } from './discovery-schema.ts'
import { foreignHosts } from './found.ts'

/** As the database writes it into JSON: instants are text. */
export type ShownDiscovery = Omit<
  Discovery,
  'approved_at' | 'read_at' | 'expires_at' | 'failed_at' | 'documents'
> & {
  approved_at: string | null
  read_at: string
  expires_at: string
  failed_at: string | null
  documents: (Omit<Discovery['documents'][number], 'document'> &
    Partial<Discovery['documents'][number]>)[]
}

export const describeDiscovered = ({ found, pending, ...row }: ShownDiscovery): Discovered => ({
  url: row.url,
  approved_at: instant(row.approved_at),
  profile: found.profile,
  endpoints: found.endpoints,
  unconfirmed_hosts: pending === null ? [] : unconfirmed(pending),
  flags: row.flags,
  ignored: found.ignored,
  documents: row.documents.map(({ read_at, ...document }) => ({
    ...document,
    read_at: new Date(read_at),
  })),
  fetched_at: new Date(row.read_at),
  expires_at: new Date(row.expires_at),
  failures: row.failures,
  last_failure: row.last_failure,
  failed_at: instant(row.failed_at),
})

export const describePending = ({ found, noticed_at, ...pending }: Pending): PendingChange => ({
  reason: pending.reason,
  noticed_at: new Date(noticed_at),
  digest: pending.digest,
  issuer: found.issuer,
  profile: found.profile,
  endpoints: found.endpoints,
  unconfirmed_hosts: unconfirmed({ found, ...pending }),
  changes: pending.changes,
  notice: pending.notice ?? null,
  obstacle: pending.obstacle ?? null,
})

/** Of a newcomer every other host; later those that were not there when it was approved. */
function unconfirmed({ reason, changes, found }: Omit<Pending, 'noticed_at'>): string[] {
  if (reason === 'registration') return foreignHosts(found)
  const moved = changes.flatMap(({ member, to }) =>
    member === 'issuer' || member === 'resource' ? [] : new URL(to).host,
  )
  return [...new Set(moved)].sort()
}

const instant = (text: string | null): Date | null => (text === null ? null : new Date(text))
