import Type, { type Static } from 'typebox'
import { ListQuery } from '../http/list.ts'
import { GivenInstant, Instant, Nullable, OneOf } from '../http/shapes.ts'

const status = OneOf(['active', 'ended'], { examples: ['active'] })
const consent = OneOf(['user', 'admin'], {
  description:
    'Who allows the agent to act for a user there: the user, asked once, or this entitlement, for all',
  examples: ['user'],
})

export const Entitlement = Type.Object(
  {
    id: Type.String({ examples: ['ent_3kTMd0a1uQ4jZP5cYb7rxw'] }),
    tenant_id: Type.String({ examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'] }),
    agent_id: Type.String({
      description: 'Whom it is for',
      examples: ['agt_9f2Kc0VxTq6nJ1r8LwZs3g'],
    }),
    audience_id: Type.String({
      description: 'The relying app',
      examples: ['aud_b7Yd4PzR2mQe8HtX1uNc5w'],
    }),
    client_id: Nullable(Type.String({ description: 'What the agent is called there' })),
    scopes: Type.Array(Type.String(), { examples: [['chat.read']] }),
    resources: Nullable(
      Type.Array(Type.String(), { description: 'null: every resource of the audience' }),
    ),
    authorization_details_types: Nullable(
      Type.Array(Type.String(), { description: 'null: every type that the audience catalogues' }),
    ),
    consent,
    expires_at: Nullable(Instant()),
    status,
    created_at: Instant(),
    updated_at: Instant(),
    ended_at: Nullable(Instant({ description: 'When it was ended by hand' })),
  },
  { additionalProperties: false },
)
export type Entitlement = Static<typeof Entitlement>

export const GivenEntitlement = Type.Object(
  {
    client_id: Type.Optional(
      Nullable(
        Type.String({
          minLength: 1,
          maxLength: 512,
          pattern: '^[\\x20-\\x7e]+$',
          description:
            'What the agent is called there. idjag and mcp-ema audiences get nothing without it; auth.md ones know agents by this server',
          examples: ['orbit-planner'],
        }),
      ),
    ),
    scopes: Type.Array(Type.String({ maxLength: 128 }), {
      maxItems: 500,
      uniqueItems: true,
      description: 'The most it may ever be granted; of the catalogue of the audience',
      examples: [['chat.read', 'chat.write']],
    }),
    resources: Type.Optional(
      Nullable(
        Type.Array(Type.String({ maxLength: 512 }), {
          minItems: 1,
          maxItems: 100,
          uniqueItems: true,
          description: 'Of the audience; every one of them unless given',
          examples: [['https://api.chat.example/']],
        }),
      ),
    ),
    authorization_details_types: Type.Optional(
      Nullable(
        Type.Array(Type.String({ maxLength: 128 }), {
          maxItems: 100,
          uniqueItems: true,
          description:
            'Types of authorization details (RFC 9396), of the catalogue of the audience; every one of them unless given, none for an empty list',
          examples: [['payment']],
        }),
      ),
    ),
    consent,
    expires_at: Type.Optional(
      Nullable(GivenInstant({ description: 'When it ends; in the future' })),
    ),
  },
  {
    additionalProperties: false,
    description: 'The whole entitlement: what is left out is cleared',
  },
)
export type GivenEntitlement = Static<typeof GivenEntitlement>

export const EntitlementQuery = Type.Object(
  {
    ...ListQuery.properties,
    status: Type.Optional(status),
    audience_id: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
)
export type EntitlementQuery = Static<typeof EntitlementQuery>
