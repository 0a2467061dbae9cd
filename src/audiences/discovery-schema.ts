import Type, { type Static } from 'typebox'
import { Instant, Line, Nullable, OneOf } from '../http/shapes.ts'
import { ENDPOINTS } from '../oauth/server-metadata.ts'
import { FLAGS } from './discovery.ts'

const PROFILES = ['idjag', 'mcp-ema', 'authmd-0.1', 'authmd-0.2', 'authmd-head'] as const

const Endpoints = Type.Object(
  Object.fromEntries(ENDPOINTS.map((name) => [name, Type.Optional(Type.String())])),
  { additionalProperties: false },
)

/** What the documents of an audience say, where it was found by discovery. */
export const Discovered = Type.Object(
  {
    url: Type.String({ description: 'Where it began', examples: ['https://api.chat.example/'] }),
    approved_at: Nullable(Instant()),
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
          kind: OneOf(['protected_resource', 'authorization_server']),
          url: Type.String(),
          read_at: Instant(),
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
    last_failure: Nullable(Type.String()),
    failed_at: Nullable(Instant()),
  },
  { additionalProperties: false },
)
export type Discovered = Static<typeof Discovered>

/** What waits for `approve-change`. */
export const PendingChange = Type.Object(
  {
    reason: OneOf(['registration', 'change']),
    noticed_at: Instant(),
    digest: Type.String({ description: 'Of what would be approved; send it along to be sure' }),
    issuer: Type.String(),
    profile: Nullable(OneOf(PROFILES)),
    endpoints: Endpoints,
    unconfirmed_hosts: Type.Array(Type.String()),
    changes: Type.Array(
      Type.Object(
        {
          member: OneOf(['issuer', 'resource', ...ENDPOINTS]),
          from: Nullable(Type.String()),
          to: Type.String(),
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
      reason: Type.Optional(Line(500, { examples: ['They told us that they would move'] })),
    },
    { additionalProperties: false },
  ),
  type: ['object', 'null'],
})
