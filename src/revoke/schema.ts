import Type, { type Static, type TObject, type TProperties } from 'typebox'
import { Interrupts } from '../events/schema.ts'
import { ListOf } from '../http/list.ts'
import { Instant, Lines, Nullable, OneOf } from '../http/shapes.ts'

const Id = (example: string, description: string) =>
  Type.String({ minLength: 1, maxLength: 64, description, examples: [example] })
const named = {
  agent_id: Id('agt_9f2Kc0VxTq6nJ1r8LwZs3g', 'All that rests on this agent'),
  user_id: Id('usr_5Qn3w1cJm0s5kYdE0b2x7A', 'All that rests on this user'),
  audience_id: Id('aud_b7Yd4PzR2mQe8HtX1uNc5w', 'All that is for this relying app'),
  owner_id: Id('usr_5Qn3w1cJm0s5kYdE0b2x7A', 'All agents of this owner'),
  tenant_id: Id('ten_AAAAAAAAAAAAAAAAAAAAAA', 'Everything of this tenant'),
}
/** Lines, for a tool hands on what it was given, and nothing is to stay alive for a line end. */
const Reason = () =>
  Lines(1000, {
    description: 'For those who read the record later; relying apps and users never see it',
    examples: ['Key found in a public repository'],
  })

export const NewRevocation = Type.Object(
  {
    agent_id: Type.Optional(named.agent_id),
    user_id: Type.Optional(named.user_id),
    audience_id: Type.Optional(named.audience_id),
    owner_id: Type.Optional(named.owner_id),
    tenant_id: Type.Optional(named.tenant_id),
    reason: Reason(),
  },
  { additionalProperties: false, description: 'Exactly one id, and the reason' },
)
export type NewRevocation = Static<typeof NewRevocation>

const counts = {
  id: Id('rev_Vh2Lq8ZtN0sKx4CwY6mJ1e', 'The revocation'),
  delegations_revoked: Type.Integer({ description: 'Live delegations that it ended' }),
  refresh_tokens_revoked: Type.Integer({ description: 'Usable refresh tokens that it ended' }),
  events_queued: Type.Integer({ description: 'Events that it set on their way to relying apps' }),
}

const Withheld = Type.Integer({
  description:
    'Subjects of audiences with notify_when: last that other agents of the user may still come to: what was given there lives on, and the event follows when the last of them has ended. It is then counted here',
})

const interrupts = Type.Optional(
  Interrupts(
    'Other delegations, a hundred at the most, that stay as they are, and whose app ends what it gave under them all the same: it can only end everything for a user. Their agents come again with a new ID-JAG once the event has arrived',
  ),
)

const status = OneOf(['queued', 'delivered', 'failed'] as const, {
  description:
    'Of its events, all in all. queued: one is on its way, or withheld. failed: none is, and one failed. delivered: every one was, or there was nobody to tell',
  examples: ['queued'],
})

/** What an earlier release did not say is left out where the same `Idempotency-Key` brings its answer again. */
export const RequestedRevocation = Type.Object(
  {
    ...counts,
    created_at: Type.Optional(Instant()),
    status: Type.Optional(status),
    events_withheld: Type.Optional(Withheld),
    interrupts,
  },
  { additionalProperties: false },
)

const record = {
  ...counts,
  agent_id: Nullable(named.agent_id),
  user_id: Nullable(named.user_id),
  audience_id: Nullable(named.audience_id),
  owner_id: Nullable(named.owner_id),
  tenant_id: Nullable(named.tenant_id),
  reason: Reason(),
  admin_key_id: Nullable(
    Type.String({ description: 'Whose admin key asked for it', examples: ['environment'] }),
  ),
  created_at: Instant(),
}
export const Revocation = Type.Object(
  {
    ...record,
    status,
    events: Type.Object(
      {
        delivered: Type.Integer({ description: 'The relying app confirmed them' }),
        pending: Type.Integer({ description: 'On their way' }),
        failed: Type.Integer({
          description:
            'Refused for good or given up: GET /event-deliveries?revocation_id=&status=failed says why. Also what had failed, was sent again and was then dropped, for access was given anew: its status is superseded',
        }),
      },
      {
        additionalProperties: false,
        description:
          'The proof: of the events that it queued, and of those that were on their way for the same subjects before it',
      },
    ),
    events_withheld: Type.Optional(Withheld),
    interrupts,
    last_acknowledged_at: Nullable(
      Instant({ description: 'When the last relying app confirmed that it knows' }),
    ),
    seconds_to_last_acknowledgement: Nullable(
      Type.Number({ description: 'From this call to the last confirmation so far' }),
    ),
  },
  { additionalProperties: false, title: 'Revocation' },
)
export const RevocationList = ListOf(Type.Object(record, { additionalProperties: false }))

