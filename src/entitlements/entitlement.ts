import type { Row } from '../db/tables.ts'
import type { Entitlement } from './schema.ts'

/** An entitlement as the API shows it: past its end it has ended. */
export const describeEntitlement = (row: Row<'entitlements'>, now: Date): Entitlement => ({
  ...row,
  status:
    row.ended_at !== null || (row.expires_at !== null && row.expires_at <= now)
      ? 'ended'
      : 'active',
})
