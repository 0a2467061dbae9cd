import Type, { type Static } from 'typebox'
import { ADMIN_RESOURCES } from '../http/admin-door.ts'
import { ListQuery } from '../http/list.ts'
import { GivenInstant, Instant, Line, Nullable, OneOf } from '../http/shapes.ts'

const Scope = OneOf(
  ['*', ...ADMIN_RESOURCES.flatMap((name) => [`${name}:read`, `${name}:write`] as const)],
  {
    description: '`<resource>:read`, `<resource>:write`, or `*` for all',
  },
)
const status = OneOf(['active', 'ended'], {
  description: 'A key past its end has ended',
  examples: ['active'],
})

export const AdminKey = Type.Object(
  {
    id: Type.String({ examples: ['adm_3kTMd0a1uQ4jZP5cYb7rxw'] }),
    name: Type.String({ examples: ['deploy pipeline'] }),
    scopes: Type.Array(Type.String(), { examples: [['agents:read', 'agents:write']] }),
    status,
    created_at: Instant(),
    created_by: Nullable(Type.String({ description: 'Admin key that made it, or `environment`' })),
    expires_at: Nullable(Instant()),
    ended_at: Nullable(Instant({ description: 'When it was ended by hand' })),
    key: Type.Optional(
      Type.String({
        description: 'The key itself: in the answer to its creation, and never again',
      }),
    ),
  },
  { additionalProperties: false },
)
export type AdminKey = Static<typeof AdminKey>

export const NewAdminKey = Type.Object(
  {
    name: Line(100, { description: 'What it is for', examples: ['deploy pipeline'] }),
    scopes: Type.Array(Scope, {
      minItems: 1,
      uniqueItems: true,
      description: 'None that the key making this call does not hold',
      examples: [['agents:read', 'agents:write']],
    }),
    expires_at: GivenInstant({
      description:
        'When it stops working; in the future, and no later than the key making this call does',
    }),
  },
  { additionalProperties: false },
)
export type NewAdminKey = Static<typeof NewAdminKey>

export const AdminKeyQuery = Type.Object(
  { ...ListQuery.properties, status: Type.Optional(status) },
  { additionalProperties: false },
)
