import type { Db, EventAnswer } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { answerToLog, CACHE_WINDOW, KEY_PATIENCE } from '../events/answer.ts'
import { wrongRequest } from '../http/ssf-door.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import type { Caller } from './admit.ts'
import { endEvents, holdBack, listWaiting } from './event-queries.ts'
import { requireStream } from './find-stream.ts'
import type { PollAnswer, PollRequest } from './schema.ts'
import { signSets } from './sign-set.ts'
import { noteActivity } from './stream-queries.ts'
import type { Waiting } from './waiting.ts'

/** Events in one answer, whatever is asked for. */
const MOST = 100

/**
 * RFC 8936 §2: takes what the receiver acknowledges or refuses, and answers what waits, the oldest first. What
 * it does not acknowledge comes again, to several that poll at a time as well; and what it refuses for want of the
 * key, when it may have read our key set again.
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
    if (answer.err === 'invalid_key' && (await waitForKey(deps.db, { ...of, jti, at, answer }))) {
      continue
    }
    const [ended] = await endEvents(
      deps.db,
      { ...of, jtis: [jti] },
      { status: 'failed', at, answer },
    )
    if (ended) deps.log.warn({ ...of, jti, ...answerToLog(answer) }, 'a receiver refused an event')
  }
  const limit = Math.min(maxEvents, MOST)
  const find = () => listWaiting(deps.db, stream.id, { now: deps.now(), limit: limit + 1 })
  let found = await find()
  if (found.length === 0 && limit > 0 && !returnImmediately) {
    await waiting.forEvent(stream.id, gone)
    if (gone.aborted) return { sets: {}, moreAvailable: false }
    // It may have been changed meanwhile, or ended with its receiver.
    await requireStream(deps.db, caller, stream.id)
    found = await find()
  }
  const events = found.slice(0, limit)
  const signed = await signSets(deps, caller.audience, events)
  const sets = Object.fromEntries(events.map(({ jti }, index) => [jti, signed[index] ?? '']))
  return { sets, moreAvailable: found.length > limit }
}

/** Its copy of our key set may be older than the key, which took over early if another was lost. */
const waitForKey = (
  db: Db,
  { at, ...of }: { stream_id: string; jti: string; at: Date; answer: EventAnswer },
): Promise<boolean> =>
  holdBack(db, {
    ...of,
    at,
    until: addSeconds(at, CACHE_WINDOW),
    firstAfter: addSeconds(at, -KEY_PATIENCE),
  })

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
