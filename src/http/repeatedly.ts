/**
 * Does the work again and again, one round at a time: a round that is due while one is under way is left out.
 * What goes wrong is the work's to tell: it must not reject.
 */
export function repeatedly(everyMs: number, work: () => Promise<void>): { stop(): Promise<void> } {
  let round: Promise<void> | undefined
  const timer = setInterval(() => {
    round ??= work().finally(() => {
      round = undefined
    })
  }, everyMs)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await round
    },
  }
}
