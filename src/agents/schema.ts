import Type, { type Static } from 'typebox'
import { ListQuery } from '../http/list.ts'
import { GivenInstant, Instant, Line, Lines, Nullable, OneOf } from '../http/shapes.ts'
import { GRANT } from '../oauth/names.ts'
import { SIGNING_ALGS } from '../oauth/signing-alg.ts'

export const AUTH_METHODS = [
  'private_key_jwt',
  'client_secret_basic',
  'client_secret_post',
  'none',
] as const
const STATUSES = ['requested', 'active', 'suspended', 'retired'] as const

const shown = {
  id: Type.String({ examples: ['agt_3kTMd0a1uQ4jZP5cYb7rxw'] }),
  client_id: Type.String({
    description: 'The same as `id`, or the URL of its client metadata document',
    examples: ['agt_3kTMd0a1uQ4jZP5cYb7rxw'],
  }),
  tenant_id: Type.String({
    description: 'The tenant it belongs to',
    examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'],
  }),
  name: Type.String({ description: 'What users call it', examples: ['Travel planner'] }),
  purpose: Nullable(
    Type.String({
      description: 'What it is for, shown to users',
      examples: ['Books trips you agreed to'],
    }),
  ),
  owner_id: Nullable(Type.String({ description: 'The user who answers for it' })),
  environment: Nullable(Type.String({ examples: ['production'] })),
  expires_at: Nullable(Instant({ description: 'From then on it is refused' })),
  token_endpoint_auth_method: OneOf(AUTH_METHODS, {
    description: 'How it proves who it is',
    examples: ['private_key_jwt'],
  }),
  jwks_uri: Nullable(
    Type.String({
      description: 'Where its public keys are read; null: they are credentials of its own here',
      examples: ['https://planner.example/jwks.json'],
    }),
  ),
  redirect_uris: Type.Array(Type.String(), {
    description: 'Where users may come back to it',
    examples: [['https://planner.example/callback']],
  }),
  grant_types: Type.Array(Type.String(), {
    description: 'What it may ask the token endpoint for',
    examples: [[GRANT.authorizationCode, GRANT.refreshToken, GRANT.tokenExchange]],
  }),
  id_token_signed_response_alg: Type.String({
    description: 'What its ID tokens are signed with',
    examples: ['RS256'],
  }),
  dpop_bound_access_tokens: Type.Boolean({
    description: 'Whether all its access tokens are bound to a key of its own (DPoP)',
  }),
  status: OneOf(STATUSES, { examples: ['active'] }),
  status_reason: Nullable(Type.String({ description: 'Why an administrator last changed it' })),
  last_used_at: Nullable(Instant({ description: 'When it was last issued an ID-JAG' })),
  created_at: Instant(),
  updated_at: Instant(),
}

export const Agent = Type.Object(shown, { additionalProperties: false })
export type Agent = Static<typeof Agent>

export const CreatedAgent = Type.Object(
  {
    ...shown,
    client_secret: Type.Optional(
      Type.String({ description: 'Its secret, if it has one: in this answer, and never again' }),
    ),
  },
  { additionalProperties: false },
)
export type CreatedAgent = Static<typeof CreatedAgent>

/** RFC 7517 §4: members that are not understood are ignored. */
const Jwk = Type.Object(
  { kty: Type.String({ maxLength: 16 }), kid: Type.Optional(Type.String({ maxLength: 128 })) },
  {
    additionalProperties: true,
    description:
      'A public key: EC P-256, RSA of 2048 bits or more, or Ed25519. Without a `kid` it is known by its RFC 7638 thumbprint',
    examples: [
      {
        kty: 'EC',
        crv: 'P-256',
        x: 'MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4',
        y: '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM',
      },
    ],
  },
)

const name = Line(200, { description: 'What people call it', examples: ['Travel planner'] })
const purpose = Lines(2000, {
  description: 'What it is for, as its users will read it',
  examples: ['Books business trips'],
})
const ownerId = Type.String({
  maxLength: 64,
  description: 'The active user of the same tenant who answers for it',
  examples: ['usr_3kTMd0a1uQ4jZP5cYb7rxw'],
})
const environment = Line(64, { examples: ['production'] })
const expiresAt = GivenInstant({ description: 'When its access ends; in the future' })
const jwksUri = Type.String({
  maxLength: 2048,
  description: 'Where it publishes its public keys',
  examples: ['https://planner.example/jwks.json'],
})
const redirectUris = Type.Array(Type.String({ maxLength: 2048 }), {
  maxItems: 20,
  uniqueItems: true,
  description: 'Compared character by character; https, http on loopback, or a private-use scheme',
  examples: [['https://planner.example/callback']],
})
const grantTypes = Type.Array(Type.String({ maxLength: 100 }), {
  minItems: 1,
  maxItems: 10,
  uniqueItems: true,
  description: `Of ${Object.values(GRANT).join(', ')}; all of them unless given, without the last for a public client`,
  examples: [[GRANT.tokenExchange]],
})
const idTokenAlg = OneOf(SIGNING_ALGS, { description: 'RS256 unless given' })
const dpopBound = Type.Boolean({
  description: 'Every token request must carry a DPoP proof (RFC 9449 §5.2)',
})

