import Type, { type Static } from 'typebox'
import { ListQuery } from '../http/list.ts'
import { Instant, Line, Nullable } from '../http/shapes.ts'

/** Which account at a relying app is this user's. */
export const AudienceAccount = Type.Object(
  {
    user_id: Type.String({ examples: ['usr_3kTMd0a1uQ4jZP5cYb7rxw'] }),
    audience_id: Type.String({ examples: ['aud_b7Yd4PzR2mQe8HtX1uNc5w'] }),
    aud_sub: Type.String({ examples: ['kim-1027'] }),
    aud_tenant: Nullable(Type.String({ examples: ['orbit'] })),
    created_at: Instant(),
    updated_at: Instant(),
  },
  { additionalProperties: false, title: 'AudienceAccount' },
)
export type AudienceAccount = Static<typeof AudienceAccount>

export const GivenAudienceAccount = Type.Object(
  {
    aud_sub: Line(255, {
      description: 'The account, by the name that the relying app has for it; one user’s alone',
      examples: ['kim-1027'],
    }),
    aud_tenant: Type.Optional(
      Nullable(
        Line(255, {
          description: 'The organisation there that the account belongs to',
          examples: ['orbit'],
        }),
      ),
    ),
  },
  { additionalProperties: false, description: 'The whole account: what is left out is cleared' },
)
export type GivenAudienceAccount = Static<typeof GivenAudienceAccount>

export const AudienceAccountQuery = Type.Object(
  { ...ListQuery.properties },
  { additionalProperties: false },
)
