import Type, { type Static } from 'typebox'
import { Instant, Lines, Nullable, OneOf } from '../http/shapes.ts'
import { ENDPOINTS } from '../oauth/server-metadata.ts'
import { FLAGS } from './discovery.ts'

const PROFILES = ['idjag', 'mcp-ema', 'authmd-0.1', 'authmd-0.2', 'authmd-head'] as const

const WORDS: Record<(typeof ENDPOINTS)[number], [description: string, example: string]> = {
  token_endpoint: ['Where agents send ID-JAGs (RFC 7523)', 'https://auth.chat.example/token'],
  identity_endpoint: [
    'Where agents send ID-JAGs, of an auth.md service',
    'https://auth.chat.example/agent/identity',
  ],
  register_uri: ['The same, as auth.md v0.1 calls it', 'https://auth.chat.example/agent/auth'],
  events_endpoint: [
    'Where it takes revocation events',
    'https://auth.chat.example/agent/event/notify',
  ],
  revocation_uri: [
    'The same, as auth.md v0.1 calls it',
    'https://auth.chat.example/agent/auth/revoke',
  ],
}

const Endpoints = Type.Object(
  Object.fromEntries(
    ENDPOINTS.map((name) => {
      const [description, example] = WORDS[name]
      return [name, Type.Optional(Type.String({ description, examples: [example] }))]
    }),
  ),
  { additionalProperties: false, description: 'Those that it has' },
)

/** What the documents of an audience say, where it was found by discovery. */
export const Discovered = Type.Object(
  {
    url: Type.String({ description: 'Where it began', examples: ['https://api.chat.example/'] }),
    approved_at: Nullable(
      Instant({ description: 'When somebody approved what they say; null: nobody yet' }),
    ),
    profile: Nullable(
      OneOf(PROFILES, { description: 'By the members of its documents; null: none is supported' }),
    ),
    endpoints: Endpoints,
    unconfirmed_hosts: Type.Array(Type.String(), {
      description: "Hosts of endpoints beside the issuer's own, until they are approved",
    }),
    flags: Type.Array(OneOf(FLAGS), {
      description:
        'What the documents say by now, and the record does not follow. `events_endpoint_missing`: neither they nor the record name an events endpoint, so the app is not told of revocations',
    }),
    ignored: Type.Array(Type.String(), {
      description: 'Members that are not what they should be, by document',
    }),
    documents: Type.Array(
      Type.Object(
        {
          kind: OneOf(['protected_resource', 'authorization_server'], {
            description: 'Metadata of a resource (RFC 9728), or of a server (RFC 8414)',
            examples: ['authorization_server'],
          }),
          url: Type.String({
            description: 'Where it was read',
            examples: ['https://auth.chat.example/.well-known/oauth-authorization-server'],
          }),
          read_at: Instant({ description: 'When it was read' }),
          document: Type.Optional(
            Type.Object(
              {},
              { additionalProperties: true, description: 'As it was read; not in lists' },
            ),
          ),
        },
        { additionalProperties: false },
      ),
    ),
    fetched_at: Instant({ description: 'When they were last read' }),
    expires_at: Instant({ description: 'When they may be read again' }),
    failures: Type.Integer({ description: 'Times they could not be read since' }),
    last_failure: Nullable(
      Type.String({ description: 'Why they could not be read last, in words' }),
    ),
    failed_at: Nullable(Instant({ description: 'When that was' })),
  },
  { additionalProperties: false },
)
export type Discovered = Static<typeof Discovered>

/** What waits for `approve-change`. */
export const PendingChange = Type.Object(
  {
    reason: OneOf(['registration', 'change'], {
      description:
        'registration: nothing was approved before. change: the documents are others by now',
      examples: ['change'],
    }),
    noticed_at: Instant({ description: 'When it was found' }),
    digest: Type.String({ description: 'Of what would be approved; send it along to be sure' }),
    issuer: Type.String({
      description: 'The `aud` from then on',
      examples: ['https://auth.chat.example'],
    }),
    profile: Nullable(
      OneOf(PROFILES, { description: 'The profile from then on; null: none is supported' }),
    ),
    endpoints: Endpoints,
    unconfirmed_hosts: Type.Array(Type.String(), {
      description: "Hosts of endpoints beside the issuer's own, which the approval confirms",
      examples: [['events.chat.example']],
    }),
    changes: Type.Array(
      Type.Object(
        {
          member: OneOf(['issuer', 'resource', ...ENDPOINTS], {
            description: 'What is another',
            examples: ['events_endpoint'],
          }),
          from: Nullable(Type.String({ description: 'What was approved; null: nothing' })),
          to: Type.String({
            description: 'What it says by now',
            examples: ['https://events.chat.example/notify'],
          }),
        },
        { additionalProperties: false },
      ),
      {
        description:
          'What is new since it was approved, of the issuer and of endpoints on other hosts; empty where it says again what was approved before',
      },
    ),
    notice: Nullable(
      Type.String({
        description: 'Where a document names somebody else by now: which one, and whom',
        examples: [
          'The document at https://auth.chat.example/.well-known/oauth-authorization-server names the issuer https://chat.example instead of https://auth.chat.example',
        ],
      }),
    ),
    obstacle: Nullable(
      Type.String({ description: 'Why it cannot be approved as it is; null: it can be' }),
    ),
  },
  { additionalProperties: false },
)
export type PendingChange = Static<typeof PendingChange>

/** A body is optional. */
export const Approval = Type.Unsafe<{ digest?: string; reason?: string } | null>({
  ...Type.Object(
    {
      digest: Type.Optional(
        Type.String({
          maxLength: 100,
          description: 'Of `pending_change`: refused if something else awaits approval by now',
          examples: ['k3Jc0pW3nJtVbV4m5yqC0kq1mX8dTz7o0b2c9f4h6gA'],
        }),
      ),
      reason: Type.Optional(Lines(500, { examples: ['They told us that they would move'] })),
    },
    { additionalProperties: false },
  ),
  type: ['object', 'null'],
})
