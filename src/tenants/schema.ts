import Type, { type Static } from 'typebox'
import { ListQuery } from '../http/list.ts'
import { Instant, Line, OneOf } from '../http/shapes.ts'

const name = (options: object) => Line(200, { examples: ['Orbit'], ...options })
const status = OneOf(['active', 'suspended'], { examples: ['active'] })

export const Tenant = Type.Object(
  {
    id: Type.String({ examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'] }),
    name: Type.String({ examples: ['Orbit'] }),
    status,
    created_at: Instant(),
  },
  { additionalProperties: false },
)
export type Tenant = Static<typeof Tenant>

export const NewTenant = Type.Object(
  { name: name({ description: 'What people call it' }) },
  { additionalProperties: false },
)
export type NewTenant = Static<typeof NewTenant>

export const TenantPatch = Type.Object(
  {
    name: Type.Optional(name({ description: 'What people call it' })),
    status: Type.Optional(
      OneOf(['active', 'suspended'], {
        description: 'Nothing is minted for a suspended tenant',
        examples: ['suspended'],
      }),
    ),
  },
  { additionalProperties: false, minProperties: 1 },
)
export type TenantPatch = Static<typeof TenantPatch>

export const TenantQuery = Type.Object(
  { ...ListQuery.properties, status: Type.Optional(status) },
  { additionalProperties: false },
)
