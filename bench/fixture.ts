/** What one load run needs to know of a server: its doors, and the exchanges to go round. */
import type { Jwk } from './jwt.ts'

export interface Case {
  client_id: string
  /** The agent's private key, EC P-256. */
  jwk: Jwk
  subject_token: string
  subject_token_type: string
  audience: string
  resource: string
  scope: string
}

export interface Fixture {
  name: string
  issuer: string
  token_endpoint: string
  jwks_uri: string
  assertion_audience: string
  /** How many assertions per second of load are signed ahead. */
  expected_rps: number
  /** Every request carries a DPoP proof, by the agent's own key. */
  dpop?: boolean
  cases: Case[]
}

export const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token'
export const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag'
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** The form of an exchange, up to the assertion, which must be fresh each time and comes last. */
export function exchangeForm(of: Case): string {
  const form = new URLSearchParams({
    grant_type: TOKEN_EXCHANGE,
    requested_token_type: ID_JAG,
    subject_token: of.subject_token,
    subject_token_type: of.subject_token_type,
    audience: of.audience,
    resource: of.resource,
    scope: of.scope,
    client_assertion_type: JWT_BEARER,
  })
  return `${form}&client_assertion=`
}
