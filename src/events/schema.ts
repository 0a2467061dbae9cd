import Type, { type Static } from 'typebox'
import { ListOf, ListQuery } from '../http/list.ts'
import { Instant, Nullable, OneOf } from '../http/shapes.ts'
import { REVOKED } from './revocation-set.ts'

const STATUSES = ['queued', 'delivered', 'failed', 'superseded'] as const

const id = (example: string, description: string) =>
  Type.String({ description, examples: [example] })
const jti = (description: string) => id('019ab8e2c4f02fUJb5gSSSuB1zZz4ZkqVA', description)
const named = {
  audience_id: id('aud_b7Yd4PzR2mQe8HtX1uNc5w', 'The relying app that is told'),
  user_id: id('usr_5Qn3w1cJm0s5kYdE0b2x7A', 'The user it is about'),
  agent_id: id('agt_9f2Kc0VxTq6nJ1r8LwZs3g', 'The agent that it names'),
  revocation_id: id('rev_Vh2Lq8ZtN0sKx4CwY6mJ1e', 'The revocation that set it in motion'),
}

export const LastAnswer = Type.Object(
  {
    status: Type.Optional(Type.Integer({ description: 'HTTP status', examples: [400] })),
    err: Type.Optional(
      Type.String({
        description: 'Error code, as RFC 8935 §2.3 has it',
        examples: ['invalid_key'],
      }),
    ),
    description: Type.Optional(
      Type.String({ description: 'What the relying app said of it, shortened' }),
    ),
    failure: Type.Optional(
      Type.String({
        description: 'Why there is no answer, or none that can be read',
        examples: ['connect_failed', 'timeout', 'address_not_allowed'],
      }),
    ),
  },
  { additionalProperties: false },
)

/** Delegations that stay, and whose app ends what it gave under them all the same. */
export const Interrupts = (description: string) =>
  Type.Array(
    Type.Object(
      {
        delegation_id: id('dlg_0aJt5wYxkq8cV2mLh7RzSg', 'Id of the delegation'),
        user_id: id('usr_5Qn3w1cJm0s5kYdE0b2x7A', 'The user whose delegation it is'),
        agent_id: id('agt_9f2Kc0VxTq6nJ1r8LwZs3g', 'The agent that goes on with it'),
        audience_id: id('aud_b7Yd4PzR2mQe8HtX1uNc5w', 'The relying app where it goes on'),
      },
      { additionalProperties: false },
    ),
    { description },
  )

export const EventDelivery = Type.Object(
  {
    id: id('dlv_8sJx2mWqT4vKc1Zr6NbY0g', 'Id of the event delivery'),
    status: OneOf(STATUSES, {
      description:
        'queued: it is tried until expires_at. delivered: the relying app accepted it. failed: it was refused for good, or given up. superseded: another one says the same, or the user has consented again',
      examples: ['delivered'],
    }),
    tenant_id: Type.String({
      description: 'The tenant of the user',
      examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'],
    }),
    audience_id: named.audience_id,
    aud: Type.String({
      description: 'Whom the token is for: the issuer of the relying app',
      examples: ['https://auth.chat.example'],
    }),
    user_id: named.user_id,
    sub: Type.String({
      description: 'The user as the relying app knows them from ID-JAGs',
      examples: ['usr_5Qn3w1cJm0s5kYdE0b2x7A'],
    }),
    agent_id: Nullable({
      ...named.agent_id,
      description:
        'The agent that it names, for audiences that understand it. Null: it ends what every agent of the user was given there',
    }),
    revocation_id: Nullable(named.revocation_id),
    compromised_kid: Nullable(
      Type.String({ description: 'The compromised key because of which it is sent' }),
    ),
    cause: Nullable(
      Type.String({ description: 'What gave rise to it, in a word', examples: ['revocation'] }),
    ),
    endpoint: Type.String({
      description: 'Where it was sent last, or will be',
      examples: ['https://auth.chat.example/agent/event/notify'],
    }),
    dialect: OneOf(['set', 'logout'] as const, {
      description: 'set: a security event token (RFC 8935). logout: one of auth.md v0.1',
      examples: ['set'],
    }),
    event_type: Type.String({
      description: 'URI of the event in it',
      examples: [REVOKED],
    }),
    jti: jti('`jti` of the token that is sent, or was'),
    earlier_jtis: Type.Array(jti('A `jti` before'), {
      description:
        'It was signed anew: sent again by hand, refused as a replay, or its key was compromised',
    }),
    attempts: Type.Integer({ description: 'Since it was queued, or sent again by hand' }),
    created_at: Instant({ description: 'When it was queued, with what gave rise to it' }),
    next_attempt_at: Nullable(Instant({ description: 'Not before then; null: it is over' })),
    last_attempt_at: Nullable(Instant({ description: 'When it was last tried; null: not yet' })),
    last_answer: Nullable({
      ...LastAnswer,
      description: 'What the relying app said last; null: nothing was sent yet',
    }),
    delivered_at: Nullable(Instant({ description: 'When the relying app had accepted it' })),
    failed_at: Nullable(Instant({ description: 'When it was refused for good, or given up' })),
    superseded_at: Nullable(Instant({ description: 'When it was not needed any more' })),
    expires_at: Instant({ description: 'It is given up then' }),
    resent_at: Nullable(
      Instant({ description: 'When somebody had it sent again, or made to tell once more' }),
    ),
    seconds_to_acknowledgement: Nullable(
      Type.Number({ description: 'From being queued to being accepted', examples: [0.21] }),
    ),
    interrupts: Type.Optional(
      Interrupts(
        'Where one event is read: other delegations, a hundred at the most, that stay as they are, and whose app ends what it gave under them all the same, for the event is about every agent of the user',
      ),
    ),
  },
  { additionalProperties: false, title: 'EventDelivery' },
)
export type EventDelivery = Static<typeof EventDelivery>
export const EventDeliveries = ListOf(EventDelivery)

const asked = Type.Object({
  status: OneOf(STATUSES, { description: 'Events of this status alone', examples: ['failed'] }),
  ...named,
  agent_id: {
    ...named.agent_id,
    description:
      'Events that name the agent, and those about every agent of a user at a relying app where this one had a delegation before',
  },
  revocation_id: {
    ...named.revocation_id,
    description: 'Also events that were on their way when it asked for the same',
  },
})
export const EventDeliveryQuery = Type.Object(
  { ...ListQuery.properties, ...Type.Partial(asked).properties },
  { additionalProperties: false },
)

/** Nothing is chosen. */
export const Retry = Type.Object({}, { additionalProperties: false })
