import Type, { type Static, type TSchema } from 'typebox'
import { REVOKED } from '../events/revocation-set.ts'
import { ListQuery } from '../http/list.ts'
import { GivenInstant, Instant, Line, Nullable, OneOf } from '../http/shapes.ts'
import { SIGNING_ALGS } from '../oauth/signing-alg.ts'
import { Discovered, PendingChange } from './discovery-schema.ts'
import { identifier, Resource, ShownResource } from './resource-schema.ts'

const PROFILES = ['idjag', 'mcp-ema', 'authmd-0.1', 'authmd-0.2', 'authmd-head'] as const
const STATUSES = ['active', 'suspended', 'retired'] as const
const CLAIMS = ['email', 'phone', 'name', 'tenant', 'act', 'aud_sub', 'aud_tenant'] as const

const Texts = (description: string, examples: string[][]) =>
  Type.Array(Type.String(), { description, examples })

export const Audience = Type.Object(
  {
    id: Type.String({ examples: ['aud_3kTMd0a1uQ4jZP5cYb7rxw'] }),
    tenant_id: Type.String({
      description: 'The tenant it belongs to',
      examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'],
    }),
    issuer: Type.String({ description: 'The `aud`', examples: ['https://auth.chat.example'] }),
    aliases: Texts('Other names by which a request may ask for it', [['urn:example:chat']]),
    name: Type.String({ description: 'What users call it', examples: ['Chat'] }),
    profile: OneOf(PROFILES, { description: 'How it consumes ID-JAGs', examples: ['idjag'] }),
    resources: Type.Array(ShownResource, {
      description: 'Its resources (RFC 8707) with the scopes of each: the catalogue',
    }),
    default_scopes: Texts('Asked for when a request names no scope', [['chat.read']]),
    default_resources: Texts('Meant when a request names no resource', [
      ['https://api.chat.example/'],
    ]),
    claims: Texts(
      'What its ID-JAGs say of the user beside `sub`; of auth.md profiles also the verified contact',
      [['email']],
    ),
    subject_type: OneOf(['public', 'pairwise'], {
      description:
        'public: the `sub` is the id of the user. pairwise: it is known in one sector alone',
      examples: ['public'],
    }),
    sector: Nullable(
      Type.String({ description: 'Of a pairwise audience', examples: ['chat.example'] }),
    ),
    acr_values: Texts(
      'Authentication context classes, one of which the sign-in of the user must have; none: any will do',
      [['urn:example:acr:mfa']],
    ),
    dpop_required: Type.Boolean({
      description: 'Whether its ID-JAGs are bound to a key of the agent (DPoP) without exception',
    }),
    max_auth_age: Nullable(
      Type.Integer({
        description: 'Seconds since the user signed in at which it refuses; null: it does not',
        examples: [3600],
      }),
    ),
    id_jag_lifetime: Nullable(
      Type.Integer({ description: 'Seconds; null: as this server has it', examples: [300] }),
    ),
    id_jag_signing_alg: Type.String({
      description: 'What its ID-JAGs are signed with',
      examples: ['ES256'],
    }),
    events_endpoint: Nullable(
      Type.String({
        description: 'Where it is told of revocations; null: nowhere',
        examples: ['https://auth.chat.example/agent/event/notify'],
      }),
    ),
    events_dialect: OneOf(['none', 'set', 'logout'], {
      description:
        'set: security event tokens (RFC 8935). logout: those of auth.md v0.1. none: it is not told',
      examples: ['set'],
    }),
    event_type: Nullable(
      Type.String({ description: 'URI of the event; null: the official one', examples: [REVOKED] }),
    ),
    event_names_agent: Type.Boolean({
      description: 'Whether it understands an event that names one agent',
    }),
    notify_expiry: Type.Boolean({
      description: 'Whether it is also told when a delegation ends by time alone',
    }),
    notify_when: OneOf(['each', 'last'], {
      description:
        'each: it is told at every ending. last: when the last delegation of the user there has ended',
      examples: ['each'],
    }),
    owner_id: Nullable(
      Type.String({
        description: 'The user who answers for it',
        examples: ['usr_5Qn3w1cJm0s5kYdE0b2x7A'],
      }),
    ),
    review_at: Nullable(Instant({ description: 'When someone should look at it again' })),
    status: OneOf(STATUSES, { examples: ['active'] }),
    status_reason: Nullable(Type.String({ description: 'Why an administrator last changed it' })),
    created_at: Instant(),
    updated_at: Instant(),
    discovered: Nullable(Discovered),
    pending_change: Nullable(PendingChange),
  },
  { additionalProperties: false },
)
export type Audience = Static<typeof Audience>

