import type { EventAnswer } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { answerToLog } from '../events/answer.ts'
import { wrongRequest } from '../http/ssf-door.ts'
import type { Caller } from './admit.ts'
import { endEvents, listWaiting } from './event-queries.ts'
import { requireStream } from './find-stream.ts'
import type { PollAnswer, PollRequest } from './schema.ts'
import { signSet } from './sign-set.ts'
import { noteActivity } from './stream-queries.ts'
import type { Waiting } from './waiting.ts'

/** Events in one answer, whatever is asked for. */
const MOST = 100

/**
 * RFC 8936 §2: takes what the receiver acknowledges or refuses, and answers what waits, the oldest first. What
 * it does not acknowledge comes again, to several that poll at a time as well.
 * @throws {SsfError} 404; 400 for a stream that is pushed
 */
export async function pollStream(
  deps: Deps,
  waiting: Waiting,
  caller: Caller,
  streamId: string,
  { maxEvents = MOST, returnImmediately = false, ack = [], setErrs = {} }: PollRequest,
  gone: AbortSignal,
): Promise<PollAnswer> {
  const stream = await requireStream(deps.db, caller, streamId)
  if (stream.method !== 'poll') throw wrongRequest('The events of this stream are pushed')
  const at = deps.now()
  await noteActivity(deps.db, stream.id, at)
  const of = { stream_id: stream.id }
  await endEvents(deps.db, { ...of, jtis: ack }, { status: 'delivered', at })
  for (const [jti, error] of Object.entries(setErrs)) {
    const answer = refusalToKeep(error)
    const [ended] = await endEvents(
      deps.db,
      { ...of, jtis: [jti] },
      { status: 'failed', at, answer },
    )
    if (ended) deps.log.warn({ ...of, jti, ...answerToLog(answer) }, 'a receiver refused an event')
  }
  const limit = Math.min(maxEvents, MOST)
  const find = () => listWaiting(deps.db, stream.id, limit + 1)
  let found = await find()
  if (found.length === 0 && limit > 0 && !returnImmediately) {
    await waiting.forEvent(stream.id, gone)
    if (gone.aborted) return { sets: {}, moreAvailable: false }
    // It may have been changed meanwhile, or ended with its receiver.
    await requireStream(deps.db, caller, stream.id)
    found = await find()
  }
  const signed = await Promise.all(
    found
      .slice(0, limit)
      .map(async (event) => [event.jti, await signSet(deps, caller.audience, event)]),
  )
  return { sets: Object.fromEntries(signed), moreAvailable: found.length > limit }
}

/** Of a stranger, and shortened. */
const refusalToKeep = ({
  err,
  description,
}: {
  err?: string
  description?: string
}): EventAnswer => ({
  ...(err && { err: err.slice(0, 64).toWellFormed() }),
  ...(description && { description: description.slice(0, 400).toWellFormed() }),
})
