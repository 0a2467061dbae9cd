import type { Deps } from '../deps.ts'
import { openIdClaims } from '../users/openid-claims.ts'
import { verifyAccessToken } from './access-token.ts'
import { findGrantedUser } from './queries.ts'

export type Userinfo = { sub: string } & ReturnType<typeof openIdClaims>
export type UserinfoRefusal = { refused: 'invalid_token' | 'insufficient_scope' }

/** The claims that an access token opens, read anew; `sub` is that of the ID token (OP-25). */
export async function userinfo(deps: Deps, bearer: string): Promise<Userinfo | UserinfoRefusal> {
  const token = verifyAccessToken(deps, bearer)
  if (!token) return { refused: 'invalid_token' }
  const user = await findGrantedUser(deps.db, token.family_id, deps.now())
  if (user?.id !== token.sub || user.agent_id !== token.client_id) {
    return { refused: 'invalid_token' }
  }
  if (!token.scope.includes('openid')) return { refused: 'insufficient_scope' }
  return { sub: user.id, ...openIdClaims(user, token.scope) }
}
