import Type, { type Static } from 'typebox'
import { Line } from '../http/shapes.ts'
import { SCOPE_TOKEN_PATTERN } from '../oauth/scope.ts'

/**
 * A type of RFC 9396, alone or with what a user is to read of it. One schema of two types rather than a
 * union, so that a fault is told at the member it is in.
 */
const DetailsType = Type.Unsafe<string | { type: string; description?: string }>({
  ...Line(128),
  ...Type.Object(
    {
      type: Line(128, { examples: ['payment'] }),
      description: Type.Optional(
        Line(500, { description: 'For the consent page', examples: ['Make a payment'] }),
      ),
    },
    { additionalProperties: false },
  ),
  type: ['string', 'object'],
  examples: ['payment'],
})
export type GivenDetailsType = Static<typeof DetailsType>

export const ShownResource = Type.Object(
  {
    identifier: Type.String({ examples: ['https://api.chat.example/'] }),
    scopes: Type.Array(
      Type.Object(
        {
          name: Type.String({ description: 'The scope', examples: ['chat.read'] }),
          description: Type.Optional(
            Type.String({ description: 'For the consent page', examples: ['Read your messages'] }),
          ),
        },
        { additionalProperties: false },
      ),
    ),
    authorization_details_types: Type.Optional(
      Type.Array(DetailsType, {
        description: 'The types of authorization details (RFC 9396) it knows',
      }),
    ),
  },
  { additionalProperties: false },
)

export const identifier = (examples: string[]) =>
  Type.String({ minLength: 1, maxLength: 512, examples })

export const Resource = Type.Object(
  {
    identifier: identifier(['https://api.chat.example/']),
    scopes: Type.Array(
      Type.Object(
        {
          name: Type.String({
            maxLength: 128,
            pattern: SCOPE_TOKEN_PATTERN,
            examples: ['chat.read'],
          }),
          description: Type.Optional(
            Line(500, { description: 'For the consent page', examples: ['Read your messages'] }),
          ),
        },
        { additionalProperties: false },
      ),
      { maxItems: 200 },
    ),
    authorization_details_types: Type.Optional(
      Type.Array(DetailsType, {
        maxItems: 100,
        description: 'The types of authorization details (RFC 9396) it knows',
      }),
    ),
  },
  { additionalProperties: false },
)
