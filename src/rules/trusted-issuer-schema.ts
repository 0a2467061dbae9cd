import Type, { type Static } from 'typebox'
import { Line, Nullable, OneOf } from '../http/shapes.ts'
import { AgentId, GivenRule, Id, RuleQuery, ruleMembers } from './schema.ts'

const ISSUER = 'https://login.orbit.example'
/** In an index beside subjects, which bounds what both may be together. */
const LONGEST_ISSUER = 512

const issuer = { description: '`iss` of its ID tokens, exactly', examples: [ISSUER] }
const jwksUri = { examples: [`${ISSUER}/jwks.json`] }

const clients = Type.Array(
  Type.Object(
    {
      client_id: Type.String({
        minLength: 1,
        maxLength: 255,
        pattern: '^[\\x20-\\x7e]+$',
        description: '`aud` of the ID tokens: a client that is registered there',
        examples: ['orbit-web'],
      }),
      agent_ids: Type.Array(AgentId(), {
        minItems: 1,
        maxItems: 100,
        uniqueItems: true,
        description: 'The agents that may present ID tokens made for this client, and no others',
      }),
    },
    { additionalProperties: false },
  ),
  { minItems: 1, maxItems: 10, description: 'Each client once' },
)

/** What a claim is read for, and which it is unless the registration names another. */
export const STANDARD_CLAIMS = {
  external_id: 'sub',
  email: 'email',
  email_verified: 'email_verified',
  phone_number: 'phone_number',
  phone_number_verified: 'phone_number_verified',
  name: 'name',
} as const
export type ClaimMapping = Record<keyof typeof STANDARD_CLAIMS, string>

const claim = (name: string) => Line(100, { examples: [name] })
const claimNames = {
  external_id: claim('employee_number'),
  email: claim('email'),
  email_verified: claim('email_verified'),
  phone_number: claim('phone_number'),
  phone_number_verified: claim('phone_number_verified'),
  name: claim('name'),
}

const provisioning = OneOf(['link', 'create', 'refuse'], {
  description:
    'What happens to a subject that is linked to no user yet. `refuse`: nothing. `link`: it is linked to the user with its external_id, never by an address. `create`: the same, or a user is made',
  examples: ['link'],
})
const trustAuthTime = {
  description:
    'Believe its `auth_time`, `acr` and `amr`. Otherwise nobody knows when they signed in',
  examples: [true],
}
const trustContacts = {
  description: 'A user who is made gets the addresses that it calls verified, as verified by it',
  examples: [false],
}

export const TrustedIssuer = Type.Object(
  {
    id: Id('tis_Tq2vYc8LwR0xZk5eGm7HbA'),
    tenant_id: Type.String({ examples: ['ten_AAAAAAAAAAAAAAAAAAAAAA'] }),
    issuer: Type.String(issuer),
    jwks_uri: Nullable(Type.String({ description: 'Null: found by discovery', ...jwksUri })),
    clients,
    claim_mapping: Type.Object(claimNames, { additionalProperties: false }),
    provisioning,
    trust_auth_time: Type.Boolean(trustAuthTime),
    trust_contacts: Type.Boolean(trustContacts),
    ...ruleMembers,
  },
  { additionalProperties: false, title: 'TrustedIssuer' },
)

export const NewTrustedIssuer = Type.Object(
  {
    issuer: Type.String({ maxLength: LONGEST_ISSUER, ...issuer }),
    jwks_uri: Type.Optional(
      Type.String({
        maxLength: 2048,
        description:
          'Its keys. Left out: found by OpenID Connect discovery, which is tried at once',
        ...jwksUri,
      }),
    ),
    clients,
    claim_mapping: Type.Optional(
      Type.Partial(Type.Object(claimNames), {
        additionalProperties: false,
        description:
          'Which claim says what. Left out: `sub` for external_id, the standard claims for the others',
      }),
    ),
    provisioning,
    trust_auth_time: Type.Optional(Type.Boolean(trustAuthTime)),
    trust_contacts: Type.Optional(Type.Boolean(trustContacts)),
    ...GivenRule.properties,
    tenant_id: Type.Optional(
      Type.String({ maxLength: 64, description: 'The tenant of the agents, if given at all' }),
    ),
  },
  { additionalProperties: false },
)
export type NewTrustedIssuer = Static<typeof NewTrustedIssuer>

export const TrustedIssuerQuery = Type.Object(
  {
    ...RuleQuery.properties,
    issuer: Type.Optional(Type.String({ maxLength: LONGEST_ISSUER, ...issuer })),
    tenant_id: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
)
