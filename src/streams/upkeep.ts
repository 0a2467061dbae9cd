import { createClockGate } from '../db/clock.ts'
import type { Deps } from '../deps.ts'
import { repeatedly, type Worker } from '../http/repeatedly.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { disableStream } from './change-status.ts'
import { dropExcess } from './event-queries.ts'
import { resealHeaders } from './reseal-headers.ts'
import { HELD_FOR, INACTIVITY_TIMEOUT, MOST_HELD } from './stream.ts'
import { lockSilentStreams } from './stream-queries.ts'

/** Milliseconds between two rounds; streams that one statement disables at the most. */
const EVERY = 60_000
const MOST = 100

export function startUpkeep(deps: Deps): Worker {
  const { log } = deps
  // By a wrong clock streams would be disabled, and events given up, that have days left.
  const requireTime = createClockGate(deps)
  const round = async () => {
    await requireTime()
    await keepUp(deps)
  }
  return repeatedly(EVERY, round, {
    failed: (err) => log.warn({ err }, 'streams could not be looked after'),
    again: () => log.info('streams are looked after again'),
  })
}

/** What streams need by time alone. Any number of replicas may do it. */
export async function keepUp(deps: Deps, mostHeld = MOST_HELD): Promise<void> {
  await disableSilent(deps)
  const at = deps.now()
  const gone = await dropExcess(deps.db, {
    before: addSeconds(at, -HELD_FOR),
    most: mostHeld,
    at,
  })
  for (const { stream_id, count } of gone) {
    deps.log.warn({ stream_id, count }, 'events that nobody took were given up')
  }
  await resealHeaders(deps)
}

/** Streams that nobody has fetched from, or that accepted nothing, for a week. */
async function disableSilent(deps: Deps): Promise<void> {
  const disabled = await deps.db.transaction().execute(async (tx) => {
    const at = deps.now()
    const silent = await lockSilentStreams(tx, addSeconds(at, -INACTIVITY_TIMEOUT), MOST)
    for (const stream of silent)
      await disableStream(tx, stream, { reason: REASON[stream.method], at })
    return silent
  })
  for (const { id: stream_id, receiver_id } of disabled) {
    deps.log.warn(
      { stream_id, receiver_id },
      'a stream was disabled, for its receiver is not there',
    )
  }
}

const REASON = {
  push: 'The endpoint has accepted nothing for a week',
  poll: 'Nobody has fetched events for a week',
}
