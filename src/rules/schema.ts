import Type, { type Static } from 'typebox'
import { ListQuery } from '../http/list.ts'
import { GivenInstant, Instant, Lines, Nullable, OneOf } from '../http/shapes.ts'
import { RULE_STATUSES } from './rule.ts'

/** What the shapes of all kinds of rules share. */

export const Id = (example: string, options: object = {}) =>
  Type.String({ minLength: 1, maxLength: 64, examples: [example], ...options })
export const UserId = (options?: object) => Id('usr_5Qn3w1cJm0s5kYdE0b2x7A', options)
export const AgentId = (options?: object) => Id('agt_9f2Kc0VxTq6nJ1r8LwZs3g', options)
export const AudienceId = (options?: object) => Id('aud_b7Yd4PzR2mQe8HtX1uNc5w', options)

const status = OneOf(RULE_STATUSES, {
  description: '`ended`: by an administrator. `expired`: by its own end',
  examples: ['active'],
})
const reason = { description: 'For those who read the rule later', examples: ['Ticket 4711'] }

/** Of an answer, after what the rule says. */
export const ruleMembers = {
  reason: Nullable(Type.String(reason)),
  status,
  created_at: Instant(),
  created_by: Type.String({
    description: 'Admin key that made it, or `environment`',
    examples: ['environment'],
  }),
  expires_at: Nullable(Instant({ description: 'Null: until an administrator ends it' })),
  ended_at: Nullable(Instant({ description: 'When it was ended by hand' })),
}

export const Reason = () => Lines(1000, reason)

export const GivenRule = Type.Object({
  expires_at: Type.Optional(
    GivenInstant({ description: 'When it ends; in the future. Left out: when somebody ends it' }),
  ),
  reason: Type.Optional(Reason()),
})
export type GivenRule = Static<typeof GivenRule>

export const RuleQuery = Type.Object({ ...ListQuery.properties, status: Type.Optional(status) })
export type RuleQuery = Static<typeof RuleQuery>
