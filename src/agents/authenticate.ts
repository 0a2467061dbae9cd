import { hash } from 'node:crypto'
import type { Reason } from '../audit/reason.ts'
import type { AuthMethod } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { type DecodedJws, verifyJws } from '../oauth/jws.ts'
import { TYP } from '../oauth/names.ts'
import { fromNumericDate, numericDate } from '../oauth/numeric-date.ts'
import { hashSecret, sameDigest } from '../oauth/secret.ts'
import type { ClientCredentials } from './client-credentials.ts'
import type { ClientDocument } from './client-documents.ts'
import { type ClientKey, documentKeys, publishedKeys, registeredKey } from './client-keys.ts'

/** What the database says of the client that a request names. Read anew for every request. */
export type AgentFacts = {
  id: string
  tenant_id: string
  tenant_status: 'active' | 'suspended'
  name: string
  status: 'requested' | 'active' | 'suspended' | 'retired'
  expires_at: Date | null
  owner_id: string | null
  owner_status: 'active' | 'suspended' | 'deleted' | null
  token_endpoint_auth_method: AuthMethod
  jwks_uri: string | null
  grant_types: string[]
  id_token_signed_response_alg: string
  /** No token request without a DPoP proof (RFC 9449 §5.2). */
  dpop_bound_access_tokens: boolean
  /** Of an agent that is known by its client metadata document: its `client_id`. */
  client_metadata_url: string | null
  /** Until when a rule lets such an agent come; null where none does. */
  client_metadata_allowed_until: Date | null
  /** What it publishes there, once it has been read. */
  document?: ClientDocument | undefined
  /** Changes with every change of the row. */
  version: string
  /** The live ones. */
  credentials: LiveCredential[]
}

/** What an agent is called as a client: its id, or the address of its client metadata document. */
export const clientIdOf = ({
  id,
  client_metadata_url,
}: Pick<AgentFacts, 'id' | 'client_metadata_url'>) => client_metadata_url ?? id

/** Whether one that is known by a URL may come by it; who is enrolled here needs no such rule. */
export const mayCome = (
  {
    client_metadata_url: url,
    client_metadata_allowed_until: until,
  }: Pick<AgentFacts, 'client_metadata_url' | 'client_metadata_allowed_until'>,
  now: Date,
): boolean => url === null || (until !== null && until > now)

export type LiveCredential = {
  id: string
  kid: string | null
  /** The public key as JSON text, parsed once and then remembered by `id`. */
  jwk: string | null
  /** SHA-256 of the secret, hexadecimal. */
  secret_hash: string | null
}

export type AuthenticatedAgent = {
  agent: AgentFacts
  /** Null where the key came from the agent's own `jwks_uri`, or it is a public client. */
  credential_id: string | null
  /** The assertion's `jti`, to be spent in the statement that records the outcome. */
  assertion?: { digest: Buffer; expires_at: Date } | undefined
}

/** Seconds that a client's clock may be ahead or behind. */
const SKEW = 60
/** Seconds ahead that an assertion may end (CA-03). */
const LONGEST_ASSERTION = 600

/**
 * Proves that a request comes from the client it names (CA-02, CA-03). Whether that client may do what
 * it asks is another question, put afterwards.
 * @returns the reason when it does not: every one of them is `invalid_client` to the caller.
 */
export async function authenticateAgent(
  deps: Deps,
  credentials: ClientCredentials,
  agent: AgentFacts | undefined,
): Promise<AuthenticatedAgent | { refused: Reason }> {
  if (agent === undefined) return { refused: 'unknown_client' }
  if (agent.status === 'retired') return { refused: 'agent_retired' }
  // Who is known by a URL is nobody's client by the id of its record.
  if (credentials.clientId !== clientIdOf(agent)) return { refused: 'unknown_client' }
  switch (credentials.method) {
    case 'secret':
      return bySecret(agent, credentials.secret)
    case 'assertion':
      return byAssertion(deps, agent, credentials.assertion)
    case 'none':
      if (agent.token_endpoint_auth_method !== 'none') return { refused: 'bad_credentials' }
      return { agent, credential_id: null }
  }
}

