import Type from 'typebox'
import { ListOf } from '../http/list.ts'
import { Instant, Nullable, OneOf } from '../http/shapes.ts'
import { SIGNING_ALGS } from './key-ring.ts'

const PURPOSES = ['id_token', 'id_jag', 'seal'] as const
const STATUSES = ['next', 'active', 'retired', 'removed', 'compromised'] as const

export const SigningKey = Type.Object({
  kid: Type.String({ description: 'RFC 7638 thumbprint' }),
  alg: Type.String({ examples: SIGNING_ALGS }),
  purpose: OneOf(PURPOSES, { description: 'The one kind of thing it signs' }),
  status: OneOf(STATUSES),
  proven: Type.Boolean({
    description:
      'Made by this server, as KEY_ENCRYPTION_KEY shows. False: somebody else wrote the row, and it counts for nothing',
  }),
  created_at: Instant(),
  published_at: Instant({ description: 'From then on every replica serves it' }),
  activated_at: Nullable(Instant({ description: 'Since then it signs' })),
  retired_at: Nullable(Instant({ description: 'Since then it signs no more' })),
  public_jwk: Type.Unsafe<Record<string, unknown>>({ type: 'object', additionalProperties: true }),
})

export const SigningKeys = ListOf(SigningKey)

export const RotateKeys = Type.Object(
  {
    alg: Type.Optional(OneOf(SIGNING_ALGS, { description: 'Only keys of this algorithm' })),
    purpose: Type.Optional(OneOf(PURPOSES, { description: 'Only keys of this purpose' })),
  },
  { additionalProperties: false },
)
