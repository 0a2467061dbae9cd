import { createClockGate } from '../db/clock.ts'
import { listenOn } from '../db/listen.ts'
import { type Connection, openPool, poolConfig } from '../db/pool.ts'
import type { Deps } from '../deps.ts'
import { repeatedly, type Worker } from '../http/repeatedly.ts'
import { createRounds, type Rereading } from './rounds.ts'
import { watchDeliveries } from './watch-deliveries.ts'

/** Attempts under way at a time in this process. Each holds a database connection. */
const MOST = 12

/** Milliseconds between two looks at the outbox when nobody says that there is something in it. */
const EVERY = 1_000

/** Milliseconds that a transaction may hold an event and say nothing: the request it waits for has a limit of its own. */
const HOLDS = 20_000

/** Milliseconds for which a clock is believed that was right. */
const CLOCK_HOLDS = 10_000

/**
 * Delivers what is due, now and as soon as it comes, until stopped: on any number of replicas, each event by one of
 * them. It has connections of its own, since a relying app may take its time.
 */
export function startDelivering(
  deps: Deps,
  {
    connection,
    everyMs = EVERY,
    ...options
  }: Rereading & { connection: Connection; everyMs?: number },
): Worker {
  const { log } = deps
  let stopping = false
  const onIdleError = (error: Error) => {
    if (!stopping) log.warn({ err: error }, 'a database connection was lost')
  }
  const aside = {
    ...poolConfig(connection),
    application_name: 'agent-idp events',
    idle_in_transaction_session_timeout: HOLDS,
  }
  const { db } = openPool(aside, onIdleError, MOST + 1)
  const count = watchDeliveries(deps.metrics.registry, deps)
  const rounds = createRounds({ ...deps, db }, { ...options, count, most: MOST })

  // By a wrong clock events would be given up that have days left.
  const requireTime = createClockGate({ db, now: deps.now }, CLOCK_HOLDS)
  const round = async () => {
    await requireTime()
    await rounds.begin()
  }
  const worker = repeatedly(everyMs, round, {
    failed: (err) => log.error({ err }, 'event.delivery_stopped'),
    again: () => log.info('event.delivery_goes_on'),
  })
  rounds.whenOneEnds(worker.wake)
  const listening = listenOn(connection, 'event_deliveries', {
    heard: worker.wake,
    lost: (err) => log.warn({ err }, 'nobody says when an event is queued: it is looked for'),
  })
  return {
    async stop() {
      stopping = true
      await Promise.all([listening.stop(), worker.stop()])
      await rounds.allEnd()
      await db.destroy()
    },
  }
}
