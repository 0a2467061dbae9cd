import type { Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { listKeysEnded } from './key-queries.ts'
import { countQueuedBy, holdQueuedBy, replaceSignatures } from './queries.ts'
import { signEvents } from './sign.ts'

type Surroundings = Pick<Deps, 'db' | 'keys' | 'config' | 'now'>

/** Events held and signed at a time. */
const MOST = 100

/**
 * Signs every queued event of a compromised key anew, by the key that signs now: the same event with another
 * `jti` and `iat`, the `jti` before is kept. Relying apps drop such a key and would refuse what it signed.
 *
 * Events that somebody holds, as a delivery does, are left out: ask again until none is left. One that a
 * transaction still open had signed before the key ended is not seen at all, so ask once more after that.
 * May be asked at any time and by several replicas at once, once the key's end is committed.
 */
export async function signAnew(
  deps: Surroundings,
  kid: string,
  most = MOST,
): Promise<{ signed: number; left: number }> {
  let signed = 0
  let after = ''
  for (;;) {
    const page = { kid, after, limit: most }
    const held = await deps.db.transaction().execute((tx) => signPage(tx, deps, page))
    signed += held.length
    after = held.at(-1)?.id ?? after
    if (held.length < most) return { signed, left: await countQueuedBy(deps.db, kid) }
  }
}

/** What still waits and was signed by a key that signs no more is signed by one that does. */
export async function signRestAnew(
  tx: Transaction<Tables>,
  deps: Omit<Surroundings, 'db'>,
): Promise<void> {
  for (const kid of await listKeysEnded(tx)) {
    for (let after = ''; ; ) {
      const held = await signPage(tx, deps, { kid, after, limit: MOST })
      after = held.at(-1)?.id ?? after
      if (held.length < MOST) break
    }
  }
}

async function signPage(
  tx: Transaction<Tables>,
  deps: Omit<Surroundings, 'db'>,
  of: { kid: string; after: string; limit: number },
) {
  const held = await holdQueuedBy(tx, of)
  await replaceSignatures(tx, await signEvents(tx, deps, held, deps.now()))
  return held
}
