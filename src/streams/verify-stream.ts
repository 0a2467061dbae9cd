import type { Deps } from '../deps.ts'
import { SsfError, wrongRequest } from '../http/ssf-door.ts'
import { addSeconds, secondsBetween } from '../oauth/numeric-date.ts'
import type { Caller } from './admit.ts'
import { holdStream } from './find-stream.ts'
import { queueAboutStreams } from './queue.ts'
import type { VerificationRequest } from './schema.ts'
import { EVENT } from './set.ts'
import { MIN_VERIFICATION_INTERVAL } from './stream.ts'
import { noteVerification } from './stream-queries.ts'

/**
 * Queues an event by which a receiver sees that events arrive (EV-31).
 * @throws {SsfError} 404; 429 for one that asks again too soon; 400 where nothing is sent
 */
export const verifyStream = (
  deps: Pick<Deps, 'db' | 'now'>,
  caller: Caller,
  { stream_id, state }: VerificationRequest,
): Promise<void> =>
  deps.db.transaction().execute(async (tx) => {
    const stream = await holdStream(tx, caller, stream_id)
    if (stream.status === 'disabled') {
      throw wrongRequest('The stream is disabled: enable it, then ask again')
    }
    const now = deps.now()
    const before = addSeconds(now, -MIN_VERIFICATION_INTERVAL)
    if (!(await noteVerification(tx, stream.id, { now, before }))) {
      throw new SsfError(429, 'too_many_requests', 'Wait for min_verification_interval', {
        retryAfter: secondsUntil(stream.verified_at ?? now, now),
      })
    }
    const event = state === undefined ? {} : { state }
    await queueAboutStreams(tx, [stream], { event_type: EVENT.verification, event, at: now })
  })

const secondsUntil = (last: Date, now: Date): number =>
  Math.max(1, Math.ceil(MIN_VERIFICATION_INTERVAL - secondsBetween(last, now)))
