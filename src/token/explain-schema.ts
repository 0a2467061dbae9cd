import Type, { type Static } from 'typebox'
import { GivenInstant, Nullable, OneOf } from '../http/shapes.ts'
import { TOKEN_TYPE } from '../oauth/names.ts'

/** Characters of a parameter. */
export const LONGEST_TEXT = 16 * 1024

const Id = (example: string, options: object = {}) =>
  Type.String({ minLength: 1, maxLength: 64, examples: [example], ...options })
const Uri = () => Type.String({ minLength: 1, maxLength: 2048 })
const OneOrMore = (example: string, options: object) =>
  Type.Union([Uri(), Type.Array(Uri(), { minItems: 1, maxItems: 20 })], {
    examples: [example],
    ...options,
  })
const Details = () => Type.Array(Type.Object({}, { additionalProperties: true }))

/** An exchange, by what its tokens and proofs would show: parameters as they would be sent. */
export const ExplainRequest = Type.Object(
  {
    agent_id: Id('agt_9f2Kc0VxTq6nJ1r8LwZs3g', { description: 'The client' }),
    user_id: Id('usr_5Qn3w1cJm0s5kYdE0b2x7A', { description: 'The user of the subject token' }),
    audience: OneOrMore('https://auth.paperclip.example', {
      description: 'As the agent sends it: issuer or alias of the relying app',
    }),
    resource: Type.Optional(
      OneOrMore('https://api.paperclip.example/', { description: 'API at the relying app' }),
    ),
    scope: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: LONGEST_TEXT,
        description: 'Space-separated; left out: the default scopes of the audience',
        examples: ['docs.read'],
      }),
    ),
    authorization_details: Type.Optional(
      Type.Union([Details(), Type.String({ minLength: 1, maxLength: LONGEST_TEXT })], {
        description: 'RFC 9396: the array, or its text',
        examples: [[{ type: 'payment_initiation' }]],
      }),
    ),
    auth_time: Type.Optional(
      Nullable(GivenInstant({ description: 'When the user signed in. Left out or null: now' })),
    ),
    acr: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        description: 'Authentication context class of the sign-in. Left out: none',
        examples: ['urn:example:acr:mfa'],
      }),
    ),
    session: Type.Optional(
      OneOf(['live', 'ended'] as const, {
        description: 'Whether the session of the user lives. Left out: `live`',
      }),
    ),
    subject_token_type: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 256,
        description: 'Left out: an ID token',
        examples: [TOKEN_TYPE.idToken, TOKEN_TYPE.refreshToken],
      }),
    ),
    subject_issuer: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 512,
        description: 'Issuer of an ID token that this server did not make. Left out: this server',
        examples: ['https://login.orbit.example'],
      }),
    ),
    subject_client_id: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 255,
        description:
          'The client of `subject_issuer` that its token is for. Left out: the right one',
        examples: ['orbit-web'],
      }),
    ),
    dpop: Type.Optional(
      Type.Boolean({
        description:
          'Whether a good DPoP proof, by the right key, comes with it. Left out: `false`',
      }),
    ),
    actor_id: Type.Optional(
      Id('agt_Xw5bT0uYkq2VnE7sJd4hRg', {
        description: 'An agent that acts for the client, with a good actor token',
      }),
    ),
  },
  { additionalProperties: false },
)
export type ExplainRequest = Static<typeof ExplainRequest>

const Missing = Type.Object(
  {
    rule: Type.String({
      description: 'The rule, by its id in docs/protocol.md',
      examples: ['TX-12'],
    }),
    detail: Type.String({ description: 'What is missing, and what would mend it' }),
    record: Type.Optional(
      Type.String({
        description: 'Id of the record that stands in the way, or would have to change',
      }),
    ),
  },
  { additionalProperties: false },
)
export type Missing = Static<typeof Missing>

export const Explanation = Type.Object(
  {
    granted: Type.Boolean({ description: 'Whether the exchange would be answered with an ID-JAG' }),
    scope: Type.Optional(Type.String({ examples: ['docs.read'] })),
    resource: Type.Optional(
      Type.Union([Type.String(), Type.Array(Type.String())], {
        description: 'What it is for at the relying app: one, or several',
        examples: ['https://api.paperclip.example/'],
      }),
    ),
    authorization_details: Type.Optional(Details()),
    claims: Type.Optional(
      Type.Array(Type.String(), {
        description: 'What the audience would be told of the user beside `sub`',
        examples: [['email']],
      }),
    ),
    delegation_id: Type.Optional(
      Nullable(
        Type.String({
          description:
            'What it rests on. Null: the first mint makes the delegation, without asking',
        }),
      ),
    ),
    error: Type.Optional(
      Type.String({ description: 'As the agent is told', examples: ['invalid_scope'] }),
    ),
    error_description: Type.Optional(Type.String({ description: 'As the agent is told' })),
    max_age: Type.Optional(
      Type.Integer({ description: 'Seconds: how new the sign-in would have to be' }),
    ),
    acr_values: Type.Optional(
      Type.String({ description: 'Space-separated: what the sign-in would have to be' }),
    ),
    reason: Type.Optional(
      Type.String({ description: 'As in the audit log', examples: ['scope_not_entitled'] }),
    ),
    missing: Type.Array(Missing, { description: 'Empty when it is granted' }),
  },
  { additionalProperties: false, title: 'Explanation' },
)
export type Explanation = Static<typeof Explanation>
