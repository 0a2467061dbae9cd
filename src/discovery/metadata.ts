import type { Config } from '../config.ts'
import { DPOP_ALGS } from '../oauth/dpop-key.ts'
import {
  CLIENT_CREDENTIALS_GRANT,
  DELEGATE_SCOPE,
  GRANT,
  OPENID_SCOPES,
  SSF_SCOPES,
  TOKEN_TYPE,
} from '../oauth/names.ts'
import { SIGNING_ALGS } from '../oauth/signing-alg.ts'

/** The four ways a client may authenticate at the token endpoint; `none` serves the code flow alone. */
const AUTH_METHODS = ['private_key_jwt', 'client_secret_basic', 'client_secret_post', 'none']
const ASSERTION_ALGS = ['ES256', 'RS256', 'EdDSA']
/** Of ID tokens. First the one that every OpenID Provider has, and that agents get unless they ask for another. */
const ID_TOKEN_ALGS = ['RS256', ...SIGNING_ALGS.filter((alg) => alg !== 'RS256')] as const

/** One URL, however often it is told (DS-51). */
export const jwksUri = (issuer: string): string => `${issuer}/.well-known/jwks.json`

type Settings = Pick<Config, 'issuer' | 'delegateTokens' | 'signingAlgs'>

/**
 * Server metadata for OAuth (RFC 8414) and OpenID Connect clients alike (DS-02). What is listed works,
 * and nothing that works is listed for some audience or client alone (DS-06, DS-12). Accepting ID-JAGs
 * is not listed: this server issues them (DS-11).
 */
export const serverMetadata = ({ issuer, delegateTokens, signingAlgs }: Settings) => ({
  issuer,
  authorization_endpoint: `${issuer}/oauth2/authorize`,
  token_endpoint: `${issuer}/oauth2/token`,
  jwks_uri: jwksUri(issuer),
  userinfo_endpoint: `${issuer}/oauth2/userinfo`,
  revocation_endpoint: `${issuer}/oauth2/revoke`,
  end_session_endpoint: `${issuer}/oauth2/logout`,
  response_types_supported: ['code'],
  response_modes_supported: ['query'],
  grant_types_supported: [
    GRANT.authorizationCode,
    GRANT.refreshToken,
    GRANT.tokenExchange,
    // For receivers of Shared Signals alone.
    CLIENT_CREDENTIALS_GRANT,
  ],
  token_endpoint_auth_methods_supported: AUTH_METHODS,
  token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGS,
  revocation_endpoint_auth_methods_supported: AUTH_METHODS,
  revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGS,
  dpop_signing_alg_values_supported: DPOP_ALGS,
  code_challenge_methods_supported: ['S256'],
  scopes_supported: [
    ...OPENID_SCOPES,
    ...(delegateTokens ? [DELEGATE_SCOPE] : []),
    // Of the same grant as above; elsewhere they are passed over, as unknown ones are.
    ...SSF_SCOPES,
  ],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ID_TOKEN_ALGS.filter((alg) => signingAlgs.includes(alg)),
  claims_supported: CLAIMS,
  prompt_values_supported: ['none', 'login', 'consent', 'select_account'],
  claims_parameter_supported: false,
  request_parameter_supported: false,
  request_uri_parameter_supported: false,
  authorization_response_iss_parameter_supported: true,
  identity_chaining_requested_token_types_supported: [TOKEN_TYPE.idJag],
  client_id_metadata_document_supported: true,
})

const CLAIMS = [
  'iss',
  'sub',
  'aud',
  'exp',
  'iat',
  'auth_time',
  'nonce',
  'amr',
  'sid',
  'name',
  'email',
  'email_verified',
  'phone_number',
  'phone_number_verified',
]
