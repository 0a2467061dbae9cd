import Type, { type Static } from 'typebox'
import { OneOf } from '../http/shapes.ts'
import { DELIVERY_METHOD } from '../oauth/names.ts'

// Members that are not named here are ignored, as SSF has it; those that are ours have to be as we say.

const example = 'str_3kTMd0a1uQ4jZP5cYb7rxw'
const stream_id = Type.String({ maxLength: 64, description: 'The stream', examples: [example] })
const uris = (description: string) =>
  Type.Array(Type.String({ maxLength: 512 }), { maxItems: 100, description, examples: [EXAMPLE] })
const EXAMPLE = ['https://schemas.openid.net/secevent/caep/event-type/session-revoked']

const Delivery = Type.Object(
  {
    method: Type.String({
      maxLength: 200,
      description: 'RFC 8935 (push) or RFC 8936 (poll)',
      examples: Object.values(DELIVERY_METHOD),
    }),
    endpoint_url: Type.Optional(
      Type.String({
        maxLength: 2048,
        description:
          'Push: where events are sent. Poll: where they are fetched, which is ours to say',
        examples: ['https://auth.paperclip.example/signals'],
      }),
    ),
    authorization_header: Type.Optional(
      Type.String({
        maxLength: 4096,
        description:
          'Push: sent along with each event. It is kept encrypted and never shown; PATCH keeps it for as long as the address is the same',
      }),
    ),
  },
  { description: 'Without it: poll' },
)
export type Delivery = Static<typeof Delivery>

const given = {
  delivery: Type.Optional(Delivery),
  events_requested: Type.Optional(uris('The event types it wants; without it none')),
  description: Type.Optional(
    Type.String({ maxLength: 512, description: 'For people', examples: ['Sessions, push'] }),
  ),
}

const Ours = () => Type.Optional(Type.Unknown({ description: 'Ours: as it is, or absent' }))
const ours = {
  iss: Ours(),
  aud: Ours(),
  events_supported: Ours(),
  events_delivered: Ours(),
  min_verification_interval: Ours(),
  inactivity_timeout: Ours(),
}

export const NewStream = Type.Object({
  ...given,
  stream_id: Type.Optional(Type.Unknown({ description: 'Ours: absent' })),
  ...ours,
})
export type NewStream = Static<typeof NewStream>

export const StreamChange = Type.Object({ stream_id, ...given, ...ours })
export type StreamChange = Static<typeof StreamChange>

export const Configuration = Type.Object({
  stream_id: Type.String({ description: 'The stream', examples: [example] }),
  iss: Type.String({
    description: 'Our issuer, which its events come from',
    examples: ['https://id.orbit.example'],
  }),
  aud: Type.String({
    description: 'The receiver, whom its events are for: as an administrator enrolled it',
    examples: ['https://auth.paperclip.example'],
  }),
  events_supported: Type.Array(Type.String(), {
    description: 'All event types there are here',
    examples: [
      [...EXAMPLE, 'https://schemas.openid.net/secevent/caep/event-type/credential-change'],
    ],
  }),
  events_requested: Type.Array(Type.String(), {
    description: 'Those that the receiver asked for, known here or not',
    examples: [EXAMPLE],
  }),
  events_delivered: Type.Array(Type.String(), {
    description: 'Those of both',
    examples: [EXAMPLE],
  }),
  delivery: Type.Object(
    {
      method: Type.String({
        description: 'RFC 8935 (push) or RFC 8936 (poll)',
        examples: [DELIVERY_METHOD.poll],
      }),
      endpoint_url: Type.String({
        description: 'Push: where we send events. Poll: where they are fetched',
        examples: ['https://id.orbit.example/ssf/poll/str_3kTMd0a1uQ4jZP5cYb7rxw'],
      }),
    },
    { description: 'How events get to the receiver. A header given for push is never shown' },
  ),
  min_verification_interval: Type.Integer({ description: 'Seconds' }),
  inactivity_timeout: Type.Integer({
    description:
      'Seconds without a poll, or of a push endpoint without success: then it is disabled',
  }),
  description: Type.Optional(
    Type.String({ description: 'For people, as it was given', examples: ['Sessions, push'] }),
  ),
})

export const StreamQuery = Type.Object({
  stream_id: Type.Optional(Type.String({ description: 'The stream' })),
})
export const StreamNamed = Type.Object({ stream_id: Type.String({ description: 'The stream' }) })

const status = OneOf(['enabled', 'paused', 'disabled'], {
  description: 'A paused stream keeps its events for a while, a disabled one drops them',
})

export const Status = Type.Object({
  stream_id: Type.String({ description: 'The stream', examples: [example] }),
  status,
  reason: Type.Optional(
    Type.String({
      description: 'Why it was last changed, in the words of whoever did it: the receiver or we',
      examples: ['We move to another host'],
    }),
  ),
})

export const StatusChange = Type.Object({
  stream_id,
  status,
  reason: Type.Optional(Type.String({ maxLength: 512, description: 'In words' })),
  subject: Type.Optional(Type.Unknown({ description: 'Not supported: the status is of all' })),
})
export type StatusChange = Static<typeof StatusChange>

export const SubjectOfStream = Type.Object({
  stream_id,
  subject: Type.Object(
    {},
    {
      additionalProperties: true,
      description:
        'RFC 9493: `iss_sub` with our issuer, `email`, or `complex` with such a `user`, perhaps a `session` (the `sid` of our ID tokens) and the `tenant`',
      examples: [{ format: 'iss_sub', iss: 'https://id.orbit.example', sub: 'usr_R81' }],
    },
  ),
  verified: Type.Optional(Type.Boolean({ description: 'Whether the receiver has verified it' })),
})
export type SubjectOfStream = Static<typeof SubjectOfStream>

export const VerificationRequest = Type.Object({
  stream_id,
  state: Type.Optional(
    Type.String({ maxLength: 1024, description: 'Comes back in the event', examples: ['x7Fq'] }),
  ),
})
export type VerificationRequest = Static<typeof VerificationRequest>

const JTI = Type.String({ maxLength: 128 })

export const PollRequest = Type.Object({
  maxEvents: Type.Optional(
    Type.Integer({ minimum: 0, description: 'At the most; 0 only acknowledges', examples: [20] }),
  ),
  returnImmediately: Type.Optional(
    Type.Boolean({ description: 'False, the default: waits a while for an event' }),
  ),
  ack: Type.Optional(
    Type.Array(JTI, { maxItems: 1000, description: 'The `jti` of events that were taken' }),
  ),
  setErrs: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({
        err: Type.Optional(Type.String({ maxLength: 256 })),
        description: Type.Optional(Type.String({ maxLength: 4096 })),
      }),
      {
        maxProperties: 100,
        description:
          'By `jti`: events that were refused, and why. With `invalid_key` it comes again after ten minutes, for a day, for a copy of the key set may be old',
        examples: [{ '0199…': { err: 'invalid_audience', description: 'Not for us' } }],
      },
    ),
  ),
})
export type PollRequest = Static<typeof PollRequest>

export const PollAnswer = Type.Object({
  sets: Type.Record(Type.String(), Type.String(), { description: 'By `jti`: signed events' }),
  moreAvailable: Type.Boolean({ description: 'Whether more wait: ask again at once' }),
})
export type PollAnswer = Static<typeof PollAnswer>

export const SsfErrorResponse = Type.Object({
  err: Type.String({ examples: ['invalid_request'] }),
  description: Type.String({ description: 'What was wrong and what to do' }),
})
