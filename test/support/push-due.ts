import type { Deps } from '../../src/deps.ts'
import { createPusher } from '../../src/streams/keep-pushing.ts'

/** Sends what is due to streams now, until nothing is. Returns how many attempts it took. */
export async function pushDue(deps: Deps): Promise<number> {
  const pusher = createPusher(deps)
  for (let attempts = 0; ; ) {
    const begun = await pusher.begin()
    await pusher.idle()
    if (begun === 0) return attempts
    attempts += begun
  }
}
