import type { Deps } from '../deps.ts'
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

/** An access token of a user, for this server. Whether who sends it holds its key is another question. */
export async function verifyAccessToken(
  deps: Pick<Deps, 'config' | 'keys'>,
  token: string,
): Promise<AccessToken | undefined> {
  const claims = await deps.keys.verifyAccessToken(deps.config.issuer, token)
  if (claims === undefined) return undefined
  const { sub, client_id, scope, cnf, [GRANT_CLAIM]: family } = claims
  if (typeof sub !== 'string' || typeof client_id !== 'string') return undefined
  if (typeof scope !== 'string' || typeof family !== 'string') return undefined
  const { jkt } = (cnf ?? {}) as { jkt?: unknown }
  if (cnf !== undefined && typeof jkt !== 'string') return undefined
  const bound = typeof jkt === 'string' ? jkt : undefined
  return { sub, client_id, scope: parseScope(scope) ?? [], family_id: family, jkt: bound }
}
