import type { ClientCredentials } from '../agents/client-credentials.ts'
import type { Deps } from '../deps.ts'
import { isReceiverId, issueReceiverToken, type ReceiverToken } from '../streams/issue-token.ts'
import { Refusal } from './refusals.ts'

/**
 * Receivers of Shared Signals are no agents: their grant branches off before anything is asked about one.
 * Undefined for a client that is none; agents have no such grant.
 * @throws {Refusal|OAuthError}
 */
export async function grantToReceiver(
  deps: Deps,
  credentials: ClientCredentials,
  scope: string | undefined,
): Promise<ReceiverToken | undefined> {
  const { clientId } = credentials
  if (!isReceiverId(clientId)) return undefined
  const secret = credentials.method === 'secret' ? credentials.secret : undefined
  const issued = await issueReceiverToken(deps, { clientId, secret, ...(scope && { scope }) })
  if ('refused' in issued) throw new Refusal(issued.refused)
  return issued
}
