import type { Deps } from '../deps.ts'
import { decodeJws, verifyJws } from '../oauth/jws.ts'
import { TYP } from '../oauth/names.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import { parseScope } from '../oauth/scope.ts'
import { GRANT_CLAIM } from '../sessions/family.ts'

export type AccessToken = {
  sub: string
  client_id: string
  scope: string[]
  family_id: string
  /** Thumbprint of the key that it is bound to; undefined for one that its bearer may use (RFC 9449 §6). */
  jkt: string | undefined
}

/** Seconds that another replica's clock may be ahead. */
const SKEW = 5

/**
 * The access token, if it is one of ours, for this server, and in time (RFC 9068 §4). Whether who sends it
 * holds its key is another question.
 */
export async function verifyAccessToken(
  deps: Pick<Deps, 'config' | 'keys' | 'now'>,
  token: string,
): Promise<AccessToken | undefined> {
  const jws = decodeJws(token)
  if (!jws || jws.header.typ !== TYP.accessToken || typeof jws.header.kid !== 'string') {
    return undefined
  }
  await deps.keys.upToDate()
  const known = deps.keys.verificationKey('id_token', jws.header.kid)
  if (!known || !verifyJws(jws, known.alg, known.key)) return undefined
  const { iss, aud, exp, iat, sub, client_id, scope, cnf, [GRANT_CLAIM]: family } = jws.payload
  const now = numericDate(deps.now())
  if (iss !== deps.config.issuer || aud !== deps.config.issuer) return undefined
  if (typeof exp !== 'number' || exp <= now) return undefined
  if (typeof iat !== 'number' || iat > now + SKEW) return undefined
  if (typeof sub !== 'string' || typeof client_id !== 'string') return undefined
  if (typeof scope !== 'string' || typeof family !== 'string') return undefined
  const { jkt } = (cnf ?? {}) as { jkt?: unknown }
  if (cnf !== undefined && typeof jkt !== 'string') return undefined
  const bound = typeof jkt === 'string' ? jkt : undefined
  return { sub, client_id, scope: parseScope(scope) ?? [], family_id: family, jkt: bound }
}
