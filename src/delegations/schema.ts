import Type, { type Static, type TString } from 'typebox'
import { ListOf, ListQuery } from '../http/list.ts'
import { GivenInstant, Instant, Nullable, OneOf } from '../http/shapes.ts'
import { SCOPE_TOKEN_PATTERN } from '../oauth/scope.ts'

const MODES = ['once', 'always'] as const
const SOURCES = ['user', 'admin', 'policy'] as const
const STATUSES = ['active', 'consumed', 'expired', 'revoked'] as const

const Id = (example: string, options: object = {}) =>
  Type.String({ minLength: 1, maxLength: 64, examples: [example], ...options })
const UserId = () => Id('usr_5Qn3w1cJm0s5kYdE0b2x7A')
const AgentId = () => Id('agt_9f2Kc0VxTq6nJ1r8LwZs3g')
const AudienceId = () => Id('aud_b7Yd4PzR2mQe8HtX1uNc5w')
const Mode = () =>
  OneOf(MODES, {
    description: '`once`: spent by the first ID-JAG. `always`: until it ends',
    examples: ['always'],
  })
const Detail = (type: TString) =>
  Type.Object({ type }, { additionalProperties: true, examples: [{ type: 'payment' }] })

export const Delegation = Type.Object(
  {
    id: Id('dlg_Tg1sW8aXo4vC6mBkR3yPzQ'),
    user_id: UserId(),
    agent_id: AgentId(),
    audience_id: AudienceId(),
    scopes: Type.Array(Type.String(), { examples: [['chat.read']] }),
    resources: Nullable(
      Type.Array(Type.String(), {
        description: 'Null: every resource that the entitlement allows',
        examples: [['https://chat.example/api']],
      }),
    ),
    authorization_details: Nullable(
      Type.Array(Detail(Type.String({ examples: ['payment'] })), {
        description: 'RFC 9396. Null: every type that the entitlement allows',
      }),
    ),
    claims: Type.Array(Type.String(), {
      description:
        'What the audience may be told of the user beside `sub`: what it asked for when this was allowed',
      examples: [['email']],
    }),
    mode: Mode(),
    source: OneOf(SOURCES, { description: 'Who allowed it', examples: ['user'] }),
    offline: Type.Boolean({
      description:
        "Whether the agent may go on after the user's session has ended, with its refresh token",
    }),
    sub_asserted: Type.String({ description: 'The `sub` that the audience is told' }),
    text_version: Nullable(
      Type.String({ description: 'Version of the text that the user accepted', examples: ['1'] }),
    ),
    status: OneOf(STATUSES, { examples: ['active'] }),
    created_at: Instant(),
    expires_at: Nullable(Instant({ description: 'Null: until somebody ends it' })),
    consumed_at: Nullable(Instant()),
    revoked_at: Nullable(Instant()),
    end_reason: Nullable(
      Type.String({
        description:
          'Why it was revoked: `user`, `admin`, `agent` (it gave it up), `entitlement_ended`, the id of a revocation, or `replaced` by a newer one',
        examples: ['user'],
      }),
    ),
    last_minted_at: Nullable(Instant({ description: 'When the last ID-JAG rested on it' })),
  },
  { additionalProperties: false, title: 'Delegation' },
)
export type DelegationAnswer = Static<typeof Delegation>

export const NewDelegation = Type.Object(
  {
    user_id: UserId(),
    agent_id: AgentId(),
    audience_id: AudienceId(),
    scopes: Type.Array(Type.String({ pattern: SCOPE_TOKEN_PATTERN, maxLength: 200 }), {
      maxItems: 200,
      uniqueItems: true,
      description: 'Within the entitlement and the catalogue of the resources',
      examples: [['chat.read']],
    }),
    resources: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 2000 }), {
        minItems: 1,
        maxItems: 100,
        uniqueItems: true,
        description: 'Left out: every resource that the entitlement allows',
        examples: [['https://chat.example/api']],
      }),
    ),
    authorization_details: Type.Optional(
      Type.Array(Detail(Type.String({ minLength: 1, maxLength: 128 })), {
        maxItems: 20,
        description:
          'RFC 9396, of types that the entitlement allows and the resources know. Left out: none',
      }),
    ),
    mode: Mode(),
    expires_at: Type.Optional(
      GivenInstant({ description: 'Left out: until somebody ends it. Required with `offline`' }),
    ),
    offline: Type.Optional(
      Type.Boolean({
        description:
          "Whether the agent may go on after the user's session has ended, with its refresh token",
        default: false,
      }),
    ),
  },
  { additionalProperties: false },
)
export type NewDelegationBody = Static<typeof NewDelegation>

export const DelegationQuery = Type.Object(
  {
    ...ListQuery.properties,
    user_id: Type.Optional(UserId()),
    agent_id: Type.Optional(AgentId()),
    audience_id: Type.Optional(AudienceId()),
    status: Type.Optional(OneOf(STATUSES)),
  },
  { additionalProperties: false },
)
export const DelegationList = ListOf(Delegation)
