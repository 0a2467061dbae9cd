import type { Restored } from '../revoke/after-restore.ts'
import type { Live, listApps } from '../revoke/after-restore-queries.ts'

export type Found = {
  /** When the newest thing in the log happened. */
  newest: Date | null
  /** `<position>:<hash>` of the last seal. */
  head: string | null
  live: Live
  apps: Awaited<ReturnType<typeof listApps>>
}

/** Asked before anything is done. */
export const question = ({ newest }: Pick<Found, 'newest'>): string =>
  `This database knows of nothing after ${instant(newest)}.
Every session, refresh token and delegation in it ends now, every relying app that listens is told so, and every
signing key is replaced. There is no way back but the backup. Type yes to do it: `

/** What was done, and what only a person can judge. */
export function report(
  done: Restored,
  { newest, head, live, apps }: Found,
  { jwksCeiling }: { jwksCeiling: number },
): string {
  const { streams, signals_dropped } = done
  const parts = [
    done.tenants.map(tenantLine).join('\n'),
    `Signing keys: ${done.keys_dropped} dropped, new ones in their place. Events that waited in the backup: ${done.events_superseded}, told by new ones.`,
    `The backup ends at ${instant(newest)}. What was allowed after that, nobody here knows any more.\nIts last seal is ${head ?? 'none'}. Compare it with the head of that position that you kept elsewhere.`,
    `Live in the backup, and perhaps ended or changed since. Go through them (admin API, scope to read in brackets):\n${listLive(live)}`,
    `Relying apps. Each may hold a copy of the old key set for ${jwksCeiling} seconds after it last fetched it, and knows people from after the backup.\nAsk those who run them to fetch /.well-known/jwks.json now, and to end what they gave on ID-JAGs issued after ${instant(newest)}:\n${apps.map(appLine).join('\n') || '  none'}`,
    `Shared Signals. Each stream is as its receiver had it then, and paused until that receiver enables it; ${signals_dropped} events of before were dropped.\nAsk those who run the receivers to look at delivery and subjects, and to enable it within a week (docs/backup.md):\n${streams.map(streamLine).join('\n') || '  none'}`,
    'Start the server now, and the events are delivered.',
  ]
  return parts.join('\n\n')
}

const tenantLine = (one: Restored['tenants'][number]): string =>
  `${one.tenant_id}: ended ${one.delegations_revoked} delegations, ${one.sessions_ended} sessions, ${one.refresh_tokens_revoked} refresh tokens and ${one.entitlements_ended} entitlements with consent "admin"; queued ${one.events_queued} events, and ${one.signals_queued} for Shared Signals, held by their streams.
  Proof: GET /revocations/${one.revocation_id}`

const WHERE: Record<keyof Live, string> = {
  admin_keys: 'GET /admin-keys [admin-keys:read]; DELETE what you do not know',
  agents: 'GET /agents?status=active [agents:read]',
  credentials: 'GET /agents/{id}/credentials [agents:read]; those removed since work again',
  users: 'GET /users?status=active [users:read]',
  passwords: 'GET /users?status=active [users:read]; the old ones work again: PATCH /users/{id}',
  upstream_accounts:
    'GET /trusted-issuers/{id}/accounts [rules:read]; those unlinked since are linked again',
  audience_accounts:
    'GET /users/{id}/audience-accounts [users:read]; those removed since are told again',
  audiences: 'GET /audiences?status=active [audiences:read]',
  entitlements: 'GET /agents/{id}/entitlements?status=active [entitlements:read]',
  trusted_issuers: 'GET /trusted-issuers?status=active [rules:read]',
  actor_permissions:
    'GET /actor-permissions?status=active [rules:read]; those ended since permit again',
  client_metadata_rules: 'GET /client-metadata-rules?status=active [rules:read]',
  blocks: 'GET /blocks?status=active [rules:read]; those made since are missing: make them again',
  ssf_receivers: 'GET /ssf-receivers?status=active [revocations:read]',
  tenants: 'GET /tenants?status=active [tenants:read]',
}

function listLive(live: Live): string {
  const names = Object.keys(WHERE) as (keyof Live)[]
  const longest = Math.max(...names.map((name) => name.length))
  return names
    .map((name) => `  ${name.padEnd(longest)}  ${String(live[name]).padStart(6)}  ${WHERE[name]}`)
    .join('\n')
}

const appLine = ({ issuer, told }: Found['apps'][number]): string =>
  `  ${told ? 'told by events' : 'not told      '}  ${issuer}`

const streamLine = ({
  stream_id,
  receiver_id,
  name,
  method,
  status,
}: Restored['streams'][number]) =>
  `  ${stream_id}  ${method}, was ${status}  GET /ssf-receivers/${receiver_id} [revocations:read]  ${name}`

const instant = (at: Date | null): string =>
  at?.toISOString() ?? 'no time at all (its log is empty)'
