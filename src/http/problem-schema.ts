import Type from 'typebox'

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'The code, as a path', examples: ['/problems/not_found'] }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What was wrong and what to do' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          pointer: Type.String({ description: 'JSON pointer to the member', examples: ['/email'] }),
          detail: Type.String(),
        }),
      ),
    ),
    ready_at: Type.Optional(
      Type.String({ format: 'date-time', description: 'With too_early: when it will be possible' }),
    ),
  },
  { description: 'Problem details (RFC 9457)' },
)
