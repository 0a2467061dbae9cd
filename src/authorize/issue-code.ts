import { recordEvent } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { hashSecret, newSecret } from '../oauth/secret.ts'
import { insertCode } from '../sessions/code-queries.ts'
import { holdAgent, holdUser } from '../sessions/lock.ts'
import type { LiveSession } from '../sessions/recognise.ts'
import type { AuthorizationRequest } from './request.ts'

/** Seconds (OP-09). */
const CODE_LIFETIME = 60

/**
 * A code, bound to everything that its redemption compares. Whether user, agent and session still stand is
 * asked again there, under locks; the locks here only keep the order.
 */
export async function issueCode(
  deps: Deps,
  of: {
    agent_id: string
    redirect_uri: string
    session: LiveSession
    request: AuthorizationRequest
    request_id: string
  },
): Promise<string> {
  const now = deps.now()
  const code = newSecret()
  const { agent_id, redirect_uri, session, request } = of
  const { tenant_id, user_id } = session
  await deps.db.transaction().execute(async (tx) => {
    await holdUser(tx, session)
    await holdAgent(tx, agent_id)
    await insertCode(tx, {
      hash: hashSecret(code),
      tenant_id,
      agent_id,
      user_id,
      session_id: session.id,
      redirect_uri,
      code_challenge: request.code_challenge,
      nonce: request.nonce ?? null,
      dpop_jkt: request.dpop_jkt ?? null,
      scope: request.scope,
      created_at: now,
      expires_at: addSeconds(now, CODE_LIFETIME),
    })
    await recordEvent(tx, {
      type: 'authorization_code.issued',
      at: now,
      actor: { kind: 'user', id: user_id },
      tenant_id,
      agent_id,
      user_id,
      detail: { session_id: session.id, scope: request.scope },
      request_id: of.request_id,
    })
  })
  return code
}
