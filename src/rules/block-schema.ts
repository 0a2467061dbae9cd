import Type, { type Static } from 'typebox'
import { Nullable } from '../http/shapes.ts'
import {
  AgentId,
  AudienceId,
  GivenRule,
  Id,
  Reason,
  RuleQuery,
  ruleMembers,
  UserId,
} from './schema.ts'

export const Block = Type.Object(
  {
    id: Id('blk_8mZr2tQvW5xYcL0sHd6KfA'),
    tenant_id: Type.String({ examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'] }),
    user_id: Nullable(UserId({ description: 'Null: any' })),
    agent_id: Nullable(AgentId({ description: 'Null: any' })),
    audience_id: Nullable(AudienceId({ description: 'Null: any' })),
    ...ruleMembers,
  },
  { additionalProperties: false, title: 'Block' },
)

export const NewBlock = Type.Object(
  {
    user_id: Type.Optional(UserId()),
    agent_id: Type.Optional(AgentId()),
    audience_id: Type.Optional(AudienceId()),
    ...GivenRule.properties,
    reason: Reason(),
  },
  {
    additionalProperties: false,
    description:
      'At least one id. What is left out stands for any: a user alone is blocked for all agents, everywhere',
  },
)
export type NewBlock = Static<typeof NewBlock>

export const BlockQuery = Type.Object(
  {
    ...RuleQuery.properties,
    user_id: Type.Optional(UserId()),
    agent_id: Type.Optional(AgentId()),
    audience_id: Type.Optional(AudienceId()),
  },
  { additionalProperties: false },
)
