import type { Deps } from '../deps.ts'
import { TYP } from '../oauth/names.ts'
import { GRANT_CLAIM } from './family.ts'

export type IdTokenHint = { sub: string; sid: string; aud: string }

/** An ID token of ours that says whom a request speaks of. It may have expired (OIDC Core §3.1.2.1). */
export async function readIdTokenHint(
  deps: Pick<Deps, 'config' | 'keys'>,
  token: string,
): Promise<IdTokenHint | undefined> {
  const claims = await deps.keys.verifyOwn(TYP.idToken, token)
  if (claims === undefined) return undefined
  const { sub, sid, aud, [GRANT_CLAIM]: marker } = claims
  const all = typeof sub === 'string' && typeof sid === 'string' && typeof aud === 'string'
  if (!all || typeof marker !== 'string') return undefined
  return { sub, sid, aud }
}
