import type { Row } from '../db/tables.ts'
import type { Audience } from './schema.ts'

/** An audience as the API shows it, with what is not built yet as it stands for everyone. */
export const describeAudience = (row: Row<'audiences'>): Audience => ({
  ...row,
  aliases: [],
  sector: null,
  dpop_required: false,
  events_endpoint: null,
  events_dialect: 'none',
  event_type: null,
  event_names_agent: false,
  notify_expiry: false,
})
