import { recordEvent } from '../audit/record.ts'
import { findOfflineDelegation } from '../delegations/queries.ts'
import type { Deps } from '../deps.ts'
import type { FormFields } from '../http/form.ts'
import { GRANT } from '../oauth/names.ts'
import { parseScope } from '../oauth/scope.ts'
import { hashSecret } from '../oauth/secret.ts'
import { endReusedFamily } from '../revoke/reused-family.ts'
import {
  bindFamily,
  findRefreshToken,
  findTokenState,
  lockFamily,
} from '../sessions/family-queries.ts'
import { rotate } from '../sessions/rotate.ts'
import type { GrantRefusal } from './grant-error.ts'
import { issueTokens, type TokenAnswer } from './issue-tokens.ts'
import { countUser } from './limits.ts'
import { type Client, type Context, settle } from './settle.ts'
import { shareClientParties } from './share-client.ts'

/**
 * The refresh_token grant (RFC 6749 §6, OIDC Core §12). Every use gives a new token; a spent one that
 * comes back ends the family, for one of its two holders is a thief (OP-22, TV-62). A grant that is bound to
 * a key is for who proves to hold it; without that nothing is spent (DP-12).
 * Once the session is over it goes on for the sake of an `offline` delegation alone, without an ID token.
 * @throws {OAuthError}
 */
export function refreshTokens(
  deps: Deps,
  client: Client,
  params: FormFields,
  context: Context = {},
): Promise<TokenAnswer> {
  const settling = { client, event: 'refresh_token.refused', ...context }
  return settle<TokenAnswer>(deps, settling, async (tx) => {
    const { refresh_token } = params
    if (typeof refresh_token !== 'string') {
      return { refused: 'malformed_request', text: 'refresh_token is missing or repeated' }
    }
    const hash = hashSecret(refresh_token)
    const found = await findRefreshToken(tx, hash)
    if (!found || found.agent_id !== client.agent.id) return { refused: 'unknown_refresh_token' }
    const { tenant_id, agent_id, user_id, session_id } = found

    const reused = { what: 'refresh_token', family_id: found.family_id, user_id, agent_id } as const
    if (found.spent_at && found.family_ended_at === null) {
      const ended = await endReusedFamily(tx, deps, { ...reused, ...context })
      return { refused: ended ? 'spent_refresh_token' : 'refresh_token_revoked', user_id }
    }

    const now = deps.now()
    const { credential_id } = client
    const parties = await shareClientParties(tx, client.agent, { ...found, credential_id }, now)
    const family = await lockFamily(tx, found.family_id)
    const token = await findTokenState(tx, hash)
    if (!family || !token) return { refused: 'unknown_refresh_token', user_id }
    if (family.ended_at) return { refused: 'refresh_token_revoked', user_id }
    if (token.spent_at) {
      await endReusedFamily(tx, deps, { ...reused, ...context }, 'some')
      return { refused: 'spent_refresh_token', user_id }
    }
    if ('refused' in parties) return { ...parties, user_id }
    const { live } = parties
    if (!live && !(await findOfflineDelegation(tx, { user_id, agent_id }, now))) {
      return { refused: 'session_ended', user_id }
    }
    if (!parties.grant_types.includes(GRANT.refreshToken)) {
      return { refused: 'grant_not_allowed', user_id }
    }
    if (token.expires_at <= now || family.expires_at <= now) {
      return { refused: 'refresh_token_expired', user_id }
    }
    const jkt = client.proof?.jkt
    if (family.dpop_jkt !== null && family.dpop_jkt !== jkt) {
      return { refused: 'wrong_dpop_key', user_id }
    }
    const asked = narrow(params.scope, family.scope)
    if ('refused' in asked) return { ...asked, user_id }
    countUser(deps, user_id)

    const { auth_time, amr } = parties
    const answer = await issueTokens(deps, tx, client.agent, {
      user: parties,
      session_id,
      auth_time,
      amr,
      family_id: family.id,
      scope: asked.scope,
      jkt,
      signedIn: live,
    })
    if (jkt !== undefined && isPublic(client)) {
      await bindFamily(tx, { id: family.id, dpop_jkt: jkt })
    }
    const next = await rotate(tx, family, hash, now)
    await recordEvent(tx, {
      type: 'refresh_token.rotated',
      at: now,
      actor: { kind: 'agent', id: agent_id },
      tenant_id,
      agent_id,
      user_id,
      detail: { family_id: family.id, scope: asked.scope },
      ...context,
    })
    return { ...answer, refresh_token: next }
  })
}

/** A client that proves nothing but, perhaps, its key: its refresh tokens are bound to the first one that it shows. */
const isPublic = ({ agent }: Client): boolean => agent.token_endpoint_auth_method === 'none'

/** What this answer may hold: the scope asked for, never beyond the original (OP-24). The family keeps its own. */
function narrow(
  asked: string | string[] | undefined,
  original: string[],
): { scope: string[] } | GrantRefusal {
  if (asked === undefined) return { scope: original }
  const scope = typeof asked === 'string' ? parseScope(asked) : undefined
  if (!scope) return { refused: 'scope_malformed' }
  if (scope.every((name) => original.includes(name))) return { scope }
  return { refused: 'scope_not_granted' }
}
