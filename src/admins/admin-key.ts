import type { AdminKeyRow } from './queries.ts'
import type { AdminKey } from './schema.ts'

/** An admin key as the API shows it: a key past its end counts as ended. */
export const describeAdminKey = (row: AdminKeyRow, now: Date): AdminKey => ({
  ...row,
  status:
    row.ended_at !== null || (row.expires_at !== null && row.expires_at <= now)
      ? 'ended'
      : 'active',
})
