import Type, { type Static } from 'typebox'
import { Instant, Nullable, OneOf } from '../http/shapes.ts'
import { GRANTED } from './schema.ts'

// The shapes of the auth.md provider guide's calls. Unknown members are ignored, as they are in forms.

const some = (description: string, example: string, maxLength = 2048) =>
  Type.Optional(Type.String({ maxLength, description, examples: [example] }))
const correlation = () =>
  Type.Optional(
    Type.String({
      maxLength: 256,
      pattern: '^[^\\p{Cc}]*$',
      description: 'Copied into ID-JAGs for auth.md audiences',
    }),
  )

/** What is asked for, of an ID-JAG or a grant. */
const asked = {
  audience: Type.String({
    minLength: 1,
    maxLength: 2048,
    description: 'Issuer of the relying app',
    examples: ['https://auth.paperclip.example'],
  }),
  resource: Type.Optional(
    Type.Union(
      [
        Type.String({ maxLength: 2048 }),
        Type.Array(Type.String({ maxLength: 2048 }), { maxItems: 20 }),
      ],
      { description: 'API at the relying app', examples: ['https://api.paperclip.example/'] },
    ),
  ),
  scope: some('Scopes of the relying app, space-separated', 'docs.read', 16 * 1024),
  authorization_details: Type.Optional(
    Type.Unknown({
      description: 'An array of objects with a type (RFC 9396)',
      examples: [[{ type: 'payment_initiation' }]],
    }),
  ),
}

export const IdJagRequest = Type.Object({
  ...asked,
  actor_token: some('A JWT by the agent that acts for this one', 'eyJ…', 16 * 1024),
  actor_token_type: some('Goes with actor_token', 'urn:ietf:params:oauth:token-type:jwt'),
  agent_platform: correlation(),
  agent_context_id: correlation(),
})
export type IdJagRequest = Static<typeof IdJagRequest>

export const IdJagResponse = Type.Object(
  {
    assertion_type: Type.String({ examples: ['urn:ietf:params:oauth:token-type:id-jag'] }),
    assertion: Type.String({ description: 'The ID-JAG' }),
    ...GRANTED,
  },
  { additionalProperties: false },
)
export type IdJagResponse = Static<typeof IdJagResponse>

export const GrantRequest = Type.Object({
  ...asked,
  mode: Type.Optional(
    OneOf(['once', 'always'], { description: 'A wish: the user decides', examples: ['always'] }),
  ),
})
export type GrantRequest = Static<typeof GrantRequest>

export const Grant = Type.Object(
  {
    id: Type.String({ examples: ['dlg_Tg1sW8aXo4vC6mBkR3yPzQ'] }),
    audience: Type.String({
      description: 'Issuer of the relying app',
      examples: ['https://auth.paperclip.example'],
    }),
    scopes: Type.Array(Type.String(), { examples: [['docs.read']] }),
    resources: Nullable(
      Type.Array(Type.String(), {
        description: 'Null: every resource there that the agent is admitted to',
        examples: [['https://api.paperclip.example/']],
      }),
    ),
    mode: OneOf(['once', 'always'], { description: '`once`: spent by the first ID-JAG' }),
    source: OneOf(['user', 'admin', 'policy'], { description: 'Who allowed it' }),
    created_at: Instant(),
    expires_at: Nullable(Instant({ description: 'Null: until somebody ends it' })),
    status: Type.String({ examples: ['active'] }),
  },
  { additionalProperties: false, title: 'Grant' },
)
export type Grant = Static<typeof Grant>

export const GrantList = Type.Object({ grants: Type.Array(Grant) })

export const GrantPending = Type.Object(
  {
    status: Type.String({ examples: ['pending'] }),
    interaction_uri: Type.String({ description: 'Open it in the browser of the user' }),
    expires_in: Type.Integer({ description: 'Seconds that it works', examples: [600] }),
  },
  { additionalProperties: false },
)
export type GrantPending = Static<typeof GrantPending>

export const BearerErrorResponse = Type.Object(
  {
    error: Type.String({ examples: ['consent_required'] }),
    error_description: Type.String({ description: 'What was wrong and what to do' }),
    message: Type.String({ description: 'The same words' }),
    interaction_uri: Type.Optional(
      Type.String({ description: 'With consent_required: open it in the browser of the user' }),
    ),
    expires_in: Type.Optional(Type.Integer({ description: 'Seconds that interaction_uri works' })),
    max_age: Type.Optional(
      Type.Integer({
        description: 'With insufficient_user_authentication: for the authorization request',
      }),
    ),
    acr_values: Type.Optional(
      Type.String({ description: 'With insufficient_user_authentication: space-separated' }),
    ),
  },
  { title: 'BearerError' },
)