export const NewAgent = Type.Object(
  {
    name,
    purpose,
    owner_id: ownerId,
    expires_at: expiresAt,
    token_endpoint_auth_method: OneOf(AUTH_METHODS, {
      description:
        'private_key_jwt needs either jwks or jwks_uri; a secret is made for the methods with one and works either way; none is for code flow alone',
      examples: ['private_key_jwt'],
    }),
    jwks: Type.Optional(
      Type.Object(
        { keys: Type.Array(Jwk, { minItems: 1, maxItems: 2 }) },
        {
          additionalProperties: true,
          description: 'Its public keys, one or two',
        },
      ),
    ),
    jwks_uri: Type.Optional(jwksUri),
    redirect_uris: Type.Optional(redirectUris),
    grant_types: Type.Optional(grantTypes),
    environment: Type.Optional(environment),
    id_token_signed_response_alg: Type.Optional(idTokenAlg),
    dpop_bound_access_tokens: Type.Optional(dpopBound),
    tenant_id: Type.Optional(
      Type.String({ maxLength: 64, description: 'The default tenant, unless given' }),
    ),
  },
  { additionalProperties: false },
)
export type NewAgent = Static<typeof NewAgent>

/** A merge patch: what is absent stays; null clears, or goes back to what is standard. */
export const AgentPatch = Type.Object(
  {
    name: Type.Optional(name),
    purpose: Type.Optional(purpose),
    owner_id: Type.Optional(ownerId),
    expires_at: Type.Optional(expiresAt),
    environment: Type.Optional(Nullable(environment)),
    jwks_uri: Type.Optional(Nullable(jwksUri)),
    redirect_uris: Type.Optional(Nullable(redirectUris)),
    grant_types: Type.Optional(Nullable(grantTypes)),
    id_token_signed_response_alg: Type.Optional(Nullable(idTokenAlg)),
    dpop_bound_access_tokens: Type.Optional(Nullable(dpopBound)),
  },
  { additionalProperties: false, minProperties: 1 },
)
export type AgentPatch = Static<typeof AgentPatch>

export const AgentQuery = Type.Object(
  {
    ...ListQuery.properties,
    status: Type.Optional(OneOf(STATUSES)),
    owner_id: Type.Optional(Type.String({ maxLength: 64 })),
    environment: Type.Optional(Type.String({ maxLength: 64 })),
    client_id: Type.Optional(Type.String({ maxLength: 1024 })),
    tenant_id: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
)
export type AgentQuery = Static<typeof AgentQuery>

const credentialStatus = OneOf(['active', 'ended'], {
  description: 'Whether it still proves anything',
  examples: ['active'],
})

export const Credential = Type.Object(
  {
    id: Type.String({ examples: ['crd_3kTMd0a1uQ4jZP5cYb7rxw'] }),
    kind: OneOf(['jwk', 'secret'], { description: 'A public key, or a secret', examples: ['jwk'] }),
    kid: Nullable(Type.String({ description: 'Of a key' })),
    status: credentialStatus,
    created_at: Instant(),
    ended_at: Nullable(Instant()),
    client_secret: Type.Optional(
      Type.String({ description: 'In the answer to its creation, and never again' }),
    ),
  },
  { additionalProperties: false },
)
export type Credential = Static<typeof Credential>

export const NewCredential = Type.Object(
  { jwk: Type.Optional(Jwk) },
  {
    additionalProperties: false,
    description:
      'A public key for an agent with keys; nothing for one with secrets: it is made here',
  },
)
export type NewCredential = Static<typeof NewCredential>

export const CredentialQuery = Type.Object(
  { ...ListQuery.properties, status: Type.Optional(credentialStatus) },
  { additionalProperties: false },
)
export type CredentialQuery = Static<typeof CredentialQuery>
