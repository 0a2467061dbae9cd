import type { Deps } from '../deps.ts'
import { decodeJws, verifyJws } from '../oauth/jws.ts'
import { TYP } from '../oauth/names.ts'
import { GRANT_CLAIM } from './family.ts'

export type IdTokenHint = { sub: string; sid: string; aud: string }

/** An ID token of ours that says whom a request speaks of. It may have expired (OIDC Core §3.1.2.1). */
export async function readIdTokenHint(
  deps: Pick<Deps, 'config' | 'keys'>,
  token: string,
): Promise<IdTokenHint | undefined> {
  const jws = decodeJws(token)
  if (!jws || jws.header.typ !== TYP.idToken || typeof jws.header.kid !== 'string') return undefined
  await deps.keys.upToDate()
  const known = deps.keys.verificationKey('id_token', jws.header.kid)
  if (!known || !verifyJws(jws, known.alg, known.key)) return undefined
  const { iss, sub, sid, aud, [GRANT_CLAIM]: marker } = jws.payload
  if (iss !== deps.config.issuer || typeof marker !== 'string') return undefined
  if (typeof sub !== 'string' || typeof sid !== 'string' || typeof aud !== 'string')
    return undefined
  return { sub, sid, aud }
}
