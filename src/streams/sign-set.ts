import { signLasting } from '../db/sign-lasting.ts'
import type { Deps } from '../deps.ts'
import { OAuthError } from '../oauth/errors.ts'
import { TYP } from '../oauth/names.ts'
import { type QueuedEvent, setClaims } from './set.ts'

/**
 * Events as they are sent: by RS256, which receivers of CAEP know (EV-33). Each time the same `jti` and `iat`;
 * RS256 makes the same bytes of them for as long as the key is the same. None is by a key that was dropped, of
 * which this replica may not have heard yet.
 * @throws when no reading of the keys is recent enough, or the key is out of reach for now
 */
export async function signSets(
  { db, keys, config }: Pick<Deps, 'db' | 'keys' | 'config'>,
  aud: string,
  events: readonly QueuedEvent[],
): Promise<string[]> {
  if (events.length === 0) return []
  const alg = keys.algFor('id_jag', 'RS256')
  const signOne = (event: QueuedEvent) =>
    keys.sign('id_jag', alg, TYP.securityEvent, setClaims(config.issuer, aud, event))
  const signed = await signLasting(
    keys,
    db,
    () => Promise.all(events.map(signOne)),
    (made) => [...new Set(made.map(({ kid }) => kid))],
  )
  if (signed) return signed.map(({ jws }) => jws)
  throw new OAuthError('temporarily_unavailable', 'The signing keys kept changing; ask again', {
    retryAfter: 1,
  })
}
