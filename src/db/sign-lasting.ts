import type { Db } from './tables.ts'

/** Times that something is signed because another replica changed the keys meanwhile. */
const MOST_ATTEMPTS = 3

type Keys = {
  stillSign(db: Db, kids: readonly string[]): Promise<boolean>
  refresh(): Promise<void>
}

/**
 * What `make` signs, by keys that sign by what `db` has: this replica may not have heard yet that one was
 * rotated or dropped. Made again otherwise; undefined when the keys kept changing.
 */
export async function signLasting<Made>(
  keys: Keys,
  db: Db,
  make: () => Promise<Made>,
  kidsOf: (made: Made) => readonly string[],
): Promise<Made | undefined> {
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
    const made = await make()
    if (await keys.stillSign(db, kidsOf(made))) return made
    await keys.refresh()
  }
  return undefined
}
