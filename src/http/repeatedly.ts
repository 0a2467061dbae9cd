/** What works by itself. */
export type Worker = {
  /** Begins nothing more. Resolves when what is under way has ended. */
  stop(): Promise<void>
}

type Told = {
  /** The first time of a row of failures, not each time: nobody reads the same line every second. */
  failed(error: unknown): void
  /** It works again. */
  again?(): void
}

/**
 * Works again and again until stopped, one round at a time, and goes on whatever becomes of one. A round that is due
 * while one is under way is left out; one that somebody asked for follows.
 * @param work `stopping` is for a round that takes long: it may end early
 */
export function repeatedly(
  everyMs: number,
  work: (stopping: AbortSignal) => Promise<unknown>,
  { failed, again }: Told,
): Worker & { wake(): void } {
  const leaving = new AbortController()
  const stopping = leaving.signal
  let failing = false
  let asked = false
  let running: Promise<void> | undefined

  async function round(): Promise<void> {
    try {
      await work(stopping)
      if (failing) again?.()
      failing = false
    } catch (error) {
      if (!failing && !stopping.aborted) failed(error)
      failing = true
    }
  }
  async function run(): Promise<void> {
    try {
      do {
        asked = false
        await round()
      } while (asked && !stopping.aborted)
    } finally {
      running = undefined
    }
  }
  const begin = () => {
    if (!stopping.aborted) running ??= run()
  }
  const timer = setInterval(begin, everyMs)
  timer.unref()
  return {
    wake() {
      asked = true
      begin()
    },
    async stop() {
      leaving.abort()
      clearInterval(timer)
      await running
    },
  }
}
