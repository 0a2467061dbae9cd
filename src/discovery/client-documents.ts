import { GRANT, ID_JAG_GRANT_PROFILE, JWT_BEARER_GRANT } from '../oauth/names.ts'
import { jwksUri } from './metadata.ts'

// Client ID metadata documents: what a relying app may know of a client whose `client_id` is a URL.
// `client_id` is that URL, byte for byte (DS-41); nothing secret has a place here (DS-42).

/** What a client of a relying app does with an ID-JAG: it gets one here and redeems it there (DS-48). */
const ID_JAG_CLIENT = {
  token_endpoint_auth_method: 'private_key_jwt',
  grant_types: [GRANT.tokenExchange, JWT_BEARER_GRANT],
  authorization_grant_profiles_supported: [ID_JAG_GRANT_PROFILE],
}

/** The platform as one client, whose keys are those of the issuer (DS-51). */
export const providerDocument = (issuer: string) => ({
  client_id: `${issuer}/agent-provider.json`,
  client_name: `Agents of ${new URL(issuer).host}`,
  client_uri: issuer,
  ...ID_JAG_CLIENT,
  jwks_uri: jwksUri(issuer),
})

type Jwk = Record<string, unknown>
type PublicAgent = { id: string; name: string; jwks_uri: string | null; jwks: Jwk[] }

/** One agent as a client of its own (DS-50). Undefined without keys: nobody could recognise it. */
export function agentDocument(issuer: string, { id, name, jwks_uri, jwks }: PublicAgent) {
  if (jwks_uri === null && jwks.length === 0) return undefined
  return {
    client_id: `${issuer}/agents/${id}/client.json`,
    client_name: name,
    client_uri: issuer,
    ...ID_JAG_CLIENT,
    ...(jwks_uri === null ? { jwks: { keys: jwks.map(publicMembers) } } : { jwks_uri }),
  }
}

const PUBLIC_MEMBERS = ['kty', 'crv', 'x', 'y', 'n', 'e', 'kid', 'use', 'alg']

const publicMembers = (jwk: Jwk): Jwk =>
  Object.fromEntries(
    PUBLIC_MEMBERS.filter((name) => typeof jwk[name] === 'string').map((name) => [name, jwk[name]]),
  )
