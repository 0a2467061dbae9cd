import type { Deps } from '../deps.ts'
import { answerToLog } from './answer.ts'
import type { Attempt } from './deliver.ts'

/** Where attempts are counted. */
export type Count = (attempt: Attempt) => void

/**
 * The lines that an alert can hang on: `event.failed`, the audience did not take it and nobody tries any more;
 * `event.refused`, the audience does not trust us or is no such service. They name the event, never its token.
 */
export function logAttempt(log: Deps['log'], count: Count | undefined, attempt: Attempt): void {
  const { event, status, answer, alert, warn } = attempt
  const { id, audience_id, user_id, revocation_id, attempts } = event
  const line = { id, audience_id, user_id, revocation_id, attempts, ...answerToLog(answer) }
  count?.(attempt)
  if (alert) log.warn(line, 'event.refused')
  if (status === 'failed') log.error(line, 'event.failed')
  if (warn) log.warn(line, 'event.accepted_oddly')
  if (status === 'superseded') log.info(line, 'event.superseded')
  if (status === 'delivered' && !warn) log.info(line, 'event.delivered')
  if (status === 'queued') log.info(line, 'event.not_accepted')
}
