import type { AuthenticatedAgent } from '../agents/authenticate.ts'
import { recordEvent } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import type { FormFields } from '../http/form.ts'
import { decodeJws } from '../oauth/jws.ts'
import { hashSecret } from '../oauth/secret.ts'
import { endFamilies, findRefreshToken } from '../sessions/family-queries.ts'
import { type Context, settle } from './settle.ts'

/**
 * A client gives up a refresh token (RFC 7009 §2): the family ends, and the ID and access tokens made in
 * it with it. An unknown token, and another client's, are answered like success (OP-27). A signed token
 * cannot be given up by itself; to say so tells nothing that its form did not.
 * @throws {OAuthError}
 */
export async function revokeToken(
  deps: Deps,
  client: AuthenticatedAgent,
  { token }: FormFields,
  context: Context = {},
): Promise<void> {
  const settling = { client, event: 'refresh_token.revocation_refused', ...context }
  await settle<object>(deps, settling, async (tx) => {
    if (typeof token !== 'string') {
      return { refused: 'malformed_request', text: 'token is missing or repeated' }
    }
    if (decodeJws(token)) return { refused: 'unsupported' }
    const found = await findRefreshToken(tx, hashSecret(token))
    if (found?.agent_id !== client.agent.id) return {}
    const at = deps.now()
    const of = { ids: [found.family_id] }
    const ended = await endFamilies(tx, { of, at, reason: 'revoked_by_client' })
    for (const { id, tenant_id, agent_id, user_id } of ended) {
      await recordEvent(tx, {
        type: 'refresh_token.revoked',
        at,
        actor: { kind: 'agent', id: agent_id },
        tenant_id,
        agent_id,
        user_id,
        detail: { family_id: id },
        ...context,
      })
    }
    return {}
  })
}
