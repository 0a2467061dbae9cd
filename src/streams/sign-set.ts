import type { Deps } from '../deps.ts'
import { TYP } from '../oauth/names.ts'
import { type QueuedEvent, setClaims } from './set.ts'

/**
 * The event as it is sent: by RS256, which receivers of CAEP know (EV-33). Each time the same `jti` and `iat`;
 * RS256 makes the same bytes of them for as long as the key is the same.
 * @throws when no reading of the keys is recent enough, or the key is out of reach for now
 */
export async function signSet(
  { keys, config }: Pick<Deps, 'keys' | 'config'>,
  aud: string,
  event: QueuedEvent,
): Promise<string> {
  const claims = setClaims(config.issuer, aud, event)
  const alg = keys.algFor('id_jag', 'RS256')
  const { jws } = await keys.sign('id_jag', alg, TYP.securityEvent, claims)
  return jws
}
