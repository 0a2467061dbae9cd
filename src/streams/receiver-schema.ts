import Type, { type Static } from 'typebox'
import { LastAnswer } from '../events/schema.ts'
import { ListQuery } from '../http/list.ts'
import { Instant, Line, Nullable, OneOf } from '../http/shapes.ts'
import { SSF_SCOPES } from '../oauth/names.ts'

const status = OneOf(['active', 'ended'], { examples: ['active'] })
const EXAMPLES = ['rcv_3kTMd0a1uQ4jZP5cYb7rxw']

const StreamOfReceiver = Type.Object(
  {
    id: Type.String({ examples: ['str_3kTMd0a1uQ4jZP5cYb7rxw'] }),
    method: OneOf(['push', 'poll'], {
      description: 'push: we send its events (RFC 8935). poll: it fetches them (RFC 8936)',
      examples: ['push'],
    }),
    status: OneOf(['enabled', 'paused', 'disabled'], {
      description: 'A paused stream keeps its events for a while, a disabled one drops them',
      examples: ['enabled'],
    }),
    status_reason: Nullable(
      Type.String({
        description: 'Why it was last changed, in the words of the receiver or ours',
        examples: ['We move to another host'],
      }),
    ),
    queued: Type.Integer({ description: 'Events that wait' }),
    last_delivered_at: Nullable(Instant()),
    failed: Type.Integer({
      description: 'Events that were refused for good or given up, within a week',
    }),
    last_failed_at: Nullable(Instant()),
    last_answer: Nullable({
      ...LastAnswer,
      description:
        'What its receiver said to an event that waits, or else to the one that failed last',
    }),
    created_at: Instant(),
  },
  { additionalProperties: false, description: 'The stream it has made, and how that fares' },
)

export const Receiver = Type.Object(
  {
    id: Type.String({ examples: EXAMPLES }),
    client_id: Type.String({ description: 'The same', examples: EXAMPLES }),
    tenant_id: Type.String({
      description: 'The tenant whose users it may hear of',
      examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'],
    }),
    name: Type.String({ examples: ['Paperclip sessions'] }),
    audience: Type.String({ description: 'The `aud` of its events' }),
    scopes: Type.Array(Type.String(), { examples: [[...SSF_SCOPES]] }),
    status,
    created_at: Instant(),
    created_by: Type.String({ description: 'Admin key that made it, or `environment`' }),
    ended_at: Nullable(Instant()),
    stream: Nullable(StreamOfReceiver),
    client_secret: Type.Optional(
      Type.String({ description: 'In the answer to its creation, and never again' }),
    ),
  },
  { additionalProperties: false },
)
export type Receiver = Static<typeof Receiver>

export const NewReceiver = Type.Object(
  {
    name: Line(100, { description: 'What it is', examples: ['Paperclip sessions'] }),
    audience: Type.String({
      minLength: 1,
      maxLength: 2048,
      description:
        'An absolute URI: the `aud` of its events, by which it knows that they are meant',
      examples: ['https://auth.paperclip.example/signals'],
    }),
    scopes: Type.Optional(
      Type.Array(OneOf(SSF_SCOPES), {
        minItems: 1,
        uniqueItems: true,
        description: 'What its tokens may be for; `ssf.manage` includes `ssf.read`. Default: both',
        examples: [[...SSF_SCOPES]],
      }),
    ),
    tenant_id: Type.Optional(
      Type.String({ description: 'It hears of users of this tenant alone', maxLength: 64 }),
    ),
  },
  { additionalProperties: false },
)
export type NewReceiver = Static<typeof NewReceiver>

export const ReceiverQuery = Type.Object(
  {
    ...ListQuery.properties,
    status: Type.Optional(status),
    tenant_id: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
)
