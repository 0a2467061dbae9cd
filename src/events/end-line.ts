import type { AuditEvent } from '../audit/record.ts'
import type { EventAnswer, Row } from '../db/tables.ts'
import { plainError } from './answer.ts'

/** Of an event what its end is recorded by. */
export type Ended = Pick<
  Row<'event_deliveries'>,
  'id' | 'tenant_id' | 'user_id' | 'audience_id' | 'agent_id' | 'revocation_id' | 'attempts'
>

/** The line of the audit log for an event that is not sent any more. */
export const lineOfEnd = (
  event: Ended,
  status: 'delivered' | 'failed' | 'superseded',
  at: Date,
  { status: code, err, failure }: EventAnswer = {},
): AuditEvent => ({
  type: `event.${status}`,
  at,
  actor: { kind: 'system' },
  tenant_id: event.tenant_id,
  user_id: event.user_id,
  audience_id: event.audience_id,
  ...(event.agent_id !== null && { agent_id: event.agent_id }),
  detail: {
    event_delivery_id: event.id,
    ...(event.revocation_id !== null && { revocation_id: event.revocation_id }),
    attempts: event.attempts,
    ...(code !== undefined && { status: code }),
    ...(failure && { failure }),
    ...(plainError(err) && { err }),
  },
})
