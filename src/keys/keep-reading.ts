import type { Deps } from '../deps.ts'
import { type KeyView, loadKeys } from './load-keys.ts'
import { fingerprint } from './queries.ts'
import { refreshInterval, replicaMargin } from './schedule.ts'

/** The keys as last read, and how far that can be relied on. */
export type Reading = {
  view(): KeyView
  /**
   * Milliseconds since the database was asked; by both clocks, for one stands still while the machine sleeps
   * and the other may be set back.
   */
  age(): number
  /** Young enough to sign, to vouch for and to publish by. */
  isRecent(): boolean
  /** The database does not answer. */
  isLost(): boolean
  /** A reading that begins after this call, for the one under way may not see what just changed. */
  refresh(): Promise<void>
  /** The one under way is good enough, unless it began before the process stood still for a while. */
  freshen(): Promise<void>
  close(): void
}

/**
 * Reads the keys, and asks at short intervals whether anything about them has changed (decision 0011).
 * @param asks false: only when told to
 * @param onRead is told of each reading, changed or not
 */
export async function keepReading(
  deps: Pick<Deps, 'db' | 'config' | 'now' | 'log'>,
  asks: boolean,
  onRead: (view: KeyView) => void,
): Promise<Reading> {
  const { config, log, now } = deps
  const instant = () => ({ running: performance.now(), wall: now().getTime() })
  let known = await fingerprint(deps.db)
  let view = await loadKeys(deps)
  let read = instant()
  let failures = 0
  let closed = false

  const age = () => Math.max(performance.now() - read.running, now().getTime() - read.wall)
  const longest = replicaMargin(config) * 1000
  const isRecent = () => age() <= longest
  /** One failure may be of a reading that was under way while the process stood still: that says nothing of now. */
  const isLost = () => failures > 1

  const look = async () => {
    const startedAt = instant()
    try {
      // Before the keys themselves: what changes between the two is then read again the next time.
      const seen = await fingerprint(deps.db)
      if (seen !== known) {
        view = await loadKeys(deps, view)
        known = seen
      }
      onRead(view)
      read = startedAt
      if (isLost() && !closed) log.info('signing keys are read again')
      failures = 0
    } catch (error) {
      failures++
      // Once, not twice a second.
      if (failures === 2 && !closed) {
        log.error({ err: error }, 'signing keys could not be read; still using those of before')
      }
      throw error
    }
  }

  let reading: Promise<void> | undefined
  let following: Promise<void> | undefined
  const begin = () => {
    const mine = look().finally(() => {
      if (reading === mine) reading = undefined
    })
    reading = mine
    return mine
  }
  // Shared by all who ask while one is under way.
  const refresh = () => {
    if (!reading) return begin()
    following ??= reading
      .catch(() => undefined)
      .then(() => {
        following = undefined
        return begin()
      })
    return following
  }
  const freshen = async () => {
    if (isLost()) return reading ?? begin()
    await (reading ?? begin()).catch(() => undefined)
    if (!isRecent()) await refresh()
  }
  const poll = () => {
    if (!reading && !closed) begin().catch(() => undefined)
  }
  const timer = asks ? setInterval(poll, refreshInterval(config) * 1000).unref() : undefined

  onRead(view)
  return {
    view: () => view,
    age,
    isRecent,
    isLost,
    refresh,
    freshen,
    close() {
      closed = true
      clearInterval(timer)
    },
  }
}
