import type { Kysely } from 'kysely'
import type { Logger } from 'pino'
import type { Tables } from '../db/tables.ts'
import { listStreamsWithEvents } from './event-queries.ts'

/**
 * Receivers that wait for an event. What is queued may be queued by any replica, so the database is asked:
 * once for all who wait, at short intervals, and not at all while nobody does.
 */
export type Waiting = {
  /** Resolves when there is an event, the time is over, or the caller has gone. */
  forEvent(streamId: string, gone: AbortSignal): Promise<void>
  close(): void
}

type Surroundings = { db: Kysely<Tables>; now: () => Date; log: Logger }
type Waiter = { streamId: string; wake: () => void }

/** Milliseconds that one waits at the most, and between two looks. */
const LONGEST = 25_000
const EVERY = 500
/** Of one process, and of one stream: whoever comes when there are more does not wait. */
const MOST = 1_000
const MOST_OF_ONE = 4

export function createWaiting(
  { db, now, log }: Surroundings,
  { longest = LONGEST, every = EVERY } = {},
): Waiting {
  const waiters = new Set<Waiter>()
  let timer: NodeJS.Timeout | undefined
  let closed = false

  function remove(waiter: Waiter): void {
    waiters.delete(waiter)
    if (waiters.size > 0 || timer === undefined) return
    clearTimeout(timer)
    timer = undefined
  }

  function lookAgain(): void {
    timer ??= setTimeout(() => void look(), every).unref()
  }

  async function look(): Promise<void> {
    const ids = [...new Set([...waiters].map(({ streamId }) => streamId))]
    const found = await listStreamsWithEvents(db, ids, now()).catch((error) => {
      log.warn({ err: error }, 'events could not be looked for')
      return [] as string[]
    })
    timer = undefined
    for (const { streamId, wake } of [...waiters]) if (found.includes(streamId)) wake()
    if (waiters.size > 0) lookAgain()
  }

  return {
    forEvent(streamId, gone) {
      const ofOne = [...waiters].filter((one) => one.streamId === streamId).length
      const full = waiters.size >= MOST || ofOne >= MOST_OF_ONE
      if (closed || full || gone.aborted) return Promise.resolve()
      return new Promise((resolve) => {
        const wake = () => {
          clearTimeout(over)
          gone.removeEventListener('abort', wake)
          remove(waiter)
          resolve()
        }
        const waiter = { streamId, wake }
        const over = setTimeout(wake, longest)
        gone.addEventListener('abort', wake)
        waiters.add(waiter)
        lookAgain()
      })
    },
    close() {
      closed = true
      for (const { wake } of [...waiters]) wake()
    },
  }
}