function bySecret(agent: AgentFacts, secret: string): AuthenticatedAgent | { refused: Reason } {
  const presented = hashSecret(secret)
  const match = agent.credentials.find(
    ({ secret_hash }) =>
      secret_hash !== null && sameDigest(Buffer.from(secret_hash, 'hex'), presented),
  )
  if (match === undefined) return { refused: 'bad_credentials' }
  return { agent, credential_id: match.id }
}

async function byAssertion(
  deps: Deps,
  agent: AgentFacts,
  assertion: DecodedJws,
): Promise<AuthenticatedAgent | { refused: Reason }> {
  if (agent.token_endpoint_auth_method !== 'private_key_jwt') return { refused: 'bad_credentials' }
  const key = await findAssertionKey(deps, clientIdOf(agent), agent, assertion)
  if (key === undefined) return { refused: 'bad_credentials' }
  const { jti, exp } = assertion.payload as { jti: string; exp: number }
  return {
    agent,
    credential_id: key.credential_id,
    assertion: {
      digest: hash('sha256', `${agent.id}\n${jti}`, 'buffer'),
      // Remembered as long as any replica's clock may still think it unexpired.
      expires_at: fromNumericDate(Math.ceil(exp) + 2 * SKEW),
    },
  }
}

/** The key of the client by which this is its assertion to us; undefined when it is none (CA-03, CA-05). */
export async function findAssertionKey(
  deps: Deps,
  clientId: string,
  agent: WithKeys,
  assertion: DecodedJws,
): Promise<ClientKey | undefined> {
  if (!isClientAssertion(assertion, clientId, deps.config.issuer, deps.now())) return undefined
  const keys = await assertionKeys(deps, agent, assertion)
  return keys.find(({ alg, key }) => verifyJws(assertion, alg, key))
}

/** The `typ` of CA-05 and the claims of CA-03. */
export function isClientAssertion(
  jws: DecodedJws,
  clientId: string,
  issuer: string,
  now: Date,
): boolean {
  const { typ } = jws.header
  if (typ !== undefined && typ !== 'JWT' && typ !== TYP.clientAssertion) return false
  return hasAssertionClaims(jws, clientId, issuer, now)
}

/** The claims of CA-03; the issuer is the one accepted audience, and the only one named. */
export function hasAssertionClaims(
  { payload }: DecodedJws,
  clientId: string,
  issuer: string,
  now: Date,
): boolean {
  const { iss, sub, aud, exp, iat, nbf, jti } = payload
  const at = numericDate(now)
  if (iss !== clientId || sub !== clientId) return false
  if (aud !== issuer && !(Array.isArray(aud) && aud.length === 1 && aud[0] === issuer)) return false
  if (typeof exp !== 'number' || exp <= at - SKEW || exp > at + LONGEST_ASSERTION + SKEW)
    return false
  if (iat !== undefined && (typeof iat !== 'number' || iat > at + SKEW)) return false
  if (nbf !== undefined && (typeof nbf !== 'number' || nbf > at + SKEW)) return false
  return typeof jti === 'string' && jti.length > 0 && jti.length <= 512
}

type WithKeys = Pick<AgentFacts, 'jwks_uri' | 'credentials' | 'document'>

/** The keys it may be signed with: one, or without a `kid` every live one. */
export async function assertionKeys(
  deps: Deps,
  agent: WithKeys,
  { header }: DecodedJws,
): Promise<ClientKey[]> {
  if (agent.document !== undefined) return documentKeys(deps, agent.document, header)
  if (agent.jwks_uri !== null) return publishedKeys.find(deps, agent.jwks_uri, header)
  return agent.credentials
    .filter(
      ({ jwk, kid }) => jwk !== null && (header['kid'] === undefined || kid === header['kid']),
    )
    .map(registeredKey)
}
