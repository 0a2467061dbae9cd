import type { Transaction } from 'kysely'
import { recordEvent } from '../audit/record.ts'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { FormFields } from '../http/form.ts'
import { GRANT } from '../oauth/names.ts'
import { matchesChallenge } from '../oauth/pkce.ts'
import { hashSecret } from '../oauth/secret.ts'
import { endReusedFamily } from '../revoke/reused-family.ts'
import { type Code, consumeCode, findCode, lockCode } from '../sessions/code-queries.ts'
import { beginFamily } from '../sessions/rotate.ts'
import type { GrantRefusal } from './grant-error.ts'
import { issueTokens, type TokenAnswer } from './issue-tokens.ts'
import { countUser } from './limits.ts'
import { type Client, type Context, settle } from './settle.ts'
import { shareClientParties } from './share-client.ts'

/**
 * The authorization_code grant (RFC 6749 §4.1.3, RFC 7636 §4.6, OIDC Core §3.1.3). A code works once;
 * presented again by its client it is refused and takes along what it gave (OP-09). With a proof of a key
 * the access token is bound to that key, and the grant with its refresh token too (DP-11, DP-12).
 * @throws {OAuthError}
 */
export function redeemCode(
  deps: Deps,
  client: Client,
  params: FormFields,
  context: Context = {},
): Promise<TokenAnswer> {
  const settling = { client, event: 'authorization_code.refused', ...context }
  return settle<TokenAnswer>(deps, settling, async (tx) => {
    const { code, redirect_uri, code_verifier } = params
    if (typeof code !== 'string') {
      return { refused: 'malformed_request', text: 'code is missing or repeated' }
    }
    const hash = hashSecret(code)
    const found = await findCode(tx, hash)
    if (!found || found.agent_id !== client.agent.id) return { refused: 'unknown_code' }
    const { user_id } = found
    if (found.consumed_at) return endFirstUse(deps, tx, found, context, 'none')

    const now = deps.now()
    const { credential_id } = client
    const parties = await shareClientParties(tx, client.agent, { ...found, credential_id }, now)
    const held = await lockCode(tx, hash)
    if (!held) return { refused: 'unknown_code', user_id }
    if (held.consumed_at) return endFirstUse(deps, tx, held, context, 'some')
    if ('refused' in parties) return { ...parties, user_id }
    if (!parties.live) return { refused: 'session_ended', user_id }
    if (!parties.grant_types.includes(GRANT.authorizationCode)) {
      return { refused: 'grant_not_allowed', user_id }
    }
    if (held.expires_at <= now) return { refused: 'code_expired', user_id }
    if (redirect_uri !== held.redirect_uri) return { refused: 'wrong_redirect_uri', user_id }
    if (
      typeof code_verifier !== 'string' ||
      !matchesChallenge(code_verifier, held.code_challenge)
    ) {
      return { refused: 'wrong_code_verifier', user_id }
    }
    const jkt = client.proof?.jkt
    if (held.dpop_jkt !== null && held.dpop_jkt !== jkt) {
      return { refused: 'wrong_dpop_key', text: BOUND_CODE, user_id }
    }
    countUser(deps, user_id)

    const offline =
      held.scope.includes('offline_access') && parties.grant_types.includes(GRANT.refreshToken)
    const scope = offline ? held.scope : held.scope.filter((name) => name !== 'offline_access')
    const { tenant_id, agent_id, session_id } = held
    const family = await beginFamily(
      tx,
      { tenant_id, agent_id, user_id, session_id, scope, dpop_jkt: jkt ?? null },
      { now, lifetime: deps.config.refreshTokenLifetime, withToken: offline },
    )
    const { auth_time, amr } = parties
    const answer = await issueTokens(deps, tx, client.agent, {
      user: parties,
      session_id,
      auth_time,
      amr,
      family_id: family.id,
      scope,
      nonce: held.nonce ?? undefined,
      jkt,
    })
    await consumeCode(tx, { hash, family_id: family.id, at: now })
    await recordEvent(tx, {
      type: 'authorization_code.redeemed',
      at: now,
      actor: { kind: 'agent', id: agent_id },
      tenant_id,
      agent_id,
      user_id,
      detail: { session_id, family_id: family.id, scope },
      ...context,
    })
    return family.refreshToken === undefined
      ? answer
      : { ...answer, refresh_token: family.refreshToken }
  })
}

const BOUND_CODE =
  'The code is bound to the key that dpop_jkt named: its redemption needs a DPoP proof by that key'

/** Somebody else had the code too, and nobody can say who was first: what it gave ends. */
async function endFirstUse(
  deps: Deps,
  tx: Transaction<Tables>,
  { family_id, user_id, agent_id }: Code,
  context: Context,
  locks: 'none' | 'some',
): Promise<GrantRefusal> {
  // What a revocation voided gave nothing.
  if (family_id !== null) {
    const what = 'authorization_code'
    await endReusedFamily(tx, deps, { what, family_id, user_id, agent_id, ...context }, locks)
  }
  return { refused: 'spent_code', user_id }
}