/** The body of a change of state; it may be left out. */
export const StateChange = Type.Unsafe<{ reason?: string } | null>({
  type: ['object', 'null'],
  properties: { reason: Reason() },
  additionalProperties: false,
})

/** A record as its own room shows it, and the revocation that came with its change. */
export const WithRevocation = <Properties extends TProperties>(shape: TObject<Properties>) =>
  Type.Object(
    {
      ...shape.properties,
      revocation_id: Type.Optional({
        ...counts.id,
        description: 'The revocation that this set in motion',
      }),
    },
    { additionalProperties: false },
  )

/** An audience as its own room shows it, and whom its approval told. */
export const ApprovedAudience = <Properties extends TProperties>(shape: TObject<Properties>) =>
  Type.Object(
    {
      ...shape.properties,
      events_queued: Type.Optional(
        Type.Integer({
          description:
            'Where the issuer became another one: events that it set on their way to the server of before, to drop what it gave',
        }),
      ),
    },
    { additionalProperties: false },
  )

export const Compromise = Type.Optional(
  Type.Object({ reason: Type.Optional(Reason()) }, { additionalProperties: false }),
)

export const CompromisedKey = Type.Object({
  kid: Type.String({ description: 'The key that was dropped', examples: ['jJ1wP0x…'] }),
  alg: Type.String({ description: 'What it signed with', examples: ['ES256'] }),
  purpose: OneOf(['id_token', 'id_jag', 'seal'] as const, {
    description: 'What it signed; a key for ID-JAGs signs events too',
    examples: ['id_jag'],
  }),
  status: OneOf(['compromised'] as const, { description: 'From now on it is of no use' }),
  compromised_at: Instant({ description: 'When it was first dropped' }),
  activated_at: Nullable(Instant({ description: 'Since then it signed. Null: it never did' })),
  sessions_ended: Type.Integer({ description: 'Sessions that this call ended' }),
  events_signed_anew: Type.Integer({
    description: 'Events that waited to be delivered and now have a new jti and another key',
  }),
  events_queued: Type.Integer({
    description: 'Events that tell audiences to end what they gave on the word of the key',
  }),
  complete: Type.Boolean({
    description: 'False: something was still in use; the server goes on by itself',
  }),
  still_accepted_until: Nullable(
    Instant({
      description:
        'Until then a consumer with a copy of the key set may accept what is signed by the key. Null: it was in no key set',
    }),
  ),
  notice: Type.String({
    description: 'In plain words: what has ended, what has not, and whom to tell',
  }),
  audiences: Type.Array(
    Type.Object({
      id: Type.String({
        description: 'The relying app',
        examples: ['aud_b7Yd4PzR2mQe8HtX1uNc5w'],
      }),
      name: Type.String({ description: 'What users call it', examples: ['Chat'] }),
      issuer: Type.String({ description: 'Its `aud`', examples: ['https://auth.chat.example'] }),
      owner_id: Nullable(
        Type.String({
          description: 'The user who answers for it: somebody to ask; null: nobody is named',
          examples: ['usr_5Qn3w1cJm0s5kYdE0b2x7A'],
        }),
      ),
      told: Type.Boolean({
        description:
          'An event was queued for it because of the key: GET /event-deliveries says when it has arrived',
      }),
    }),
    { description: 'Relying apps that may hold a copy of the key set: tell their operators' },
  ),
  receivers: Type.Array(
    Type.Object({
      id: Type.String({ description: 'The receiver', examples: ['rcv_3kTMd0a1uQ4jZP5cYb7rxw'] }),
      name: Type.String({ description: 'What it is', examples: ['Paperclip sessions'] }),
      audience: Type.String({
        description: 'The `aud` of its events',
        examples: ['https://auth.paperclip.example'],
      }),
    }),
    {
      description:
        'Of a key for ID-JAGs, which signs events too: receivers of Shared Signals, who take events by a copy of the key set. Tell their operators',
    },
  ),
})
