import Type, { type Static } from 'typebox'
import { ListQuery } from '../http/list.ts'
import { GivenInstant, Instant, Nullable, OneOf } from '../http/shapes.ts'

const id = (prefix: string, what: string) =>
  Type.String({ description: `Id of the ${what}`, examples: [`${prefix}_2fUJb5gSSSuB1zZz4ZkqVA`] })
const jti = Type.String({
  description: '`jti` of an ID-JAG; ids of one time sort together',
  examples: ['019aa7c3e1f02fUJb5gSSSuB1zZz4ZkqVA'],
})
const hash = (what: string) =>
  Type.String({ description: `${what}, SHA-256 in hexadecimal`, examples: ['a3'.repeat(32)] })
const requestId = Nullable(Type.String({ description: 'The request, as the server log names it' }))

export const Issuance = Type.Object(
  {
    jti,
    tenant_id: id('ten', 'tenant'),
    at: Instant({ description: 'When it was issued' }),
    agent_id: id('agt', 'agent'),
    owner_id: id('usr', "agent's owner at that time"),
    user_id: id('usr', 'user it speaks of'),
    audience_id: id('aud', 'audience'),
    delegation_id: id('dlg', 'delegation it rests on'),
    credential_id: Nullable(id('crd', 'credential by which the agent proved itself')),
    session_id: Nullable(id('ses', 'session in which the user had signed in')),
    family_id: Nullable(id('rtf', 'refresh token family, when the subject token was one of it')),
    resources: Type.Array(Type.String(), { examples: [['https://api.crm.example/']] }),
    scopes: Type.Array(Type.String(), { examples: [['contacts.read']] }),
    kid: Type.String({ description: 'The key that signed it' }),
    trusted_issuer_id: Nullable(id('tis', 'trusted issuer, when the subject token was of one')),
    actor_ids: Nullable(
      Type.Array(id('agt', 'agent that acted for it'), { description: 'Newest first' }),
    ),
    authorization_details_types: Nullable(
      Type.Array(Type.String(), {
        description: 'The types of the authorization details in it',
        examples: [['payment']],
      }),
    ),
    dpop_jkt: Nullable(Type.String({ description: 'Thumbprint of the key it is bound to' })),
    auth_time: Nullable(Instant({ description: 'When the user had signed in' })),
    expires_at: Instant(),
    agent_context_id: Nullable(
      Type.String({ description: 'As the agent gave it, for auth.md audiences' }),
    ),
    request_id: requestId,
  },
  { additionalProperties: false },
)
export type Issuance = Static<typeof Issuance>

export const AuditEvent = Type.Object(
  {
    id: id('evt', 'event'),
    tenant_id: id('ten', 'tenant'),
    at: Instant(),
    type: Type.String({
      description: 'A record and what happened to it',
      examples: ['delegation.revoked', 'exchange.refused'],
    }),
    actor_kind: OneOf(['agent', 'user', 'admin', 'system', 'unknown'], {
      description: 'Who did it; unknown where a request failed before its caller was known',
    }),
    actor_id: Nullable(
      Type.String({
        description: 'The id of whoever did it, where there is one',
        examples: ['usr_5Qn3w1cJm0s5kYdE0b2x7A'],
      }),
    ),
    agent_id: Nullable(id('agt', 'agent')),
    user_id: Nullable(id('usr', 'user')),
    audience_id: Nullable(id('aud', 'audience')),
    delegation_id: Nullable(id('dlg', 'delegation')),
    jti: Nullable(jti),
    error: Nullable(
      Type.String({ description: 'The code the caller was told', examples: ['invalid_target'] }),
    ),
    reason: Nullable(Type.String({ description: 'The true reason', examples: ['no_entitlement'] })),
    detail: Nullable(
      Type.Object({}, { additionalProperties: true, description: 'Ids and closed words' }),
    ),
    request_id: requestId,
  },
  { additionalProperties: false },
)
export type AuditEvent = Static<typeof AuditEvent>

const span = {
  from: Type.Optional(GivenInstant({ description: 'Not before this instant' })),
  to: Type.Optional(GivenInstant({ description: 'Before this instant' })),
}
const about = {
  agent_id: Type.Optional(Type.String({ maxLength: 64 })),
  user_id: Type.Optional(Type.String({ maxLength: 64 })),
  audience_id: Type.Optional(Type.String({ maxLength: 64 })),
  jti: Type.Optional(Type.String({ maxLength: 64 })),
}

export const IssuanceQuery = Type.Object(
  { ...ListQuery.properties, ...span, ...about },
  { additionalProperties: false },
)
export const AuditEventQuery = Type.Object(
  {
    ...ListQuery.properties,
    ...span,
    ...about,
    type: Type.Optional(Type.String({ maxLength: 100, examples: ['exchange.refused'] })),
  },
  { additionalProperties: false },
)
export type LogQuery = Static<typeof AuditEventQuery>

const position = Type.Integer({ description: '1, 2, 3 … without a gap', examples: [1729] })
const head = {
  position,
  at: Instant({ description: 'When it was sealed' }),
  hash: hash('Hash of the seal, which the next one names'),
}

export const Seal = Type.Object(
  {
    ...head,
    previous_hash: hash('Hash of the seal before; zeros in the first'),
    root: hash('Merkle root over the rows'),
    row_count: Type.Integer({ description: 'Rows that it closes' }),
    snapshot: Type.String({
      description: 'PostgreSQL snapshot: the rows it sees, and the one before did not, are sealed',
      examples: ['7411:7413:7411'],
    }),
    cluster: Type.String({
      description: 'The database cluster whose snapshot it is',
      examples: ['7574823471234567890'],
    }),
    kid: Type.String({ description: 'The seal key' }),
    signature: Type.String({ description: 'Compact JWS over all the above' }),
  },
  { additionalProperties: false },
)
export type Seal = Static<typeof Seal>

export const SealQuery = Type.Object(ListQuery.properties, { additionalProperties: false })

export const VerifyQuery = Type.Object(
  {
    head: Type.Optional(
      Type.String({
        maxLength: 100,
        description:
          'A head kept elsewhere, `hash` or `position:hash`: it has to be in the chain, so that a cut end shows',
        examples: [`1729:${'a3'.repeat(32)}`],
      }),
    ),
  },
  { additionalProperties: false },
)

export const Verdict = Type.Object(
  {
    ok: Type.Boolean({ description: 'Whether everything that is sealed is as it was' }),
    sealed_through: Type.Union([Type.Object(head, { additionalProperties: false }), Type.Null()], {
      description:
        'The last seal that stands, with all before it. Keep it, and give it back as `head`',
    }),
    unsealed: Type.Integer({ description: 'Rows that no seal closes yet' }),
    broken: Type.Optional(
      Type.Object(
        {
          table: OneOf(['issuances', 'audit_events', 'seals'], { description: 'Where' }),
          id: Type.String({ description: '`jti`, id of the event, or position of the seal' }),
          kind: OneOf(['changed', 'missing', 'inserted'], {
            description: 'inserted: claims to be older than a seal that does not know it',
          }),
        },
        { additionalProperties: false, description: 'What was found first' },
      ),
    ),
  },
  { additionalProperties: false },
)
