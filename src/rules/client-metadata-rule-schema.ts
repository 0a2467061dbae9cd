import Type, { type Static } from 'typebox'
import { GivenInstant, Instant, Line, Lines, Nullable } from '../http/shapes.ts'
import { AgentId, GivenRule, Id, RuleQuery, ruleMembers, UserId } from './schema.ts'

const url = {
  description:
    'The one client with this client_id may come. Its document is read at once, and its agent made',
  examples: ['https://planner.example/oauth/client.json'],
}
const host = {
  description:
    'Any client may come whose client_id is a URL on this host, without a query. The agent of each is made at its first request that holds',
  examples: ['planner.example'],
}
const owner = { description: 'The active user who answers for the agents that come of it' }
const purpose = {
  description: 'What they are for, as their users will read it',
  examples: ['Books business trips'],
}
const environment = { examples: ['production'] }
const agentEnd = {
  description: 'When the access of the agents ends; in the future. Not the end of the rule',
}

export const ClientMetadataRule = Type.Object(
  {
    id: Id('cmr_Pz6wLk1XeV9oRt3bYc8NdQ'),
    tenant_id: Type.String({ examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'] }),
    url: Nullable(Type.String(url)),
    host: Nullable(Type.String(host)),
    owner_id: UserId(owner),
    purpose: Type.String(purpose),
    environment: Nullable(Type.String(environment)),
    agent_expires_at: Instant(agentEnd),
    ...ruleMembers,
    agent_id: Type.Optional(
      AgentId({ description: 'The agent of a rule for a URL, in the answer to its creation' }),
    ),
  },
  { additionalProperties: false, title: 'ClientMetadataRule' },
)

const given = {
  url: Type.Optional(Type.String({ maxLength: 1024, ...url })),
  host: Type.Optional(Type.String({ maxLength: 255, ...host })),
}

export const NewClientMetadataRule = Type.Object(
  {
    ...given,
    owner_id: UserId(owner),
    purpose: Lines(2000, purpose),
    environment: Type.Optional(Line(64, environment)),
    agent_expires_at: GivenInstant(agentEnd),
    ...GivenRule.properties,
    tenant_id: Type.Optional(
      Type.String({ maxLength: 64, description: 'The tenant of the owner, if given at all' }),
    ),
  },
  { additionalProperties: false, description: 'Either a url or a host' },
)
export type NewClientMetadataRule = Static<typeof NewClientMetadataRule>

export const ClientMetadataRuleQuery = Type.Object(
  {
    ...RuleQuery.properties,
    ...given,
    owner_id: Type.Optional(UserId()),
    tenant_id: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
)
