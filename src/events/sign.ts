import { newTimeOrderedId } from '../db/ids.ts'
import { signLasting } from '../db/sign-lasting.ts'
import type { Db, EventDialect } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { type Revocation, revocationClaims, typOf } from './revocation-set.ts'

/** `alg`: the one that its audience asks for. */
export type Unsigned = Revocation & { dialect: EventDialect; alg: string }
export type Signed = { jti: string; kid: string; jws: string }

/** No signature was to be had. The database is not to blame. */
export class NotSignedError extends Error {}

/** Waits for what the keys are asked for, as long as its maker likes. */
export type WaitForKeys = <Value>(work: Promise<Value>) => Promise<Value>

/**
 * Signs events, each by the key that signs ID-JAGs for its audience and under a `jti` of its own. None is
 * signed by a key that has ended by what `db` has now: this replica may not have heard of it yet.
 * @param wait for the custody of the keys; for what is asked of `db` itself there is no giving up half way
 * @throws when no key can be relied on
 */
export async function signEvents<Event extends Unsigned>(
  db: Db,
  deps: Pick<Deps, 'keys' | 'config'>,
  events: readonly Event[],
  now: Date,
  wait: WaitForKeys = (work) => work,
): Promise<(Event & Signed)[]> {
  if (events.length === 0) return []
  const signed = await signLasting(
    { ...deps.keys, refresh: () => wait(deps.keys.refresh()) },
    db,
    () => wait(Promise.all(events.map((event) => signEvent(deps, event, now)))),
    (made) => [...new Set(made.map(({ kid }) => kid))],
  )
  if (signed) return signed
  throw new NotSignedError('The signing keys kept changing while events were signed')
}

async function signEvent<Event extends Unsigned>(
  { keys, config }: Pick<Deps, 'keys' | 'config'>,
  event: Event,
  now: Date,
): Promise<Event & Signed> {
  const jti = newTimeOrderedId('', now)
  const claims = revocationClaims(config.issuer, event, jti, now)
  const alg = keys.algFor('id_jag', event.alg)
  return { ...event, jti, ...(await keys.sign('id_jag', alg, typOf(event.dialect), claims)) }
}