const resources = Type.Array(Resource, {
  maxItems: 100,
  description: 'Its resources (RFC 8707) with the scopes of each: the catalogue. mcp-ema needs one',
})

const optional = <Inner extends TSchema>(schema: Inner) => Type.Optional(Nullable(schema))

const settings = {
  aliases: optional(
    Type.Array(identifier(['urn:example:chat']), {
      maxItems: 100,
      uniqueItems: true,
      description:
        'Other names, URIs such as URNs, by which a request may ask for it; the `aud` is the issuer all the same. In a tenant a name means one audience',
    }),
  ),
  default_scopes: optional(
    Type.Array(Type.String({ maxLength: 128 }), {
      maxItems: 200,
      uniqueItems: true,
      description: 'Asked for when a request names no scope; of the catalogue',
      examples: [['chat.read']],
    }),
  ),
  default_resources: optional(
    Type.Array(identifier(['https://api.chat.example/']), {
      maxItems: 100,
      uniqueItems: true,
      description: 'Meant when a request names no resource; of the resources',
    }),
  ),
  claims: optional(
    Type.Array(OneOf(CLAIMS), {
      uniqueItems: true,
      description:
        'What its ID-JAGs say of the user beside `sub`; auth.md profiles always get the verified contact. aud_sub and aud_tenant come of the audience accounts of users',
      examples: [['email']],
    }),
  ),
  max_auth_age: optional(
    Type.Integer({
      minimum: 1,
      maximum: 315_360_000,
      description:
        'Seconds since the user signed in at which it refuses; more than the ID-JAG lifetime. 3600 for auth.md profiles unless given',
      examples: [3600],
    }),
  ),
  id_jag_lifetime: optional(
    Type.Integer({
      minimum: 60,
      maximum: 300,
      description: 'Seconds; never more than this server allows',
      examples: [300],
    }),
  ),
  id_jag_signing_alg: optional(
    OneOf(SIGNING_ALGS, {
      description: 'What its ID-JAGs are signed with; ES256 unless given',
      examples: ['ES256'],
    }),
  ),
  acr_values: optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 255, pattern: '^[\\x21-\\x7e]+$' }), {
      maxItems: 10,
      uniqueItems: true,
      description:
        'Authentication context classes (`acr`), one of which the sign-in of the user must have; any will do unless given',
      examples: [['urn:example:acr:mfa']],
    }),
  ),
  dpop_required: optional(
    Type.Boolean({
      description: 'Whether its ID-JAGs are bound to a key of the agent (DPoP) without exception',
    }),
  ),
  owner_id: optional(Type.String({ maxLength: 64, description: 'A user of the same tenant' })),
  review_at: optional(GivenInstant({ description: 'When someone should look at it again' })),
}

const DIALECTS = ['none', 'set', 'logout'] as const

