import Type, { type Static } from 'typebox'
import { ListQuery } from '../http/list.ts'
import { Instant } from '../http/shapes.ts'
import { UserId } from './schema.ts'
import { SUBJECT_PATTERN } from './subject.ts'

const subject = { description: '`sub` of its ID tokens', examples: ['248289761001'] }

export const UpstreamAccount = Type.Object(
  {
    subject: Type.String(subject),
    user_id: UserId(),
    created_at: Instant(),
    created_by: Type.String({
      description:
        'Admin key that linked it, or `environment`; the id of the trusted issuer where an exchange did',
      examples: ['environment'],
    }),
  },
  { additionalProperties: false, title: 'UpstreamAccount' },
)
export type UpstreamAccount = Static<typeof UpstreamAccount>

export const NewUpstreamAccount = Type.Object(
  {
    subject: Type.String({ pattern: SUBJECT_PATTERN, ...subject }),
    user_id: UserId({ description: 'Whose account it is' }),
  },
  { additionalProperties: false },
)
export type NewUpstreamAccount = Static<typeof NewUpstreamAccount>

export const UpstreamAccountQuery = Type.Object(
  {
    ...ListQuery.properties,
    user_id: Type.Optional(UserId()),
    subject: Type.Optional(Type.String({ maxLength: 255, ...subject })),
  },
  { additionalProperties: false },
)
export type UpstreamAccountQuery = Static<typeof UpstreamAccountQuery>
