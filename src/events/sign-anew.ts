import type { Deps } from '../deps.ts'
import { countQueuedBy, holdQueuedBy, replaceSignatures } from './queries.ts'
import { signEvents } from './sign.ts'

type Surroundings = Pick<Deps, 'db' | 'keys' | 'config' | 'now'>

/** Events held and signed in one transaction at the most. */
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
    const held = await signSome(deps, { kid, after, limit: most })
    signed += held.length
    after = held.at(-1)?.id ?? after
    if (held.length < most) return { signed, left: await countQueuedBy(deps.db, kid) }
  }
}

const signSome = (deps: Surroundings, of: { kid: string; after: string; limit: number }) =>
  deps.db.transaction().execute(async (tx) => {
    const held = await holdQueuedBy(tx, of)
    const signed = await signEvents(tx, deps, held, deps.now())
    await replaceSignatures(
      tx,
      signed.map(({ id, jti, kid, jws }) => ({ id, jti, kid, jws })),
    )
    return held
  })