/** How it hears that what it gave on the word of our ID-JAGs is to be dropped. */
const events = {
  events_endpoint: optional(
    Type.String({
      maxLength: 2048,
      description:
        'Where it takes events: of auth.md services the `events_endpoint`, for dialect logout the `revocation_uri`. Never the `revocation_endpoint` of RFC 7009',
      examples: ['https://auth.chat.example/agent/event/notify'],
    }),
  ),
  events_dialect: optional(
    OneOf(DIALECTS, {
      description:
        'set: security event tokens (RFC 8935). logout: those of auth.md v0.1. none: it is not told. set unless given, where there is an endpoint',
    }),
  ),
  event_type: optional(
    Type.String({
      maxLength: 512,
      description: 'The URI of the event, for an audience that spells it otherwise',
      examples: [REVOKED],
    }),
  ),
  event_names_agent: optional(
    Type.Boolean({
      description:
        'It understands an event that names one agent, and leaves what other agents hold alone. Its ID-JAGs then say who acts (`act`)',
    }),
  ),
  notify_expiry: optional(
    Type.Boolean({ description: 'It is also told when a delegation ends by time alone' }),
  ),
  notify_when: optional(
    OneOf(['each', 'last'], {
      description:
        'An event without an agent ends all that it gave for a user. each: it is told at every ending, and other agents of that user there come again with a new ID-JAG. last: when the last delegation of the user there has ended; until then what an ended one was given lives on. each unless given',
    }),
  ),
}

const name = Line(200, { description: 'What users call it', examples: ['Chat'] })

export const NewAudience = Type.Object(
  {
    issuer: identifier(['https://auth.chat.example']),
    name,
    profile: OneOf(PROFILES, {
      description: 'How it consumes ID-JAGs',
      examples: ['idjag'],
    }),
    resources,
    ...settings,
    ...events,
    subject_type: Type.Optional(
      OneOf(['public', 'pairwise'], {
        description:
          'public unless given: the `sub` is the id of the user. pairwise: it is known in one sector alone',
      }),
    ),
    sector: optional(
      Line(255, {
        description:
          'Of a pairwise audience: those of one sector are told the same `sub`. The host of the issuer, unless given',
        examples: ['chat.example'],
      }),
    ),
    tenant_id: Type.Optional(
      Type.String({ maxLength: 64, description: 'The default tenant, unless given' }),
    ),
  },
  { additionalProperties: false },
)
export type NewAudience = Static<typeof NewAudience>

/** What is given beside the address comes before what is found there. */
export type DiscoverAudience = Partial<NewAudience> & { discover: string }

/** Two ways to say it in one shape, so that a fault is told at the member it is in. */
export const RegisterAudience = Type.Unsafe<NewAudience | DiscoverAudience>({
  ...NewAudience,
  required: undefined,
  properties: {
    discover: Type.String({
      minLength: 1,
      maxLength: 2048,
      description:
        'Instead of all that is required otherwise: the address of the app, of its authorization server or of its metadata. What is found there is shown, and comes into force by approve-change. Members that are given too come before what was found; `issuer` then chooses one of several authorization servers',
      examples: ['https://api.chat.example/'],
    }),
    ...NewAudience.properties,
  },
  minProperties: 1,
  if: { required: ['discover'] },
  else: { required: NewAudience.required },
})

/** A merge patch: what is absent stays; null clears, or goes back to what is standard. */
export const AudiencePatch = Type.Object(
  {
    name: Type.Optional(name),
    resources: Type.Optional(resources),
    ...settings,
    ...events,
  },
  { additionalProperties: false, minProperties: 1 },
)
export type AudiencePatch = Static<typeof AudiencePatch>

export const AudienceQuery = Type.Object(
  {
    ...ListQuery.properties,
    status: Type.Optional(OneOf(STATUSES)),
    issuer: Type.Optional(Type.String({ maxLength: 512, description: 'Exactly as registered' })),
    owner_id: Type.Optional(Type.String({ maxLength: 64 })),
    tenant_id: Type.Optional(Type.String({ maxLength: 64 })),
    awaits_approval: Type.Optional(
      Type.Boolean({ description: 'Whether it has a `pending_change`' }),
    ),
  },
  { additionalProperties: false },
)
export type AudienceQuery = Static<typeof AudienceQuery>
