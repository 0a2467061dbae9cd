import type { Deps } from '../../src/deps.ts'
import { createRounds, type Options } from '../../src/events/rounds.ts'

/** Tries all that is due, and what becomes due by that; resolves when nothing is. For one process and its own clock. */
export async function deliverDue(
  deps: Deps,
  { most = 4, ...options }: Partial<Options> = {},
): Promise<void> {
  const rounds = createRounds(deps, { ...options, most })
  for (;;) {
    const oneEnds = new Promise<void>((resolve) => rounds.whenOneEnds(resolve))
    // What ends while it looks may have made something due that it has not seen.
    const idle = rounds.underWay() === 0
    const begun = await rounds.begin()
    if (begun === 0 && idle) break
    if (rounds.underWay() > 0) await oneEnds
  }
  if (rounds.failure()) throw rounds.failure()
}
