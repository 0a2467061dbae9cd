import Type, { type TProperties } from 'typebox'

// For the API reference: these documents leave as prepared text.

const Document = (members: TProperties, options: object) =>
  Type.Unsafe<object>(Type.Object(members, { ...options, additionalProperties: true }))

const BASE = 'https://id.orbit.example'

const url = (path: string, description: string) =>
  Type.String({ description, examples: [`${BASE}${path}`] })
const words = (description: string, example: readonly string[]) =>
  Type.Array(Type.String(), { description, examples: [example] })
const yes = (description: string) => Type.Boolean({ description })

const issuer = url('', 'This server: the `iss` of what it signs')
const jwks_uri = url('/.well-known/jwks.json', 'Its public keys')
const METHODS = ['private_key_jwt', 'client_secret_basic', 'client_secret_post', 'none']
const ALGS = ['ES256', 'RS256', 'EdDSA']
const clientMethods = () => words('How a client may prove who it is there', METHODS)
const clientAlgs = () => words('What private_key_jwt may be signed with there', ALGS)

export const Metadata = Document(
  {
    issuer,
    authorization_endpoint: url('/oauth2/authorize', 'Where users are sent to sign in'),
    token_endpoint: url('/oauth2/token', 'Where codes, refresh tokens and ID tokens are exchanged'),
    jwks_uri,
    userinfo_endpoint: url('/oauth2/userinfo', 'What an access token tells of its user'),
    revocation_endpoint: url(
      '/oauth2/revoke',
      'Where an agent gives up a refresh token (RFC 7009)',
    ),
    end_session_endpoint: url('/oauth2/logout', 'Where users are sent to sign out'),
    response_types_supported: words('Of the authorization endpoint', ['code']),
    response_modes_supported: words('How the code comes back', ['query']),
    grant_types_supported: words('What the token endpoint takes', [
      'authorization_code',
      'refresh_token',
      'urn:ietf:params:oauth:grant-type:token-exchange',
      'client_credentials',
    ]),
    token_endpoint_auth_methods_supported: clientMethods(),
    token_endpoint_auth_signing_alg_values_supported: clientAlgs(),
    revocation_endpoint_auth_methods_supported: clientMethods(),
    revocation_endpoint_auth_signing_alg_values_supported: clientAlgs(),
    dpop_signing_alg_values_supported: words('What DPoP proofs may be signed with (RFC 9449)', [
      'ES256',
    ]),
    code_challenge_methods_supported: words('PKCE (RFC 7636), which every code needs', ['S256']),
    scopes_supported: words(
      'Scopes of this server; those of relying apps are not among them. The two `ssf.` ones are for receivers of Shared Signals',
      ['openid', 'profile', 'email', 'phone', 'offline_access', 'ssf.manage', 'ssf.read'],
    ),
    subject_types_supported: words('Of the `sub` of ID tokens', ['public']),
    id_token_signing_alg_values_supported: words('What ID tokens may be signed with', [
      'RS256',
      'ES256',
    ]),
    claims_supported: words('What ID tokens and userinfo may say', ['iss', 'sub', 'aud', 'email']),
    prompt_values_supported: words('Of the authorization endpoint', ['none', 'login', 'consent']),
    claims_parameter_supported: yes('Whether `claims` is read: no'),
    request_parameter_supported: yes('Whether `request` is read: no'),
    request_uri_parameter_supported: yes('Whether `request_uri` is read: no'),
    authorization_response_iss_parameter_supported: yes(
      'Whether the answer of the authorization endpoint says `iss` (RFC 9207): yes',
    ),
    identity_chaining_requested_token_types_supported: words('What an ID token is exchanged for', [
      'urn:ietf:params:oauth:token-type:id-jag',
    ]),
    client_id_metadata_document_supported: yes(
      'Whether the `client_id` may be the URL of a metadata document, where a rule of an administrator allows it: yes',
    ),
  },
  {
    description: 'Metadata as RFC 8414 and OpenID Connect Discovery name it',
  },
)

const Jwk = Type.Object(
  {
    kty: Type.String({ description: 'Kind of key', examples: ['EC', 'RSA', 'OKP'] }),
    kid: Type.String({ description: 'The name that signatures give', examples: ['jJ1wP0x…'] }),
    alg: Type.String({ description: 'The one algorithm it is for', examples: ['ES256'] }),
    use: Type.String({ description: 'Always for signatures', examples: ['sig'] }),
  },
  {
    additionalProperties: true,
    description: 'A public key, with the members of its kind: `crv` `x` `y`, or `n` `e`',
  },
)

export const Jwks = Document(
  { keys: Type.Array(Jwk, { description: 'Those that sign, that will, and that did of late' }) },
  { description: 'A JWK Set (RFC 7517)' },
)

export const PublicClient = Document({}, { description: 'A client ID metadata document' })

export const Transmitter = Document(
  {
    spec_version: Type.String({ description: 'Of Shared Signals', examples: ['1_0'] }),
    issuer,
    jwks_uri,
    delivery_methods_supported: words('Push (RFC 8935) and poll (RFC 8936)', [
      'urn:ietf:rfc:8935',
      'urn:ietf:rfc:8936',
    ]),
    configuration_endpoint: url('/ssf/stream', 'Where a stream is made, read, changed and ended'),
    status_endpoint: url('/ssf/status', 'Where a stream is paused, disabled and enabled'),
    add_subject_endpoint: url('/ssf/subjects/add', 'Where a receiver asks for a user'),
    remove_subject_endpoint: url('/ssf/subjects/remove', 'Where it takes that back'),
    verification_endpoint: url('/ssf/verify', 'Where it asks for an event to try the stream'),
    critical_subject_members: words('What a receiver has to understand of a complex subject', [
      'user',
    ]),
    authorization_schemes: Type.Array(
      Type.Object({
        spec_urn: Type.String({ description: 'OAuth 2.0', examples: ['urn:ietf:rfc:6749'] }),
      }),
      { description: 'How a receiver proves who it is: by an access token of the token endpoint' },
    ),
    default_subjects: Type.String({
      description: 'Whom a new stream is about: nobody',
      examples: ['NONE'],
    }),
  },
  {
    description: 'Transmitter configuration metadata as SSF 1.0 names it',
  },
)

/** The document is what the client has: the one that its `If-None-Match` names. */
export const NotModified = Type.Null()
