import Type, { type Static } from 'typebox'

const one = (description: string, example?: string) =>
  Type.Optional(
    Type.String({ maxLength: 16 * 1024, description, ...(example ? { examples: [example] } : {}) }),
  )
const several = (description: string, example: string) =>
  Type.Optional(
    Type.Union(
      [
        Type.String({ maxLength: 2048 }),
        Type.Array(Type.String({ maxLength: 2048 }), { maxItems: 20 }),
      ],
      {
        description,
        examples: [example],
      },
    ),
  )
const correlation = (description: string) =>
  Type.Optional(Type.String({ maxLength: 256, pattern: '^[^\\p{Cc}]*$', description }))

/** The parameters of every grant; which of them a grant needs is for the grant to say. Unknown ones are ignored (TX-02). */
export const TokenRequest = Type.Object({
  grant_type: Type.String({
    description:
      'authorization_code, refresh_token, or the token-exchange URN; client_credentials for receivers of Shared Signals',
    examples: ['urn:ietf:params:oauth:grant-type:token-exchange'],
  }),
  client_id: one('Who asks; not needed beside an Authorization header', 'agt_…'),
  client_secret: one('client_secret_post'),
  client_assertion_type: one(
    'private_key_jwt',
    'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  ),
  client_assertion: one('private_key_jwt: a JWT signed by the agent, aud = issuer, single use'),
  requested_token_type: one('Token exchange', 'urn:ietf:params:oauth:token-type:id-jag'),
  audience: several('Token exchange: issuer of the relying app', 'https://auth.paperclip.example'),
  resource: several(
    'Token exchange: API at the relying app, repeatable',
    'https://api.paperclip.example/',
  ),
  authorization_details: one(
    'Token exchange: a JSON array of objects with a type (RFC 9396)',
    '[{"type":"payment_initiation"}]',
  ),
  actor_token: one('Token exchange: a JWT by the agent that acts for the client'),
  actor_token_type: one('Goes with actor_token', 'urn:ietf:params:oauth:token-type:jwt'),
  scope: one(
    'Space-separated; for token exchange these are scopes of the relying app',
    'docs.read',
  ),
  subject_token: one('Token exchange: the ID token or refresh token of the user'),
  subject_token_type: one('Token exchange', 'urn:ietf:params:oauth:token-type:id_token'),
  agent_platform: correlation('Token exchange: copied into ID-JAGs for auth.md audiences'),
  agent_context_id: correlation('Token exchange: copied into ID-JAGs for auth.md audiences'),
  code: one('authorization_code'),
  redirect_uri: one('authorization_code: as it was sent to the authorization endpoint'),
  code_verifier: one('authorization_code: PKCE (RFC 7636)'),
  refresh_token: one('refresh_token'),
})
export type TokenRequest = Static<typeof TokenRequest>

/** Of an answer: what was granted, and for how long. */
export const GRANTED = {
  expires_in: Type.Integer({ description: 'Seconds', examples: [300] }),
  scope: Type.Optional(Type.String({ description: 'What was granted', examples: ['docs.read'] })),
  resource: Type.Optional(
    Type.Union([Type.String(), Type.Array(Type.String())], {
      description: 'What it is for at the relying app: one, or several',
      examples: ['https://api.paperclip.example/'],
    }),
  ),
  authorization_details: Type.Optional(
    Type.Array(
      Type.Object({ type: Type.String({ examples: ['payment'] }) }, { additionalProperties: true }),
      {
        description: 'What of them was granted',
      },
    ),
  ),
}

export const TokenResponse = Type.Object(
  {
    access_token: Type.String({
      description: 'The ID-JAG for a token exchange; an access token otherwise',
    }),
    issued_token_type: Type.Optional(
      Type.String({
        description: 'Of a token exchange: what it is',
        examples: ['urn:ietf:params:oauth:token-type:id-jag'],
      }),
    ),
    token_type: Type.String({
      description: 'N_A of an ID-JAG, which is no access token',
      examples: ['N_A', 'Bearer', 'DPoP'],
    }),
    ...GRANTED,
    id_token: Type.Optional(
      Type.String({ description: 'Who signed in, and when: to be exchanged for ID-JAGs' }),
    ),
    refresh_token: Type.Optional(
      Type.String({ description: 'With the scope offline_access; good once' }),
    ),
  },
  { additionalProperties: false },
)
export type TokenResponse = Static<typeof TokenResponse>

export const OAuthErrorResponse = Type.Object({
  error: Type.String({ examples: ['interaction_required'] }),
  error_description: Type.String({ description: 'What was wrong and what to do' }),
  interaction_uri: Type.Optional(
    Type.String({ description: 'With interaction_required: open it in the browser of the user' }),
  ),
  expires_in: Type.Optional(Type.Integer({ description: 'Seconds that interaction_uri works' })),
  max_age: Type.Optional(
    Type.Integer({
      description: 'With insufficient_user_authentication: for the authorization request',
    }),
  ),
  acr_values: Type.Optional(
    Type.String({ description: 'With insufficient_user_authentication: space-separated' }),
  ),
})
