import type { Deps } from '../deps.ts'

/** Milliseconds between two rounds, and rows that one statement forgets at the most. */
const EVERY = 60_000
const MOST = 10_000

/** Forgets spent assertions that have expired: nobody can present them again. */
export function startTidying(deps: Deps): { stop(): Promise<void> } {
  let round: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    round = tidy(deps).catch((error) => deps.log.warn({ err: error }, 'tidying up failed'))
  }, EVERY)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await round
    },
  }
}

export async function tidy(deps: Pick<Deps, 'db' | 'now'>): Promise<void> {
  await deps.db
    .deleteFrom('spent_assertions')
    .where('digest', 'in', (eb) =>
      eb
        .selectFrom('spent_assertions')
        .select('digest')
        .where('expires_at', '<', deps.now())
        .orderBy('digest')
        .limit(MOST)
        .forUpdate()
        .skipLocked(),
    )
    .execute()
}
