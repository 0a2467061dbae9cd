import Type, { type Static, type TSchema } from 'typebox'
import { ListQuery } from '../http/list.ts'
import { Instant, Line, Nullable, OneOf } from '../http/shapes.ts'

const email = Type.String({
  maxLength: 254,
  pattern: '^[^\\s@\\p{Cc}\\p{Cf}]+@[^\\s@\\p{Cc}\\p{Cf}]+$',
  description: 'Kept as given; unique in the tenant whatever its case',
  examples: ['kim@orbit.example'],
})
const phone = Type.String({
  maxLength: 16,
  pattern: '^\\+[1-9][0-9]{6,14}$',
  description: 'In E.164 form',
  examples: ['+4915123456789'],
})
const verified = (what: string) =>
  Type.Boolean({
    description: `Whether you vouch for the ${what}; relying apps are told so. A changed one starts unverified`,
    examples: [true],
  })
const name = Line(200, { description: 'What people call them', examples: ['Kim Reyes'] })
const password = Type.String({
  minLength: 8,
  maxLength: 1024,
  description: 'Kept as an argon2id hash; no answer ever shows it',
  examples: ['correct horse battery staple'],
})
const externalId = Line(255, {
  description: 'Your own id of this user; unique in the tenant',
  examples: ['emp-1027'],
})

export const User = Type.Object(
  {
    id: Type.String({
      description: 'Also their public `sub`',
      examples: ['usr_3kTMd0a1uQ4jZP5cYb7rxw'],
    }),
    tenant_id: Type.String({ examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'] }),
    email: Nullable(Type.String({ examples: ['kim@orbit.example'] })),
    email_verified: Type.Boolean({ description: 'Whether somebody vouched for it' }),
    email_verified_at: Nullable(Instant()),
    email_verified_by: Nullable(
      Type.String({ description: 'Admin key whose holder vouched for it, or `environment`' }),
    ),
    phone_number: Nullable(Type.String({ examples: ['+4915123456789'] })),
    phone_number_verified: Type.Boolean({ description: 'Whether somebody vouched for it' }),
    phone_verified_at: Nullable(Instant()),
    phone_verified_by: Nullable(
      Type.String({ description: 'Admin key whose holder vouched for it, or `environment`' }),
    ),
    name: Nullable(Type.String({ examples: ['Kim Reyes'] })),
    external_id: Nullable(Type.String({ examples: ['emp-1027'] })),
    status: OneOf(['active', 'suspended', 'deleted'], { examples: ['active'] }),
    created_at: Instant(),
    updated_at: Instant(),
    deleted_at: Nullable(Instant()),
  },
  { additionalProperties: false },
)
export type User = Static<typeof User>

export const NewUser = Type.Object(
  {
    email: Type.Optional(email),
    email_verified: Type.Optional(verified('e-mail address')),
    phone_number: Type.Optional(phone),
    phone_number_verified: Type.Optional(verified('phone number')),
    name: Type.Optional(name),
    password: Type.Optional(password),
    external_id: Type.Optional(externalId),
    tenant_id: Type.Optional(
      Type.String({ maxLength: 64, description: 'The default tenant, unless given' }),
    ),
  },
  { additionalProperties: false },
)
export type NewUser = Static<typeof NewUser>

const patched = <Inner extends TSchema>(schema: Inner) => Type.Optional(Nullable(schema))

/** A merge patch: what is absent stays, null clears. */
export const UserPatch = Type.Object(
  {
    email: patched(email),
    email_verified: patched(verified('e-mail address')),
    phone_number: patched(phone),
    phone_number_verified: patched(verified('phone number')),
    name: patched(name),
    password: patched(password),
    external_id: patched(externalId),
    status: Type.Optional(
      OneOf(['active', 'suspended', 'deleted'], {
        description:
          '`deleted` is final: contacts and credentials go, the id is never given to anyone else',
        examples: ['suspended'],
      }),
    ),
  },
  { additionalProperties: false, minProperties: 1 },
)
export type UserPatch = Static<typeof UserPatch>

export const UserQuery = Type.Object(
  {
    ...ListQuery.properties,
    status: Type.Optional(OneOf(['active', 'suspended', 'deleted'])),
    email: Type.Optional(Type.String({ maxLength: 254, description: 'Whatever its case' })),
    external_id: Type.Optional(Type.String({ maxLength: 255 })),
    tenant_id: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
)
export type UserQuery = Static<typeof UserQuery>
