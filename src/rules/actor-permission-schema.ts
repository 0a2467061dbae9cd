import Type, { type Static } from 'typebox'
import { Nullable } from '../http/shapes.ts'
import { SCOPE_TOKEN_PATTERN } from '../oauth/scope.ts'
import { AgentId, AudienceId, GivenRule, Id, RuleQuery, ruleMembers, UserId } from './schema.ts'

const agent = { description: 'The agent that is acted for' }
const actor = {
  description: 'The agent that may act for it',
  examples: ['agt_Xw3nB7kQe1VtR9yUoS5pLg'],
}
const scopes = (options: object) =>
  Type.Array(Type.String({ pattern: SCOPE_TOKEN_PATTERN, maxLength: 200 }), {
    examples: [['chat.read']],
    ...options,
  })

export const ActorPermission = Type.Object(
  {
    id: Id('apm_1bGd7oNj4UiPqM9eTz3XwE'),
    tenant_id: Type.String({ examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'] }),
    agent_id: AgentId(agent),
    actor_id: AgentId(actor),
    user_id: Nullable(UserId({ description: 'Null: for any user' })),
    audience_id: Nullable(AudienceId({ description: 'Null: at any audience' })),
    scopes: Nullable(scopes({ description: 'Null: whatever the agent itself may have' })),
    ...ruleMembers,
  },
  { additionalProperties: false, title: 'ActorPermission' },
)

export const NewActorPermission = Type.Object(
  {
    agent_id: AgentId(agent),
    actor_id: AgentId(actor),
    user_id: Type.Optional(UserId({ description: 'Left out: for any user' })),
    audience_id: Type.Optional(AudienceId({ description: 'Left out: at any audience' })),
    scopes: Type.Optional(
      scopes({
        minItems: 1,
        maxItems: 200,
        uniqueItems: true,
        description: 'The most that the actor may be granted. Left out: what the agent itself may',
      }),
    ),
    ...GivenRule.properties,
  },
  { additionalProperties: false },
)
export type NewActorPermission = Static<typeof NewActorPermission>

export const ActorPermissionQuery = Type.Object(
  {
    ...RuleQuery.properties,
    agent_id: Type.Optional(AgentId(agent)),
    actor_id: Type.Optional(AgentId(actor)),
  },
  { additionalProperties: false },
)
