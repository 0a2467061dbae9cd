import type { ClientCredentials } from '../agents/client-credentials.ts'
import type { Deps } from '../deps.ts'
import { OAuthError } from '../oauth/errors.ts'
import {
  authenticateReceiver,
  isReceiverId,
  issueReceiverToken,
  type ReceiverToken,
} from '../streams/issue-token.ts'
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
  const secret = secretOf(credentials)
  const issued = await issueReceiverToken(deps, { clientId, secret, ...(scope && { scope }) })
  if ('refused' in issued) throw new Refusal(issued.refused)
  return issued
}

/**
 * Every other grant is for agents.
 * @throws {Refusal|OAuthError} where a receiver asks for one
 */
export async function refuseReceiver(deps: Deps, credentials: ClientCredentials): Promise<void> {
  const { clientId } = credentials
  if (!isReceiverId(clientId)) return
  const receiver = await authenticateReceiver(deps, { clientId, secret: secretOf(credentials) })
  if ('refused' in receiver) throw new Refusal(receiver.refused)
  throw new OAuthError(
    'unauthorized_client',
    'A receiver of Shared Signals has the grant client_credentials and no other',
  )
}

const secretOf = (credentials: ClientCredentials) =>
  credentials.method === 'secret' ? credentials.secret : undefined
