import Type from 'typebox'
import { ListOf, ListQuery } from '../http/list.ts'
import { Instant, Nullable, OneOf } from '../http/shapes.ts'
import { SIGNING_ALGS } from '../oauth/signing-alg.ts'

const PURPOSES = ['id_token', 'id_jag', 'seal'] as const
const STATUSES = ['next', 'active', 'retired', 'removed', 'compromised'] as const

export const SigningKey = Type.Object({
  kid: Type.String({ description: 'RFC 7638 thumbprint' }),
  alg: Type.String({ examples: SIGNING_ALGS }),
  purpose: OneOf(PURPOSES, { description: 'The one kind of thing it signs' }),
  status: OneOf(STATUSES, { description: 'Where it is in its life', examples: ['active'] }),
  proven: Type.Boolean({
    description:
      'Made by this server, as KEY_ENCRYPTION_KEY shows. False: somebody else wrote the row, and it counts for nothing',
  }),
  created_at: Instant(),
  published_at: Instant({ description: 'From then on every replica serves it' }),
  activated_at: Nullable(Instant({ description: 'Since then it signs' })),
  retired_at: Nullable(Instant({ description: 'Since then it signs no more' })),
  removed_at: Nullable(Instant({ description: 'Since then it is in no key set' })),
  compromised_at: Nullable(Instant({ description: 'Since then it counts for nothing' })),
  compromise_reason: Nullable(Type.String({ description: 'What the administrator gave' })),
  next_step: Nullable(
    OneOf(['activate', 'retire', 'remove'] as const, {
      description:
        'What is to become of it. Null: nothing; or it is retired and an event signed by it still waits to be delivered',
    }),
  ),
  next_step_at: Nullable(Instant({ description: 'When, unless somebody does it earlier' })),
  custody: Nullable(
    Type.String({
      description:
        'Where the private key is: local (encrypted in the database) or the name of the custody that holds it. Null: destroyed',
      examples: ['local', 'pkcs11'],
    }),
  ),
  key_encryption_keys: Type.Array(Type.String(), {
    description:
      'Name the values of KEY_ENCRYPTION_KEY that it needs, to be proved ours and, if its private key is local, to sign; they tell nothing of them',
    examples: [['3f9c2a71be04']],
  }),
  public_jwk: Type.Unsafe<Record<string, unknown>>({
    type: 'object',
    additionalProperties: true,
    description: 'Its public part (RFC 7517), as the key set publishes it',
    examples: [{ kty: 'EC', crv: 'P-256', x: '…', y: '…', kid: 'jJ1w…', alg: 'ES256', use: 'sig' }],
  }),
})

export const SigningKeys = ListOf(SigningKey)

export const KeyQuery = Type.Object(ListQuery.properties, { additionalProperties: false })

/** Nothing is chosen: it is all of them. */
export const RewrapKeys = Type.Object({}, { additionalProperties: false })

export const Rewrapped = Type.Object({
  private_keys: Type.Integer({ description: 'Private keys encrypted anew' }),
  proofs: Type.Integer({ description: 'Proofs of origin made anew' }),
  stream_headers: Type.Integer({
    description: 'Headers that receivers of Shared Signals want to see, encrypted anew',
  }),
  unproven: Type.Array(Type.String(), {
    description:
      'Keys that no value of KEY_ENCRYPTION_KEY proves, left as they are. If one of them is yours, an earlier value is missing here: put it back and rewrap before any value goes',
  }),
  key_encryption_key: Type.String({
    description:
      'Names the newest value of KEY_ENCRYPTION_KEY. Everything but the unproven is under it now',
    examples: ['3f9c2a71be04'],
  }),
})

export const RotateKeys = Type.Object(
  {
    alg: Type.Optional(OneOf(SIGNING_ALGS, { description: 'Only keys of this algorithm' })),
    purpose: Type.Optional(OneOf(PURPOSES, { description: 'Only keys of this purpose' })),
  },
  { additionalProperties: false },
)
